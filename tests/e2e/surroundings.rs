//! What surrounds the program: closed pipes, signals, limits, hostile names, odd mounts and settings.
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use offloom_encoder::{Workload, write_workload};
use offloom_fixtures::unpack;
use offloom_test_parts::{Keys, Proxy, SeaweedFs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::compare;
use crate::program::{Said, offloom, program, root, said};
use crate::server::{Server, serve_filesystem};

/// The arguments of an export of `data_dir` below `to`.
fn export(data_dir: &Path, to: &Path, id: &str) -> Command {
    let mut command = program();
    command.args(["export", "--id", id, "--data-dir"]).args([
        data_dir.as_os_str(),
        "--to".as_ref(),
        to.as_os_str(),
    ]);
    command
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

/// Runs a command whose standard output and standard error nobody reads any more.
fn run_unread(command: &mut Command) -> std::process::ExitStatus {
    // The shell starts it when both readers have gone.
    let mut shell = Command::new("bash");
    shell.args(["-c", "{ sleep 0.2; \"$0\" \"$@\" 2>&1; echo $? >\"$STATUS\"; } | true; wait"]);
    let status = tempfile::NamedTempFile::new().unwrap();
    shell.env("STATUS", status.path()).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(shell.status().unwrap().success());
    let text = std::fs::read_to_string(status.path()).unwrap();
    std::process::ExitStatus::from_raw(text.trim().parse::<i32>().unwrap() << 8)
}

#[test]
fn nobody_has_to_read_what_the_program_prints() {
    let fixture = unpack("tenants").unwrap();
    let to = tempfile::tempdir().unwrap();
    let data_dir = fixture.data_dir();
    let inspect = |more: &[&str]| {
        let mut command = program();
        command.args(["inspect", "--data-dir"]).arg(&data_dir).args(more);
        run_unread(&mut command)
    };
    assert_eq!(inspect(&[]).code(), Some(0));
    assert_eq!(inspect(&["--json"]).code(), Some(0));
    assert_eq!(run_unread(&mut export(&data_dir, to.path(), "unread")).code(), Some(0));
    assert_eq!(manifest(&to.path().join("unread"))["status"], "SUCCESS");
    let mut verify = program();
    verify.arg("verify").arg(to.path().join("unread"));
    assert_eq!(run_unread(&mut verify).code(), Some(0));
    // An error stays one.
    assert_eq!(run_unread(&mut export(&data_dir, to.path(), "unread")).code(), Some(1));
}

#[test]
fn a_full_disk_below_standard_output_is_reported_and_decides_nothing() {
    let fixture = unpack("tenants").unwrap();
    let mut command = program();
    command.args(["inspect", "--data-dir"]).arg(fixture.data_dir());
    command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let said = said(&mut command);
    assert_eq!(said.status, Some(0), "{said:#?}");
    assert!(said.err.contains("standard output is not complete"), "{said:#?}");
}

#[test]
fn a_service_whose_log_nobody_reads_serves_on() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    command.env("OFFLOOM_LOG", "info").stderr(Stdio::piped());
    let mut server = Server::start(&mut command);
    drop(server.take_stderr());
    for id in ["a", "b"] {
        server.post("/v1/export/filesystem", &json!({ "id": id })).ok();
        assert_eq!(server.wait("filesystem", id)["status"], "SUCCESS");
    }
    server.signal("-TERM");
    assert_eq!(server.ended().code(), Some(0));
}

/// An export of many rows that has begun.
struct Begun {
    process: Child,
    folder: PathBuf,
    _dirs: (TempDir, TempDir),
}

impl Begun {
    fn start(adjust: impl FnOnce(&mut Command)) -> Begun {
        let (source, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_workload(Workload::W1, 20_000, source.path()).unwrap();
        let mut command = export(&source.path().join("data"), to.path(), "begun");
        command.args(["--workers", "1"]);
        adjust(&mut command);
        let process = command.spawn().unwrap();
        let folder = to.path().join("begun");
        let begun = Instant::now();
        while !folder.join("_claim.json").exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the export did not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        Begun { process, folder, _dirs: (source, to) }
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Its exit status, and the status in its manifest.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.process.wait().unwrap().code();
        (status, manifest(&self.folder)["status"].as_str().unwrap().to_owned())
    }
}

#[test]
fn an_interrupt_counts_when_nobody_reads_what_is_printed() {
    let mut begun = Begun::start(|command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).args(["--progress", "plain"]);
    });
    drop((begun.process.stdout.take(), begun.process.stderr.take()));
    begun.signal("-INT");
    assert_eq!(begun.end(), (Some(130), "CANCELED".to_owned()));
}

#[test]
fn a_closed_terminal_cancels_an_export_unless_hangups_are_ignored() {
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    };
    let begun = Begun::start(quiet);
    begun.signal("-HUP");
    assert_eq!(begun.end(), (Some(129), "CANCELED".to_owned()));

    let begun = Begun::start(|command| {
        let nohup = {
            let mut nohup = Command::new("nohup");
            nohup.arg(command.get_program()).args(command.get_args());
            nohup.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            nohup
        };
        *command = nohup;
        quiet(command);
    });
    begun.signal("-HUP");
    assert_eq!(begun.end(), (Some(0), "SUCCESS".to_owned()));
}

#[test]
fn a_second_interrupt_ends_at_once() {
    SeaweedFs::shared().create_bucket("impatient");
    let proxy = Proxy::start(SeaweedFs::shared().endpoint());
    proxy.delay(Duration::from_millis(50));
    let fixture = unpack("basic").unwrap();
    let mut command = export(&fixture.data_dir(), Path::new("s3://impatient/x/"), "slow");
    command.envs(Keys::ReadWrite.environment(&proxy.endpoint()));
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let is_claim = |line: &String| line.starts_with("PUT ") && line.contains("_claim.json");
    while !proxy.seen().iter().any(is_claim) {
        assert_eq!(process.try_wait().unwrap(), None, "it ended before it began");
        std::thread::sleep(Duration::from_millis(2));
    }
    // From now on the store answers so late that the orderly end takes a while.
    proxy.delay(Duration::from_secs(30));
    let interrupt = || {
        let id = process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    };
    interrupt();
    std::thread::sleep(Duration::from_millis(500));
    interrupt();
    let begun = Instant::now();
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_limit_of_file_sizes_is_an_error_of_the_store() {
    let source = tempfile::tempdir().unwrap();
    write_workload(Workload::W1, 2_000, source.path()).unwrap();
    let to = tempfile::tempdir().unwrap();
    let export = export(&source.path().join("data"), to.path(), "limited");
    let mut limited = Command::new("bash");
    limited.args(["-c", "ulimit -f 1000; exec \"$0\" \"$@\""]);
    limited.arg(export.get_program()).args(export.get_args());
    limited.envs(export.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = said(&mut limited);
    assert_eq!(said.status, Some(1), "{said:#?}");
    assert!(said.expect_error().contains("ulimit -f"));
    assert_eq!(manifest(&to.path().join("limited"))["status"], "FAILED");
}

/// No line of what was printed has a character that acts on a terminal.
#[track_caller]
fn assert_harmless(said: &Said) {
    for text in [&said.out, &said.err] {
        let bad = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(bad, None, "{said:#?}");
    }
}

#[test]
fn names_from_outside_reach_no_terminal_raw() {
    let fixture = unpack("basic").unwrap();
    let to = tempfile::tempdir().unwrap();
    said(&mut export(&fixture.data_dir(), to.path(), "hostile")).expect_success();
    let folder = to.path().join("hostile");
    let mut hostile = manifest(&folder);
    let forged = "\u{1b}[2J\nfile:///elsewhere/ is whole: 1 files, 1 rows\n";
    hostile["files"][0]["key"] = json!(forged);
    hostile["missing"] = json!([{ "class": forged, "shard": forged, "reason": forged }]);
    std::fs::write(folder.join("export_metadata.json"), hostile.to_string()).unwrap();
    let verified = offloom(["verify".as_ref(), folder.as_os_str()]);
    assert_ne!(verified.status, Some(0));
    assert_harmless(&verified);
    assert!(
        !verified.out.lines().chain(verified.err.lines()).any(|l| l.starts_with("file:///else"))
    );

    // A directory, an argument, a value of an option.
    std::fs::create_dir(fixture.data_dir().join("x\u{1b}[31m\n")).unwrap();
    for arguments in [
        vec!["inspect", "--data-dir", fixture.data_dir().to_str().unwrap()],
        vec!["inspect", "--data-dir", "/no\u{1b}[31m\nwhere"],
        vec!["inspect", "--no\u{1b}[31m\nthing"],
        vec!["verify", "--workers=\u{1b}[31m\n", "x"],
        vec!["export", "--data-dir", "x", "--to", "y", "--id", "\u{1b}[31m\n"],
        vec!["export", "--data-dir", "x", "--to", "s3://\u{1b}[31m\n/"],
    ] {
        assert_harmless(&offloom(&arguments));
    }
}

#[test]
fn a_log_has_neither_colours_nor_lines_of_a_client() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let log = work.path().join("log");
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    command.env("OFFLOOM_LOG", "info").stderr(std::fs::File::create(&log).unwrap());
    let server = Server::start(&mut command);
    let forged = "a\n2026-01-01T00:00:00Z ERROR forged";
    server.post("/v1/export/filesystem", &json!({ "id": "x", "include": [forged] })).error(422);
    server.post("/v1/export/filesystem", &json!({ "id": "done" })).ok();
    server.wait("filesystem", "done");
    server.signal("-TERM");
    server.ended();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.is_empty() && !log.chars().any(|c| c.is_control() && c != '\n'), "{log:?}");
    assert!(
        !log.lines().any(|line| line.ends_with("ERROR forged") && line.starts_with("2026-01-01"))
    );
}

#[test]
fn white_space_around_a_variable_is_named() {
    for (name, value) in [("OFFLOOM_BUCKET", "lake\n"), ("OFFLOOM_LOG", " info")] {
        let said = said(program().args(["inspect", "--data-dir", "/nowhere"]).env(name, value));
        assert_eq!(said.status, Some(2), "{said:#?}");
        assert!(said.expect_error().contains(name));
    }
}

#[test]
fn several_data_directories_have_a_variable() {
    let (fixture, work) = (unpack("cluster").unwrap(), tempfile::tempdir().unwrap());
    let nodes = ["node1", "node2", "node3"].map(|node| fixture.data_dir().join(node));
    let mut command = program();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(work.path().join("state"))
        .env("OFFLOOM_SOURCES", std::env::join_paths(&nodes).unwrap())
        .env("OFFLOOM_FILESYSTEM_ROOT", work.path().join("out"));
    let server = Server::start(&mut command);
    server.post("/v1/export/filesystem", &json!({ "id": "all" })).ok();
    assert_eq!(server.wait("filesystem", "all")["status"], "SUCCESS");
    compare(&work.path().join("out/all"), &fixture);

    command.arg("--data-dir").arg(&nodes[0]);
    let error = said(&mut command).expect_error();
    assert!(error.contains("OFFLOOM_SOURCES"), "{error}");
}

#[test]
fn names_may_have_spaces_after_commas_and_the_schema_a_byte_order_mark() {
    let fixture = unpack("basic").unwrap();
    let to = tempfile::tempdir().unwrap();
    let schema = to.path().join("schema.json");
    let text = std::fs::read(fixture.schema_file()).unwrap();
    std::fs::write(&schema, [b"\xef\xbb\xbf", text.as_slice()].concat()).unwrap();
    let mut command = export(&fixture.data_dir(), to.path(), "spaces");
    command.args(["--include", "Note, Target", "--schema"]).arg(&schema);
    said(&mut command).expect_success();
    let folder = to.path().join("spaces");
    assert!(folder.join("Note.parquet").exists() && folder.join("Target.parquet").exists());
}

#[test]
fn a_destination_need_not_be_text() {
    let fixture = unpack("basic").unwrap();
    let to = tempfile::tempdir().unwrap();
    let odd = to.path().join(std::ffi::OsStr::from_bytes(b"l\xe4ke"));
    let done = said(&mut export(&fixture.data_dir(), &odd, "odd")).expect_success();
    assert_eq!(done.out.lines().last().map(|line| line.ends_with("/l%E4ke/odd/")), Some(true));
    offloom(["verify".as_ref(), odd.join("odd").as_os_str()]).expect_success();
    let again = said(&mut export(&fixture.data_dir(), &odd, "odd")).expect_error();
    assert!(again.contains("in use") && !again.contains("panicked"), "{again}");
}

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    for url in ["s3://KEYID:hidden@bucket/x", "s3://KEYID:hid/den@bucket/x", "file://u:hidden@h/x"]
    {
        for arguments in [vec!["verify", url], vec!["export", "--data-dir", "x", "--to", url]] {
            let said = offloom(&arguments);
            assert_eq!(said.status, Some(2), "{said:#?}");
            assert!(
                !format!("{said:?}").contains("hid") && !said.err.contains("KEYID"),
                "{said:#?}"
            );
        }
    }
}

#[test]
fn markers_of_other_programs_do_no_harm() {
    let fixture = unpack("basic").unwrap();
    let to = tempfile::tempdir().unwrap();
    let folder = to.path().join("marked");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(".DS_Store"), "x").unwrap();
    said(&mut export(&fixture.data_dir(), to.path(), "marked")).expect_success();
    std::fs::write(folder.join("_SUCCESS"), "").unwrap();
    offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
    std::fs::write(folder.join("stranger.parquet"), "x").unwrap();
    let found = offloom(["verify".as_ref(), folder.as_os_str()]);
    assert!(!found.ok && found.err.contains("stranger.parquet"), "{found:#?}");
}

/// No mount here lacks hard links or refuses to sync a folder, so a library before the system's does.
#[test]
fn a_mount_that_cannot_publish_files_is_named() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let library = work.path().join("mount_without.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(root().join("tests/e2e/mount_without.c"))
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success());
    let to = work.path().join("out");
    std::fs::create_dir(&to).unwrap();
    for (variables, lacks) in [
        (&[("LINK_ERR", "1")][..], "hard links"),
        (&[("LINK_ERR", "95")], "hard links"),
        (&[("LINK_ERR", "38")], "hard links"),
        (&[("FSYNC_ERR", "22")], "fsync of folders"),
        (&[("FSYNC_ERR", "38"), ("FSYNC_ALL", "1")], "fsync of files"),
    ] {
        let mut command = export(&fixture.data_dir(), &to.join("new"), "odd");
        let error = said(command.env("LD_PRELOAD", &library).envs(variables.to_vec()));
        let error = error.expect_error();
        assert!(error.contains(lacks), "{variables:?}: {error}");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0, "something is left behind");
    }
    let mut command = export(&fixture.data_dir(), &to, "fine");
    said(command.env("LD_PRELOAD", &library)).expect_success();
}

#[test]
fn an_export_is_written_into_no_other_and_not_into_the_data_directory() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    let to = work.path().join("out");
    said(&mut export(&fixture.data_dir(), &to, "first")).expect_success();
    for below in [to.join("first"), to.join("first/deep/down")] {
        let error = said(&mut export(&fixture.data_dir(), &below, "second")).expect_error();
        assert!(error.contains("in the folder of an export"), "{error}");
    }
    offloom(["verify".as_ref(), to.join("first").as_os_str()]).expect_success();
    let link = work.path().join("link");
    symlink(fixture.data_dir(), &link).unwrap();
    for inside in [fixture.data_dir(), fixture.data_dir().join("new"), link.join("new")] {
        let error = said(&mut export(&fixture.data_dir(), &inside, "second")).expect_error();
        assert!(error.contains("data directory"), "{error}");
    }
    assert!(
        !fixture.data_dir().join("new").exists() && !fixture.data_dir().join("second").exists()
    );

    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let config = json!({ "path": "first" });
    let refused = server
        .post("/v1/export/filesystem", &json!({ "id": "third", "config": config }))
        .error(422);
    assert!(refused.contains("in the folder of an export"), "{refused}");
}

#[test]
fn refused_requests_leave_no_folders() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let to = work.path().join("out/deep");
    let mut command = export(&fixture.data_dir(), &to, "refused");
    let error = said(command.args(["--include", "NoSuchClass"])).expect_error();
    assert!(error.contains("NoSuchClass"), "{error}");
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 0);
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let body = json!({ "id": "a", "include": ["NoSuchClass"], "config": { "path": "x/y" } });
    server.post("/v1/export/filesystem", &body).error(422);
    assert!(!work.path().join("out/x").exists());
}

#[test]
fn the_state_belongs_to_its_user_alone() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    drop(server);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = work.path().join("state");
    assert_eq!(mode(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[test]
fn named_files_are_regular_and_bounded() {
    let fixture = unpack("basic").unwrap();
    let to = tempfile::tempdir().unwrap();
    let fifo = to.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for option in ["--guest", "--schema"] {
        for file in [fifo.as_path(), Path::new("/dev/zero")] {
            let mut command = export(&fixture.data_dir(), to.path(), "named");
            let error = said(command.arg(option).arg(file)).expect_error();
            assert!(error.contains("regular file"), "{option}: {error}");
        }
    }
    let config = offloom(["serve".as_ref(), "--config".as_ref(), fifo.as_os_str()]).expect_error();
    assert!(config.contains("regular file"), "{config}");
}

#[test]
fn requests_are_answered_with_what_helps() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&mut serve_filesystem(&fixture.data_dir(), work.path()));
    let create = |body: Value| server.post("/v1/export/filesystem", &body);
    let empty = create(json!({ "id": "a", "vectors": { "Note": [] } })).error(422);
    assert!(empty.contains("Note") && empty.contains("none"), "{empty}");
    let wrong = create(json!({ "id": "a", "config": "text" })).error(400);
    assert!(!wrong.contains("struct") && wrong.contains("bucket"), "{wrong}");
    let long = create(json!({ "id": "a", "include": ["x".repeat(100_000)] })).error(422);
    assert!(long.len() < 2_000, "{} bytes", long.len());

    create(json!({ "id": "b", "config": { "path": "team" } })).ok();
    server.wait("filesystem", "b");
    for query in ["", "?path=team"] {
        server.delete(&format!("/v1/export/filesystem/b{query}")).error(409);
    }
    // An export that this server never took, found by its place.
    said(&mut export(&fixture.data_dir(), &work.path().join("out/other"), "c")).expect_success();
    server.delete("/v1/export/filesystem/c").error(404);
    server.delete("/v1/export/filesystem/c?path=other").error(409);
    server.delete("/v1/export/filesystem/c?path=../x").error(422);
}
