//! The harness against real servers in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod measurements;
mod privacy;
mod schema;
mod shell;
mod third_party;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
};

use clap::Parser as _;
use serde_json::Value;
use service_kit::clock::{Clock, SystemClock};
use tillsync::{
    ceiling,
    cli::{self, Cli},
    compare,
    embedded::{Embedded, Place, Wanted},
    pacing, plan, report, result, scenario,
};
use tillsync_proto::pb::emulator::{GetFiguresRequest, emulator_service_client::EmulatorServiceClient};
use tokio_util::sync::CancellationToken;

const SCHEMA: &str = include_str!("../../schema/result.schema.json");

/// Measures with these arguments, writes the files to a folder, and gives the result.
async fn measure(out: &Path, arguments: &[&str], stop: CancellationToken) -> result::ResultFile {
    let fixed = ["tillsync", "compare", "--plain", "--one-process", "--out", out.to_str().unwrap()];
    let cli = Cli::try_parse_from(fixed.iter().chain(arguments)).unwrap();
    let Some(cli::Command::Compare(args)) = cli.command else { panic!("compare was asked for") };
    let result = compare::measure(*args, vec!["tillsync".to_owned()], stop).await.unwrap();
    compare::write(&result, out).unwrap();
    result
}

/// How many a file has; none before it is there.
fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

fn valid(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("result.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(schema::violations(&schema, &value), Vec::<String>::new());
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_small_comparison_is_measured_written_down_and_nobody_is_lost() {
    let out = tempfile::tempdir().unwrap();
    let arguments =
        ["--rates", "20,40", "--modes", "sync,async", "--seconds", "1", "--warmup", "0.2", "--sample", "20"];
    let result = measure(out.path(), &arguments, CancellationToken::new()).await;

    let value = valid(out.path());
    let runs: Vec<(&str, f64)> = value["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["mode"].as_str().unwrap(), run["offered_per_s"].as_f64().unwrap()))
        .collect();
    assert_eq!(runs, [("sync", 20.0), ("sync", 40.0), ("async", 20.0), ("async", 40.0)]);

    let ledger = result.ledger.clone().unwrap();
    assert!(ledger.holds(), "{ledger:?}");
    assert_eq!((ledger.pending, ledger.in_hq), (0, ledger.acknowledged));
    // Every acknowledged GUID is in the file, and nothing else is at headquarters.
    let written = lines(&out.path().join("acknowledged.txt")) as u64;
    assert_eq!((written, ledger.customers_in_hq), (ledger.acknowledged, ledger.acknowledged));
    assert_eq!(compare::exit_code(&result), ExitCode::SUCCESS);

    for run in &result.runs {
        assert_eq!(run.failed(), 0, "{run:?}");
        assert_eq!(run.latency_ms.count, run.arrivals);
        assert!(run.arrivals > 0 && run.sample.followed > 0 && run.sample.unresolved == 0);
        assert!(run.hq.as_ref().is_some_and(|hq| !hq.queue.is_empty()));
        assert!(run.probe_latency_ms.count > 0 && run.probe_errors.is_empty());
        let paths = run.acknowledged;
        match run.mode {
            result::Mode::Async => {
                assert_eq!(paths.total(), paths.asynchronous);
                assert!(run.findable_everywhere_ms.p50 > run.latency_ms.p50);
                // Rule B3: only a create that asks headquarters has phases.
                assert!(run.phases_ms.is_none());
            }
            _ => {
                assert_eq!(paths.total(), paths.sync);
                let phases = run.phases_ms.as_ref().unwrap();
                assert!(phases.service.mean > Some(10.0), "40 ms are asked for, of some twenty: {phases:?}");
                // Rules M1, C4: another store's search in all stores finds a sync customer at once.
                assert!(run.sample.remote_search_verified > 0 && run.sample.remote_search_failed == 0);
            }
        }
    }
    let html = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert_eq!(html, report::render(&result));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_day_goes_to_the_channels_by_store() {
    let out = tempfile::tempdir().unwrap();
    let trace = concat!("trace:", env!("CARGO_MANIFEST_DIR"), "/traces/online-retail-invoices.csv");
    let arguments = [
        "--arrivals",
        trace,
        "--day",
        "busiest",
        "--speedup",
        "20000",
        "--modes",
        "async",
        "--probe-rate",
        "0",
    ];
    let result = measure(out.path(), &arguments, CancellationToken::new()).await;
    let value = valid(out.path());
    assert_eq!(value["setup"]["arrivals"]["day"], "busiest");
    assert_eq!(
        (result.runs.len(), result.runs[0].arrivals, result.runs[0].speedup),
        (1, 218, Some(20_000.0))
    );
    assert!(result.ledger.unwrap().holds());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_session_still_has_a_valid_result_and_a_ledger() {
    let out = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let token = stop.clone();
    let acknowledged = out.path().join("acknowledged.txt");
    let begun = SystemClock.now();
    // The signal comes when the run is well under way: after 60 creates at 50 per second.
    tokio::spawn(async move {
        while lines(&acknowledged) < 60 {
            tokio::task::yield_now().await;
        }
        token.cancel();
    });
    let arguments = ["--rates", "50", "--modes", "async", "--seconds", "3600", "--warmup", "0"];
    let result = measure(out.path(), &arguments, stop).await;
    assert!(SystemClock.now().duration_since(begun).as_secs() < 60);
    valid(out.path());
    assert!(result.interrupted && result.runs[0].interrupted);
    assert!((0.2..60.0).contains(&result.runs[0].seconds));
    assert!(result.ledger.unwrap().acknowledged >= 60);
}

/// Plays a scenario; its results go to `folder`.
async fn played(
    scenario: &str,
    folder: &Path,
    options: &[&str],
    stop: CancellationToken,
) -> result::ResultFile {
    let file = folder.join("scenario.toml");
    fs::write(&file, scenario).unwrap();
    let (file, folder) = (file.to_str().unwrap(), folder.to_str().unwrap());
    let fixed = ["tillsync", "scenario", "--plain", file, "--out", folder];
    let cli = Cli::try_parse_from(fixed.iter().chain(options)).unwrap();
    let Some(cli::Command::Scenario(args)) = cli.command else { panic!("a scenario was asked for") };
    scenario::measure(*args, vec!["tillsync".to_owned()], stop).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scenario_goes_offline_and_back_switches_the_mode_and_loses_nobody() {
    let out = tempfile::tempdir().unwrap();
    let text = r#"
        name = "Away and back"
        look_for = "Everybody is there in the end."
        modes = ["sync-fallback"]
        seconds = 3
        [traffic]
        rate = [[0, 20], [3, 60]]
        [[at]]
        seconds = 0.5
        do = "offline"
        for_s = 1
        [[at]]
        seconds = 2
        do = "mode"
        mode = "async"
    "#;
    let result = played(text, out.path(), &["--one-process"], CancellationToken::new()).await;
    compare::write(&result, out.path()).unwrap();
    let value = valid(out.path());
    assert_eq!(value["setup"]["scenario"]["events"].as_array().unwrap().len(), 3);
    let run = &result.runs[0];
    let paths = run.acknowledged;
    assert_eq!(run.failed(), 0, "{run:?}");
    assert!(paths.sync > 0 && paths.async_fallback > 0 && paths.asynchronous > 0, "{paths:?}");
    assert!(result.ledger.unwrap().holds());
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("Away and back") && page.contains("stores offline"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scenario_that_is_ended_early_leaves_no_outage_behind() {
    let out = tempfile::tempdir().unwrap();
    let text = r#"
        name = "Out"
        look_for = "Nothing is left of it."
        modes = ["sync-fallback"]
        seconds = 3600
        [traffic]
        rate = [[0, 20], [3600, 20]]
        [[at]]
        seconds = 0
        do = "outage"
        for_s = 3600
    "#;
    // A chain that was there before, and goes on after.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let chain = Embedded::start(Wanted::new(Place::Here, out.path()), &clock).await.unwrap();
    let (hq, emulator) = (chain.addresses.hq.clone().unwrap(), chain.addresses.emulator.clone().unwrap());
    let elsewhere = ["--hq", &hq, "--emulator", &emulator, "--channel", &chain.addresses.channels[0]];
    let mut control = EmulatorServiceClient::connect(emulator.clone()).await.unwrap();
    let (stop, mut watching) = (CancellationToken::new(), control.clone());
    let token = stop.clone();
    tokio::spawn(async move {
        let mut outage = false;
        while !outage {
            outage = watching.get_figures(GetFiguresRequest::default()).await.unwrap().into_inner().outage;
        }
        token.cancel();
    });
    let result = played(text, out.path(), &elsewhere, stop).await;
    assert!(result.interrupted);
    let figures = control.get_figures(GetFiguresRequest::default()).await.unwrap().into_inner();
    assert!(!figures.outage);
    chain.stop().await;
}

/// The 80th percentile of the answers of a headquarters that stands still for a second in every three.
async fn stalled(arrivals: &str) -> f64 {
    let out = tempfile::tempdir().unwrap();
    let profile = out.path().join("stall.toml");
    let text = r#"
        workers = 4
        queue_capacity = 10000
        longest_wait_ms = 10000
        [service]
        distribution = "constant"
        mean_ms = 20
        [[batches]]
        workers = 4
        start_ms = 2000
        duration_ms = 1000
        repeat_ms = 3000
    "#;
    fs::write(&profile, text).unwrap();
    let profile = profile.to_str().unwrap();
    let fixed =
        ["--profile", profile, "--modes", "sync", "--rates", "40", "--seconds", "6", "--probe-rate", "0"];
    let arguments: Vec<&str> = fixed.into_iter().chain(["--arrivals", arrivals]).collect();
    let result = measure(out.path(), &arguments, CancellationToken::new()).await;
    valid(out.path());
    let distribution = &result.runs[0].latency_distribution;
    distribution.iter().find(|(quantile, _)| *quantile >= 0.8).unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_a_stall_is_seen_open_loop_and_hidden_closed_loop() {
    // A third of the time it stands still: open-loop a third of the creates fall into that, and a fifth waits longer
    // than 0.4 s. Two callers that wait lose two calls to each stall, of some hundred.
    let (open, closed) = (stalled("constant").await, stalled("closed:2").await);
    assert!(open > 300.0, "{open}");
    assert!(closed < open / 2.0, "{closed} and {open}");
}

#[test]
fn b2_several_generators_make_one_load_and_one_result() {
    let out = tempfile::tempdir().unwrap();
    let arguments =
        ["compare", "--plain", "--generators", "3", "--rates", "60", "--modes", "async", "--repeat", "2"];
    let said = Command::new(env!("CARGO_BIN_EXE_tillsync"))
        .args(arguments)
        .args(["--seconds", "1", "--warmup", "0.2", "--arrivals", "constant", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    let value = valid(out.path());
    assert_eq!(value["setup"]["generators"], 3);
    let run = &value["runs"][0];
    // Every one of them was made, each by one generator, in each of two repetitions.
    assert_eq!((&run["arrivals"], &run["acknowledged"]["async"]), (&120.into(), &120.into()));
    let each: Vec<u64> =
        run["repetitions"].as_array().unwrap().iter().map(|r| r["arrivals"].as_u64().unwrap()).collect();
    assert_eq!(each, [60, 60]);
    assert_eq!((&value["ledger"]["lost"], &value["ledger"]["doubled"]), (&0.into(), &0.into()));
    // Rule B3: each service is a process of its own, and says what it used.
    let services = run["services"].as_array().unwrap();
    let names: Vec<&str> = services.iter().map(|usage| usage["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["emulator", "headquarters", "store-1", "store-2"]);
    assert!(services.iter().all(|usage| usage["rss_bytes"].as_f64().unwrap() > 1e6));
    assert!(services.iter().map(|usage| usage["cpu_s"].as_f64().unwrap()).sum::<f64>() > 0.0);
    // 72 of each repetition, the warm-up included, and the probe's customer.
    assert_eq!(value["ledger"]["in_hq"], 145);
}

#[test]
fn b4_several_generators_count_what_missed_the_goal() {
    let out = tempfile::tempdir().unwrap();
    // No sync create is as fast as that: headquarters takes 40 ms for each.
    let said = Command::new(env!("CARGO_BIN_EXE_tillsync"))
        .args(["knee", "--plain", "--generators", "3", "--slo", "p50=5ms", "--modes", "sync", "--runs", "6"])
        .args(["--seconds", "1", "--warmup", "0", "--probe-rate", "0", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    let value = valid(out.path());
    let knee = &value["knees"][0];
    assert!(knee["per_s"].is_null() && knee["low"].is_null() && knee["high"].is_number(), "{knee}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ceiling_is_a_ratio_of_one_run() {
    let cli = Cli::try_parse_from([
        "tillsync",
        "ceiling",
        "--one-process",
        "--client",
        "tonic",
        "--callers",
        "16,32",
        "--rounds",
        "1",
        "--seconds",
        "0.25",
    ])
    .unwrap();
    let Some(cli::Command::Ceiling(args)) = cli.command else { panic!("the ceiling was asked for") };
    let found = ceiling::measure(&args).await.unwrap();
    assert_eq!(found.lines.iter().map(|line| line.callers).collect::<Vec<_>>(), [16, 32]);
    for line in &found.lines {
        assert_eq!((line.rounds.len(), line.failed), (1, 0));
        let round = line.rounds[0];
        assert!(round.ratio > 0.0 && round.ping_per_s > 0.0, "{round:?}");
        assert!(round.searchable_per_s > 0.0 && round.searchable_per_s <= round.create_per_s, "{round:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_how_well_the_generator_keeps_time_is_measured() {
    let arguments = ["tillsync", "pacing", "--rounds", "1", "--seconds", "0.25", "--call-rate", "200"];
    let cli = Cli::try_parse_from(arguments).unwrap();
    let Some(cli::Command::Pacing(args)) = cli.command else { panic!("pacing was asked for") };
    let found = pacing::measure(&args).await.unwrap();
    let round = &found.rounds[0];
    // How late is for the command to show: while tests run beside it, the machine decides.
    assert!(round.idle_late_ms.count > 1_000 && round.call_late_ms.count > 10 && round.most_per_s > 0.0);
    assert_eq!(round.call_late_ms.count, round.call_ms.count);
}

#[test]
fn b10_a_plan_is_a_result_and_a_report_like_any_other() {
    let out = tempfile::tempdir().unwrap();
    for arguments in
        [&["--rates", "20,200", "--seconds", "2"][..], &["--arrivals", "daily", "--stores", "20"]]
    {
        let fixed = ["tillsync", "plan", "--out", out.path().to_str().unwrap()];
        let cli = Cli::try_parse_from(fixed.iter().chain(arguments)).unwrap();
        let Some(cli::Command::Plan(args)) = cli.command else { panic!("plan was asked for") };
        let result = plan::run(&args, vec!["tillsync".to_owned()]).unwrap();
        compare::write(&result, out.path()).unwrap();
        assert_eq!(valid(out.path())["setup"]["services"], "simulated");
        let page = fs::read_to_string(out.path().join("report.html")).unwrap();
        assert!(page.contains("simulated in virtual time") && page.contains("there is no ledger"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_a_plan_and_a_run_of_the_same_case_stand_side_by_side() {
    let arguments = ["--check", "--rates", "40", "--modes", "sync", "--seconds", "3", "--probe-rate", "0"];
    let cli = Cli::try_parse_from(["tillsync", "plan"].iter().chain(&arguments)).unwrap();
    let Some(cli::Command::Plan(args)) = cli.command else { panic!("plan was asked for") };
    let rows = plan::check::rows(*args, vec!["tillsync".to_owned()], |_| {}).await.unwrap();
    // How near they are, the command shows: while tests run beside it, the machine decides.
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.off_by().is_finite() && row.to_string().contains('%')), "{rows:?}");
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut value = serde_json::json!({ "mode": "semi", "more": 1 });
    let wrong = schema::violations(&schema, &value);
    assert!(wrong.iter().any(|w| w.contains("\"runs\" is missing")), "{wrong:?}");
    assert!(wrong.iter().any(|w| w.contains("result.more: is not in the schema")), "{wrong:?}");
    value["runs"] = serde_json::json!([{ "mode": "semi", "errors": { "lower case": -1 } }]);
    let wrong = schema::violations(&schema, &value);
    for expected in
        ["runs[0].mode: enum", "errors: propertyNames", "lower case: minimum", "\"hq\" is missing"]
    {
        assert!(wrong.iter().any(|w| w.contains(expected)), "{expected}: {wrong:?}");
    }
}
