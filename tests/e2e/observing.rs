//! What an operator sees of a server: metrics, the log as JSON, and traces at a real receiver of OTLP.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use offloom_fixtures::unpack;
use offloom_test_parts::{Keys, SeaweedFs};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};

use crate::bad_data::Damaged;
use crate::held::Held;
use crate::program::{program, root, said};
use crate::s3::{bucket, eventually};
use crate::server::{Server, serve, serve_filesystem};

/// The samples of an answer of Prometheus: name with labels, and value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn metrics_count_what_exports_did() {
    let (damaged, work) = (Damaged::new("tenants"), tempfile::tempdir().unwrap());
    let segment = damaged.segments("shelf").pop().unwrap();
    let mut command = serve_filesystem(&damaged.data_dir(), work.path());
    let server = Server::start(command.env("OFFLOOM_METRICS_LISTEN", "127.0.0.1:0"));
    let before = samples(&server.metrics());
    for zero in [
        "offloom_exports_ended_total{status=\"failed\"}",
        "offloom_exports_refused_total{reason=\"quota\"}",
        "offloom_last_success_timestamp_seconds",
        "offloom_rows_total",
        "weaviate_export_duration_seconds_count",
    ] {
        assert_eq!(before[zero], 0., "{zero}");
    }
    let post = |id: &str, more: Value| {
        let mut body = json!({ "id": id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/export/filesystem", &body).ok();
        server.wait("filesystem", id)
    };
    let whole = post("whole", json!({}));
    damaged.change(&segment, |bytes| bytes.truncate(bytes.len() - 7));
    assert_eq!(post("fails", json!({}))["status"], "FAILED");
    assert_eq!(post("partial", json!({ "allowPartial": true }))["partial"], true);
    // A dry run is no export.
    server.post("/v1/export/filesystem", &json!({ "dryRun": true, "allowPartial": true })).ok();

    let after = samples(&server.metrics());
    let ended = |status: &str| {
        let of = |name: &str| after[&format!("{name}{{status=\"{status}\"}}")];
        assert_eq!(of("offloom_exports_ended_total"), of("weaviate_export_operations_total"));
        of("offloom_exports_ended_total")
    };
    assert_eq!([ended("success"), ended("failed"), ended("canceled")], [2., 1., 0.]);
    assert_eq!(after["offloom_exports_partial_total"], 1.);
    assert_eq!(after["weaviate_export_duration_seconds_count"], 3.);
    assert_eq!(after["weaviate_export_coordination_duration_seconds_count"], 3.);
    assert_eq!(after["offloom_exports{state=\"running\"}"], 0.);
    let number = |text: &Value| text.as_u64().unwrap() as f64;
    let of_whole = |field: &str| {
        whole["progress"]
            .as_object()
            .unwrap()
            .values()
            .map(|class| number(&class[field]))
            .sum::<f64>()
    };
    let rows = after["offloom_rows_total"];
    assert!(
        rows >= 2. * of_whole("objectsExported") - 1_000. && rows >= of_whole("objectsExported")
    );
    assert_eq!(rows, after["weaviate_export_objects_total"]);
    // The footers of the files are no blocks.
    let written = after["offloom_written_bytes_total"];
    assert!(written > 0.3 * of_whole("fileSizeBytes"), "{written}");
    assert!(after["offloom_read_bytes_total"] > 0. && after["offloom_guest_seconds_total"] > 0.);
    let last = after["offloom_last_success_timestamp_seconds"];
    assert!(last > after["offloom_start_time_seconds"], "{after:#?}");
    // No request went over HTTP.
    assert_eq!(after["offloom_store_requests_total{result=\"success\"}"], 0.);
    for gauge in [
        "offloom_resident_memory_bytes",
        "offloom_open_descriptors",
        "offloom_max_descriptors",
        "offloom_threads",
    ] {
        assert!(after[gauge] > 0., "{gauge}");
    }
    // Neither a class nor a user is named.
    let text = server.metrics();
    for name in ["Shelf", "shelf", "anonymous", "whole"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    // Every metric is in the documents, and the other way round.
    let docs = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, section) = docs.split_once("\n## Metrics\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut documented: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.split('{').next().unwrap())
        .collect();
    let mut served: Vec<&str> = after
        .keys()
        .map(|name| name.split('{').next().unwrap())
        .map(|name| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name)
        })
        .collect();
    served.dedup();
    documented.sort_unstable();
    served.sort_unstable();
    assert_eq!(documented, served);
    // The API is not on that port, nor are the metrics on the port of the API.
    server.get("/metrics").error(404);
}

#[test]
fn metrics_have_the_exports_of_the_moment_and_the_requests_to_the_store() {
    let held = Held::new("metrics-held", |command| {
        command.env("OFFLOOM_METRICS_LISTEN", "127.0.0.1:0").env("OFFLOOM_MAX_EXPORTS", "1");
        command.env("OFFLOOM_MAX_WAITING", "1");
    });
    held.create("runs");
    held.server.wait_for_rows("s3", "runs");
    held.create("waits");
    held.server.post("/v1/export/s3", &json!({ "id": "refused" })).error(429);
    let found = samples(&held.server.metrics());
    assert_eq!(found["offloom_exports{state=\"running\"}"], 1.);
    assert_eq!(found["offloom_exports{state=\"waiting\"}"], 1.);
    assert_eq!(found["offloom_exports_refused_total{reason=\"queue\"}"], 1.);
    assert!(found["offloom_store_requests_total{result=\"success\"}"] >= 4., "{found:#?}");
    // That there is no claim yet, and no manifest, is a refusal.
    assert!(found["offloom_store_requests_total{result=\"refused\"}"] >= 1., "{found:#?}");
    assert_eq!(found["offloom_store_retries_total"], 0.);
    held.refuse_connections();
    eventually(|| samples(&held.server.metrics())["offloom_store_retries_total"] > 0.);
}

#[test]
fn the_log_as_json_has_the_export_its_user_and_its_class() {
    let damaged = Damaged::new("basic");
    damaged.break_object("alltypes");
    let work = tempfile::tempdir().unwrap();
    let mut command = serve_filesystem(&damaged.data_dir(), work.path());
    let log = work.path().join("log");
    command.env("OFFLOOM_LOG_FORMAT", "json").stderr(std::fs::File::create(&log).unwrap());
    let server = Server::start(&mut command);
    server.post("/v1/export/filesystem", &json!({ "id": "broken" })).ok();
    assert_eq!(server.wait("filesystem", "broken")["status"], "FAILED");
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let ended = lines.iter().find(|line| line["message"] == "an export did not succeed");
    let ended = ended.unwrap_or_else(|| panic!("{text}"));
    assert_eq!(ended["level"], "ERROR");
    assert!(ended["timestamp"].is_string() && ended["target"].is_string(), "{ended:#}");
    assert_eq!(
        ended["span"],
        json!({ "name": "export", "id": "broken", "principal": "anonymous" })
    );
    assert!(ended["error"].as_str().unwrap().contains("AllTypes"), "{ended:#}");

    let refused = said(program().args(["inspect", "--help"]).env("OFFLOOM_LOG_FORMAT", "xml"));
    assert_eq!((refused.status, &*refused.err), (Some(0), ""));
    let mut inspect = program();
    inspect
        .args(["inspect", "--data-dir"])
        .arg(damaged.data_dir())
        .env("OFFLOOM_LOG_FORMAT", "xml");
    let error = said(&mut inspect);
    assert_eq!(error.status, Some(2));
    assert_eq!(error.expect_error(), "error: OFFLOOM_LOG_FORMAT is 'xml': give text or json");
}

/// Receives spans over HTTP, as a collector does.
struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let received = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                // Each connection sends one request after the other.
                while let Some((line, body)) = request(&mut stream) {
                    assert_eq!(line, "POST /v1/traces HTTP/1.1");
                    let sent = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                    for resource in sent.resource_spans {
                        let named = resource.resource.unwrap().attributes;
                        assert!(named.iter().any(|each| each.key == "service.name"), "{named:?}");
                        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                        received.lock().unwrap().extend(spans);
                    }
                    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        Collector { address, spans }
    }
}

/// The first line of a request and its body; `None` at the end.
fn request(stream: &mut BufReader<std::net::TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some((lines.swap_remove(0), body))
}

#[test]
fn an_export_is_one_trace_of_plan_units_parts_and_commit() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let collector = Collector::start();
    let mut command = serve(&fixture.data_dir(), work.path());
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address)
        .env("OTEL_BSP_SCHEDULE_DELAY", "200")
        .envs(SeaweedFs::shared().environment(Keys::ReadWrite))
        .args(["--bucket", bucket("traces")]);
    let server = Server::start(&mut command);
    for id in ["one", "two"] {
        server.post("/v1/export/s3", &json!({ "id": id })).ok();
        server.wait("s3", id);
    }
    server.signal("-TERM");
    assert!(server.ended().success());
    let spans = collector.spans.lock().unwrap();
    let text = |span: &Span, key: &str| {
        let value = span.attributes.iter().find(|each| each.key == key)?.value.clone()?.value?;
        match value {
            opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text) => {
                Some(text)
            }
            other => panic!("{other:?}"),
        }
    };
    for id in ["one", "two"] {
        let of = spans.iter().find(|span| text(span, "id").as_deref() == Some(id)).unwrap();
        assert_eq!((&*of.name, of.parent_span_id.len()), ("export", 0));
        let trace: Vec<&Span> = spans.iter().filter(|span| span.trace_id == of.trace_id).collect();
        let count = |name: &str| trace.iter().filter(|span| span.name == name).count();
        assert_eq!([count("export"), count("plan"), count("commit")], [1, 1, 1]);
        // Seven classes, of which one has no rows; each is a file of one part.
        assert!(count("unit") >= 6, "{}", count("unit"));
        assert_eq!(count("part"), 7);
        let units = trace.iter().filter(|span| span.name == "unit");
        let classes: std::collections::BTreeSet<_> =
            units.map(|unit| text(unit, "class")).collect();
        assert!(classes.contains(&Some("AllTypes".to_owned())), "{classes:?}");
        // All are within the export.
        for span in &trace {
            assert!(span.start_time_unix_nano >= of.start_time_unix_nano, "{}", span.name);
            assert!(span.end_time_unix_nano <= of.end_time_unix_nano, "{}", span.name);
        }
    }
}

#[test]
fn a_command_sends_its_trace_before_it_ends() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let collector = Collector::start();
    let mut command = program();
    command
        .args(["export", "--id", "traced", "--data-dir"])
        .arg(fixture.data_dir())
        .arg("--to")
        .arg(work.path().join("lake"))
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.address));
    said(&mut command).expect_success();
    let spans = collector.spans.lock().unwrap();
    let traces: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!(traces.len(), 1, "{spans:#?}");
    let of = |name: &str| spans.iter().filter(|span| span.name == name).count();
    assert_eq!([of("export"), of("plan"), of("part"), of("commit")], [1, 1, 7, 1]);
}

#[test]
fn a_collector_that_is_away_holds_up_nothing() {
    let (fixture, work) = (unpack("basic").unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve_filesystem(&fixture.data_dir(), work.path());
    // Nobody listens on the port of discarding.
    let server = Server::start(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"));
    server.post("/v1/export/filesystem", &json!({ "id": "one" })).ok();
    assert_eq!(server.wait("filesystem", "one")["status"], "SUCCESS");
    let begun = std::time::Instant::now();
    server.signal("-TERM");
    assert!(server.ended().success());
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}
