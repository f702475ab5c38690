//! Starting, stopping, and what stays in between.

use std::{process::Command, time::Duration};

use hq_svc::Config;
use prost::Message as _;
use tillsync_proto::pb::{
    common::{Job, Schedule},
    hq,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;

use crate::harness::{Database, Hq, PATIENCE, create, guid, on_both, refused};

on_both!(
    what_was_answered_is_there_after_a_restart,
    x8_the_chain_drives_itself_from_the_first_start,
    z6_streams_and_waits_end_when_the_service_stops,
    z6_metrics_are_served_on_the_same_port,
    z2_running_out_of_time_is_deadline_exceeded,
);

async fn what_was_answered_is_there_after_a_restart(database: Database) {
    let before = Hq::start(&database).await;
    let record = before.create(guid(1), "Ann", "Stays").await.unwrap();
    before.upload("s1", vec![create(1, guid(2), "Bob", "Stays")]).await.unwrap();
    let interval = prost_types::Duration { seconds: 9, nanos: 0 };
    let schedule = Schedule { job: Job::Upload.into(), interval: Some(interval), jitter: 0.25, held: true };
    before.set_schedule(schedule).await;
    let epoch = before.status().await.epoch;
    before.stop().await;

    // Schedules of the configuration are for the first start only.
    let after = Hq::with(Config::new(database.url.clone())).await;
    assert_eq!(after.get(guid(1)).await.unwrap(), record);
    let status = after.status().await;
    assert_eq!((status.epoch, status.channels.len()), (epoch, 1));
    let request = hq::ListSchedulesRequest {};
    let schedules = after.admin.clone().list_schedules(request).await.unwrap().into_inner().schedules;
    assert!(schedules.contains(&schedule));
    assert!(schedules.iter().any(|schedule| schedule.job() == Job::CustomerSync && schedule.held));
    assert_eq!(after.status().await.arrivals_waiting, 1);
    assert_eq!(after.convert().await, 1);
    after.stop().await;
}

async fn x8_the_chain_drives_itself_from_the_first_start(database: Database) {
    let hq = Hq::with(Config::new(database.url.clone())).await;
    hq.upload("s1", vec![create(1, guid(1), "Ann", "Driven")]).await.unwrap();
    let real = async {
        while hq.get(guid(1)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, real).await.expect("nobody had to ask");
    hq.stop().await;
}

async fn z6_streams_and_waits_end_when_the_service_stops(database: Database) {
    let hq = std::sync::Arc::new(Hq::start(&database).await);
    let request = hq::WatchJobsRequest { channel_id: "s1".to_owned() };
    let mut stream = hq.exchange.clone().watch_jobs(request).await.unwrap().into_inner();
    for _ in 0..4 {
        stream.message().await.unwrap().unwrap();
    }
    // A wait for a run that never ends.
    let asking = tokio::spawn({
        let hq = std::sync::Arc::clone(&hq);
        async move { hq.run(Job::Upload, "s1").await }
    });
    assert_eq!(stream.message().await.unwrap().unwrap().run_request, 1);
    hq.cancel();
    let ended = async {
        assert!(matches!(stream.message().await, Ok(None)), "the stream ends, without an error");
        refused(asking.await.unwrap(), Code::Unavailable, "STOPPING");
    };
    timeout(Duration::from_secs(5), ended).await.expect("promptly");
    std::sync::Arc::into_inner(hq).expect("nobody else").stop().await;
}

async fn z6_metrics_are_served_on_the_same_port(database: Database) {
    let hq = Hq::start(&database).await;
    hq.create(guid(1), "Ann", "Metrics").await.unwrap();
    hq.convert().await;
    let mut stream = TcpStream::connect(hq.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: hq\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    for name in [
        "hq_customers",
        "hq_arrivals{state=\"waiting\"}",
        "hq_arrivals{state=\"set_aside\"}",
        "hq_conversions_total{outcome=\"completed\"}",
        "hq_creates_waiting",
        "hq_create_commits_total",
        "hq_create_committed_total",
        "rpc_server_requests_total{method=\"/tillsync.hq.v1.RealTimeService/CreateCustomer\",code=\"OK\"}",
    ] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    assert!(!text.contains("Metrics\""), "no personal data");
    hq.stop().await;
}

/// gRPC over HTTP/1.1, by hand: a client of tonic would keep the deadline itself.
async fn z2_running_out_of_time_is_deadline_exceeded(database: Database) {
    let hq = Hq::start(&database).await;
    hq.upload("s1", Vec::new()).await.unwrap();
    let request = hq::RunJobRequest { job: Job::Upload.into(), channel_id: "s1".to_owned() };
    let message = request.encode_to_vec();
    let mut stream = TcpStream::connect(hq.address).await.unwrap();
    let head = format!(
        "POST /tillsync.hq.v1.AdminService/RunJob HTTP/1.1\r\nhost: hq\r\nconnection: close\r\n\
         content-type: application/grpc\r\nte: trailers\r\ngrpc-timeout: 50m\r\ncontent-length: {}\r\n\r\n",
        message.len() + 5
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()]).await.unwrap();
    stream.write_all(&message).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time").unwrap();
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.contains("grpc-status: 4\r\n"), "{answer}");
    hq.stop().await;
}

/// The binary's exit code and what it says, for these arguments.
fn binary(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hq-svc")).args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn a_bad_configuration_is_one_line_and_exit_64() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("hq.db").display());
    let folder = format!("sqlite:{}", folder.path().display());
    for (arguments, says) in [
        (vec!["--listen", "nowhere"], "--listen"),
        (vec!["--no-such-flag"], "--no-such-flag"),
        (vec!["--database-url", "mysql://x"], "mysql"),
        (vec!["--account-numbers", "C-"], "number format"),
        (vec!["--database-url", &folder], "is a directory"),
        (vec!["--listen", "0.0.0.0:0", "--database-url", &database], "--insecure"),
    ] {
        let (code, text) = binary(&arguments);
        assert_eq!(code, Some(64), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("hq-svc: ") && text.contains(says), "{text}");
    }
    assert_eq!(binary(&["--help"]).0, Some(0));
}

#[test]
fn a_copy_of_the_file_is_made_and_brought_back_by_command() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_hq-svc")).args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let url = |name: &str| format!("sqlite:{}", file(name));
    let (code, said) = run(&["backup", "--database-url", &url("hq.db"), "--to", &file("copy.db")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("is missing"), "{said}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ids = service_kit::clock::Ids::from_os(std::sync::Arc::new(service_kit::clock::SystemClock));
    let config = Config::new(url("hq.db").parse().unwrap());
    // Makes the file.
    runtime.block_on(hq_svc::mark_restored(&config, &[], ids)).unwrap();
    let (code, said) = run(&["backup", "--database-url", &url("hq.db"), "--to", &file("copy.db")]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let (code, said) = run(&["restore", "--database-url", &url("hq.db"), "--from", &file("copy.db")]);
    assert_eq!(code, Some(64), "nothing is written over: {said}");
    let back = ["restore", "--database-url", &url("back.db"), "--from", &file("copy.db"), "--expect", "s1"];
    let (code, said) = run(&back);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("until these have brought what it has lost: s1"), "{said}");
    let (code, said) = run(&["backup", "--database-url", "postgres://nobody@localhost/x", "--to", "y"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("pg_dump"), "{said}");
}

#[test]
fn z4_beyond_loopback_a_beginner_is_told_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("hq.db").display());
    let missing = folder.path().join("missing.pem").display().to_string();
    let far = ["--listen", "0.0.0.0:0", "--database-url", &database, "--log", "off"];
    for (more, says) in [
        (vec![], "nothing here checks who calls or keeps others from reading along"),
        (vec!["--tokens", "tokens"], "what is sent here, tokens too, can be read on the way"),
        (vec!["--tls-cert", &missing, "--tls-key", &missing], "nothing here checks who calls"),
        (vec!["--tls-cert", &missing], "--tls-key"),
        (
            vec!["--tls-cert", &missing, "--tls-key", &missing, "--tokens", &missing],
            "missing.pem cannot be read",
        ),
    ] {
        let (code, text) = binary(&far.iter().copied().chain(more).collect::<Vec<_>>());
        assert!(code == Some(64) && text.lines().count() == 1 && text.contains(says), "{text}");
    }
}

#[test]
fn z4_no_password_is_in_help_errors_or_logs() {
    let url = "postgres://me:hunter2@127.0.0.1:1/hq";
    let binary = |arguments: &[&str], url: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hq-svc"));
        let output = command.args(arguments).env("HQ_DATABASE_URL", url).output().expect("it runs");
        [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("text")).concat()
    };
    let help = binary(&["--help"], url);
    assert!(help.contains("HQ_DATABASE_URL") && !help.contains("hunter2"), "{help}");
    let refused = binary(&[], "mysql://me:hunter2@host/hq");
    assert!(refused.contains("…@host/hq") && !refused.contains("hunter2"), "{refused}");
    let away = binary(&["--log", "trace"], url);
    assert!(away.contains("cannot open") && !away.contains("hunter2"), "{away}");
}
