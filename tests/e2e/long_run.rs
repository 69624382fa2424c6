//! Many exports in one server: memory, descriptors and threads are where they began.
use offloom_encoder::scale;
use offloom_fixtures::unpack;
use offloom_test_parts::{Keys, SeaweedFs};
use serde_json::json;

use crate::s3::bucket;
use crate::server::{Server, serve};

/// KiB of memory, descriptors and threads of a process.
fn used(process: u32) -> [u64; 3] {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_ascii_whitespace().next().unwrap().parse().unwrap()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() as u64;
    [field("VmRSS:"), descriptors, field("Threads:")]
}

#[test]
fn a_thousand_exports_leave_memory_descriptors_and_threads_where_they_began() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve(&fixture.data_dir(), work.path());
    command.envs(SeaweedFs::shared().environment(Keys::ReadWrite));
    command.args(["--filesystem-root".as_ref(), work.path().join("out").as_os_str()]);
    let server = Server::start(command.args(["--bucket", bucket("long-run")]));
    let exports = usize::try_from(scale(150, 1_000)).unwrap();
    let mut number = 0;
    let mut run = |count: usize| {
        for _ in 0..count {
            let backend = ["filesystem", "s3"][number % 2];
            let id = format!("e{number}");
            let place = format!("/v1/export/{backend}/{id}");
            server.post(&format!("/v1/export/{backend}"), &json!({ "id": id })).ok();
            if number % 10 == 9 {
                // It may be faster than that.
                let canceled = server.delete(&place).status;
                assert!([204, 409].contains(&canceled), "{canceled}");
            }
            let (_, mut events) = server.stream(&format!("{place}?watch"));
            std::io::copy(&mut events, &mut std::io::sink()).unwrap();
            let status = server.wait(backend, &id)["status"].clone();
            assert!(
                status == "SUCCESS" || (number % 10 == 9 && status == "CANCELED"),
                "{id}: {status}"
            );
            number += 1;
        }
    };
    // Pools of connections, threads and memory grow to their size first.
    run(exports / 3);
    let before = used(server.process_id());
    run(exports - exports / 3);
    // What the last ones used is given back.
    let after = (0..50)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            used(server.process_id())
        })
        .find(|now| now[1] <= before[1] && now[2] <= before[2])
        .unwrap_or_else(|| used(server.process_id()));
    println!(
        "soak: {exports} exports in one server: {} KiB, {} descriptors and {} threads, {} KiB, {} and {} before",
        after[0], after[1], after[2], before[0], before[1], before[2]
    );
    assert!(after[1] <= before[1] + 2, "descriptors: {before:?} {after:?}");
    assert!(after[2] <= before[2] + 2, "threads: {before:?} {after:?}");
    assert!(after[0] <= before[0] + before[0] / 10 + 8 * 1024, "memory: {before:?} {after:?}");
}
