//! One class or shard that cannot be read, a schema file that does not fit, and a caller who may not read:
//! whose fault it is, and what is said of it.
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use offloom_fixtures::{Fixture, unpack};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::compare;
use crate::program::{Said, offloom, program, said};
use crate::server::{Server, serve_filesystem};

/// A user who owns nothing.
const NOBODY: &str = "65534";

/// A fixture in a folder that everybody may read, with room for exports.
struct Readable {
    fixture: Fixture,
    work: TempDir,
    schema: PathBuf,
}

impl Readable {
    fn new(fixture: &str) -> Readable {
        let fixture = unpack(fixture).unwrap();
        let work = tempfile::tempdir().unwrap();
        let schema = work.path().join("schema.json");
        fs::copy(fixture.schema_file(), &schema).unwrap();
        for directory in [work.path(), fixture.data_dir().parent().unwrap()] {
            fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
        }
        let all = [fixture.data_dir().into_os_string(), schema.clone().into_os_string()];
        let opened = said(Command::new("chmod").args(["-R", "a+rX"]).args(all));
        assert!(opened.ok, "{opened:#?}");
        Readable { fixture, work, schema }
    }

    fn data(&self) -> PathBuf {
        self.fixture.data_dir()
    }

    /// A command of `offloom` that runs as a user who owns nothing here.
    fn stranger(&self) -> Command {
        let program = program();
        // Only root may become somebody else. Any other user owns what lies here, and is refused by the
        // mode alone.
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
            command.arg(program.get_program());
            command
        } else {
            Command::new(program.get_program())
        };
        command.env("HOME", self.work.path()).env("XDG_CACHE_HOME", self.work.path().join("cache"));
        command
    }

    fn arguments(&self, with_schema: bool, more: &[&str]) -> Vec<String> {
        let mut arguments = vec!["export".to_owned(), "--data-dir".to_owned()];
        arguments.push(self.data().display().to_string());
        if with_schema {
            arguments.extend(["--schema".to_owned(), self.schema.display().to_string()]);
        }
        arguments.extend(["--to".to_owned(), self.work.path().join("out").display().to_string()]);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        arguments
    }

    fn export(&self, with_schema: bool, more: &[&str]) -> Said {
        offloom(self.arguments(with_schema, more))
    }

    fn export_as_stranger(&self, with_schema: bool, more: &[&str]) -> Said {
        said(self.stranger().args(self.arguments(with_schema, more)))
    }

    fn inspect(&self, mut command: Command, more: &[&str]) -> Said {
        let data = self.data().display().to_string();
        said(command.args(["inspect", "--data-dir", &data]).args(more))
    }

    /// Lets nobody but root look into a file or directory of the data.
    fn close(&self, path: &str) {
        fs::set_permissions(self.data().join(path), Permissions::from_mode(0o000)).unwrap();
    }

    fn open(&self, path: &str) {
        fs::set_permissions(self.data().join(path), Permissions::from_mode(0o755)).unwrap();
    }

    /// Writes the schema file again with other classes.
    fn edit_schema(&self, edit: impl FnOnce(&mut Vec<Value>)) {
        let mut schema: Value = serde_json::from_slice(&fs::read(&self.schema).unwrap()).unwrap();
        edit(schema["classes"].as_array_mut().unwrap());
        fs::write(&self.schema, schema.to_string()).unwrap();
    }

    /// The only shard of a class.
    fn shard(&self, class: &str) -> String {
        let entries = fs::read_dir(self.data().join(class)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let [shard] = <[String; 1]>::try_from(names.collect::<Vec<_>>()).unwrap();
        shard
    }
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("export_metadata.json")).unwrap()).unwrap()
}

#[track_caller]
fn expect_complete(said: Said) -> PathBuf {
    let folder = said.expect_success().folder();
    offloom(["verify".as_ref(), "--require-complete".as_ref(), folder.as_os_str()])
        .expect_success();
    folder
}

/// An export without the class, which its manifest and standard error name.
#[track_caller]
fn expect_without(class: &str, said: Said, reason: &str) {
    let said = said.expect_partial();
    let folder = said.folder();
    let manifest = manifest(&folder);
    let [missing] = manifest["missing"].as_array().unwrap().as_slice() else {
        panic!("{manifest:#}")
    };
    assert_eq!(missing["class"], class, "{missing}");
    assert!(missing["reason"].as_str().unwrap().contains(reason), "{missing}");
    assert!(said.err.contains(&format!("missing: class {class}")), "{said:#?}");
    let verified = offloom(["verify".as_ref(), folder.as_os_str()]);
    assert_eq!(verified.status, Some(0), "{verified:#?}");
    let required = ["verify".as_ref(), "--require-complete".as_ref(), folder.as_os_str()];
    assert_eq!(offloom(required).status, Some(3));
}

/// The five ways to ask, where the class `Note` cannot be read and all others can.
#[track_caller]
fn is_the_fault_of_note_alone(export: impl Fn(&[&str]) -> Said, reason: &str) {
    is_the_fault_of_alone("Note", "Target", export, reason);
}

/// The same for any `class`, where `other` is one of the others.
#[track_caller]
fn is_the_fault_of_alone(class: &str, other: &str, export: impl Fn(&[&str]) -> Said, reason: &str) {
    let failed = export(&[]);
    assert_eq!(failed.status, Some(1), "{failed:#?}");
    let error = failed.expect_error();
    let directory = class.to_lowercase();
    assert!(error.contains(class) || error.contains(&directory), "{error}");
    assert!(error.contains(reason), "{error}");
    expect_complete(export(&["--exclude", class]));
    expect_complete(export(&["--include", other]));
    expect_without(class, export(&["--allow-partial"]), reason);
    // What cannot be read and is asked for alone is an error, also where parts may be missing.
    let only = export(&["--include", class, "--allow-partial"]);
    assert_ne!(only.status, Some(0), "{only:#?}");
}

#[test]
fn a_class_directory_that_may_not_be_listed_is_that_class_s_fault_alone() {
    let basic = Readable::new("basic");
    basic.close("note");
    for with_schema in [true, false] {
        let export = |more: &[&str]| basic.export_as_stranger(with_schema, more);
        is_the_fault_of_note_alone(export, "permission denied: note belongs to ");
    }
    let shown = basic.inspect(basic.stranger(), &[]);
    assert_eq!(shown.status, Some(1), "{shown:#?}");
    assert!(shown.out.contains("BROKEN: cannot list note"), "{shown:#?}");
    assert!(shown.out.contains("Target  (shards"), "{shown:#?}");
    let json = basic.inspect(basic.stranger(), &["--json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    let faulty = json["classes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|class| !class["faults"].as_array().unwrap().is_empty());
    let faulty: Vec<_> = faulty.map(|class| class["name"].as_str().unwrap()).collect();
    assert_eq!(faulty, ["Note"]);
    basic.open("note");
    compare(&expect_complete(basic.export_as_stranger(true, &[])), &basic.fixture);
}

#[test]
fn a_class_directory_that_may_not_be_listed_does_not_vanish_without_a_schema() {
    let basic = Readable::new("basic");
    fs::remove_dir_all(basic.data().join("raft")).unwrap();
    basic.close("note");
    let export = |more: &[&str]| basic.export_as_stranger(false, more);
    is_the_fault_of_note_alone(export, "permission denied: note belongs to ");
    basic.open("note");
    // Nor does a shard, which alone says that this is a class.
    basic.close(&format!("note/{}", basic.shard("note")));
    let error = export(&["--id", "shard"]).expect_error();
    assert!(error.contains("permission denied: note/"), "{error}");
    expect_complete(export(&["--exclude", "Note"]));
    expect_without("Note", export(&["--allow-partial"]), "permission denied: note/");
    // The directory does not have the case of the name.
    basic.close("namedvectors");
    expect_complete(export(&["--exclude", "Note,NamedVectors"]));
}

#[test]
fn a_link_that_cannot_be_followed_is_the_fault_of_its_class_or_shard_alone() {
    let basic = Readable::new("basic");
    let (note, away) = (basic.data().join("note"), basic.work.path().join("away"));
    let shard = basic.shard("note");
    fs::rename(&note, &away).unwrap();
    let leads_out = "a link that leads out of the data directory";
    let to_nowhere = "it is a link that cannot be followed";
    for (target, reason) in [(away.as_path(), leads_out), (Path::new("nowhere"), to_nowhere)] {
        symlink(target, &note).unwrap();
        is_the_fault_of_note_alone(|more| basic.export(true, more), reason);
        is_the_fault_of_note_alone(|more| basic.export(false, more), reason);
        fs::remove_file(&note).unwrap();
    }
    // A link to itself.
    symlink("note", &note).unwrap();
    is_the_fault_of_note_alone(|more| basic.export(true, more), "cannot list note");
    fs::remove_file(&note).unwrap();
    // Something else than a directory.
    fs::write(&note, "").unwrap();
    is_the_fault_of_note_alone(|more| basic.export(true, more), "is no directory");
    fs::remove_file(&note).unwrap();
    // The same of its shard.
    fs::create_dir(&note).unwrap();
    let away = away.join(&shard);
    for (target, reason) in [(away.as_path(), leads_out), (Path::new("nowhere"), to_nowhere)] {
        symlink(target, note.join(&shard)).unwrap();
        is_the_fault_of_note_alone(|more| basic.export(true, more), reason);
        is_the_fault_of_note_alone(|more| basic.export(false, more), reason);
        fs::remove_file(note.join(&shard)).unwrap();
    }
    fs::write(note.join(&shard), "").unwrap();
    is_the_fault_of_note_alone(|more| basic.export(true, more), "not a directory");
    fs::remove_file(note.join(&shard)).unwrap();
    // A link that stays inside is as good as a directory.
    fs::rename(&away, basic.data().join("moved-away")).unwrap();
    symlink("../moved-away", note.join(&shard)).unwrap();
    compare(&expect_complete(basic.export(true, &[])), &basic.fixture);
}

#[test]
fn a_shard_of_the_flat_layout_is_the_fault_of_its_class_alone() {
    let old = Readable::new("v1.20.6");
    let entries = fs::read_dir(old.data()).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_target = |name: &String| name.starts_with("target_") && name.ends_with("_lsm");
    let target = names.find(is_target).unwrap();
    old.close(&target);
    let reason = format!("permission denied: {target} belongs to ");
    let without_a_schema = || fs::remove_file(old.data().join("schema.db")).unwrap();
    let ways: [(bool, &dyn Fn()); 3] =
        [(true, &|| {}), (false, &|| {}), (false, &without_a_schema)];
    for (with_schema, prepare) in ways {
        prepare();
        let export = |more: &[&str]| old.export_as_stranger(with_schema, more);
        is_the_fault_of_alone("Target", "Shelf", export, &reason);
    }
    old.open(&target);
    // A class of a version that had no shards yet.
    fs::create_dir_all(old.data().join("older_single_lsm/objects")).unwrap();
    let error = old.export(false, &[]).expect_error();
    assert!(error.contains("class Older cannot be read: older_single_lsm"), "{error}");
    expect_complete(old.export(false, &["--exclude", "Older"]));
}

#[test]
fn a_denial_names_the_owner_and_never_advises_to_go_without() {
    let basic = Readable::new("basic");
    let owner = fs::metadata(basic.data()).unwrap().uid();
    let shard = basic.shard("note");
    let segment = fs::read_dir(basic.data().join(format!("note/{shard}/lsm/objects"))).unwrap();
    let segment = segment.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let segment = segment.filter(|name| name.ends_with(".db")).min().unwrap();
    for place in [
        String::new(),
        "raft".to_owned(),
        "raft/raft.db".to_owned(),
        "raft/snapshots".to_owned(),
        "note".to_owned(),
        format!("note/{shard}"),
        format!("note/{shard}/lsm"),
        format!("note/{shard}/lsm/objects"),
        format!("note/{shard}/lsm/objects/{segment}"),
    ] {
        basic.close(&place);
        let failed = basic.export_as_stranger(false, &[]);
        basic.open(&place);
        assert_eq!(failed.status, Some(1), "{place}: {failed:#?}");
        let error = failed.expect_error();
        assert!(error.contains("permission denied: "), "{place}: {error}");
        let named = if place.is_empty() { basic.data().display().to_string() } else { place };
        assert!(error.contains(&named), "{named}: {error}");
        assert!(error.contains(&format!("(uid {owner}) with mode 0000")), "{named}: {error}");
        for advice in ["--schema", "--allow-partial", "allowPartial"] {
            assert!(!error.contains(advice), "{named}: {error}");
        }
        if owner == 0 {
            assert!(error.contains("sudo -u '#0' offloom"), "{named}: {error}");
            assert!(error.contains(&format!("setfacl -R -m u:{NOBODY}:rX")), "{named}: {error}");
        }
    }
}

#[test]
fn a_schema_file_that_lacks_a_class_with_objects_is_an_error_that_names_it() {
    let basic = Readable::new("basic");
    basic.edit_schema(|classes| classes.retain(|class| class["class"] != "Note"));
    let reason = "does not fit the data directory: it lacks class Note";
    is_the_fault_of_note_alone(|more| basic.export(true, more), reason);
    let error = basic.export(true, &["--id", "again"]).expect_error();
    assert!(error.contains("GET /v1/schema") && error.contains("--exclude"), "{error}");
    // The class's name is that of the server's schema, and without that the one in its objects.
    basic.edit_schema(|classes| classes.retain(|class| class["class"] != "NamedVectors"));
    for raft in [true, false] {
        if !raft {
            fs::remove_dir_all(basic.data().join("raft")).unwrap();
        }
        expect_complete(basic.export(true, &["--exclude", "Note,NamedVectors"]));
    }
    // An empty class is nothing to lose.
    basic.edit_schema(|classes| classes.retain(|class| class["class"] != "Empty"));
    let said = basic.export(true, &["--exclude", "Note,NamedVectors"]).expect_success();
    assert!(said.err.contains("directory empty is left out"), "{said:#?}");
}

#[test]
fn the_schema_file_of_another_server_is_an_error() {
    let basic = Readable::new("basic");
    let other = unpack("tenants").unwrap();
    fs::copy(other.schema_file(), &basic.schema).unwrap();
    for raft in [true, false] {
        if !raft {
            fs::remove_dir_all(basic.data().join("raft")).unwrap();
        }
        for more in [&[][..], &["--allow-partial"]] {
            let failed = basic.export(true, more);
            if raft {
                assert_eq!(failed.status, Some(1), "{failed:#?}");
                assert!(failed.expect_error().contains("does not fit"), "{more:?}");
            } else {
                assert!(matches!(failed.status, Some(1 | 3)), "{failed:#?}");
            }
        }
    }
}

#[test]
fn a_schema_file_with_a_class_that_the_server_does_not_have_is_an_error() {
    let basic = Readable::new("basic");
    basic.edit_schema(|classes| classes.push(json!({ "class": "Newer" })));
    for raft in [true, false] {
        if !raft {
            fs::remove_dir_all(basic.data().join("raft")).unwrap();
        }
        let error = basic.export(true, &["--id", "new"]).expect_error();
        assert!(error.contains("it has class Newer, of which"), "{error}");
        expect_complete(basic.export(true, &["--exclude", "Newer"]));
        let said = basic.export(true, &["--allow-partial"]).expect_partial();
        assert!(said.err.contains("missing: class Newer"), "{said:#?}");
    }
}

#[test]
fn a_schema_file_that_contradicts_the_server_about_tenants_is_an_error() {
    let basic = Readable::new("basic");
    basic.edit_schema(|classes| {
        let note = classes.iter_mut().find(|class| class["class"] == "Note").unwrap();
        note["multiTenancyConfig"] = json!({ "enabled": true });
    });
    is_the_fault_of_note_alone(|more| basic.export(true, more), "class Note is multi-tenant");
}

#[test]
fn what_is_left_of_a_deleted_class_stays_a_warning() {
    let basic = Readable::new("basic");
    let copy = said(Command::new("cp").args(["-r", "note", "forgotten"]).current_dir(basic.data()));
    assert!(copy.ok, "{copy:#?}");
    basic.close("forgotten");
    for with_schema in [true, false] {
        let said = basic.export_as_stranger(with_schema, &[]).expect_success();
        let warning = "directory forgotten is left out: the schema has no such class";
        assert_eq!(said.err.matches(warning).count(), 1, "{said:#?}");
        compare(&said.folder(), &basic.fixture);
    }
}

#[test]
fn a_client_learns_of_the_fault_without_paths_and_owners_and_others_are_not_affected() {
    let basic = Readable::new("basic");
    basic.close("note");
    let mut command = basic.stranger();
    let shape = serve_filesystem(&basic.data(), basic.work.path());
    command.args(shape.get_args());
    let server = Server::start(&mut command);
    let create = |body: Value| server.post("/v1/export/filesystem", &body);
    let message = create(json!({ "id": "all" })).error(500);
    assert!(message.contains("class Note cannot be read: cannot list note"), "{message}");
    assert!(message.ends_with("permission denied"), "{message}");
    create(json!({ "id": "out", "exclude": ["Note"] })).ok();
    assert_eq!(server.wait("filesystem", "out")["status"], "SUCCESS");
    let created = create(json!({ "id": "part", "allowPartial": true })).ok();
    assert!(!created["classes"].as_array().unwrap().contains(&json!("Note")), "{created:#}");
    let ended = server.wait("filesystem", "part");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    assert_eq!(ended["partial"], true, "{ended:#}");
    assert_eq!(ended["missing"][0]["class"], "Note", "{ended:#}");
    let text = ended["missing"][0]["reason"].as_str().unwrap();
    assert!(text.ends_with("permission denied") && !text.contains("uid"), "{text}");
}
