//! The planner: the same seed gives the same result, and what it says can be calculated by hand.

use std::path::Path;

use clap::Parser as _;
use rts_emulator::profile::Outage;

use super::*;
use crate::{
    cli::{Cli, Command},
    plan::what_if::WhatIf,
    result::WarningKind,
};

fn args(arguments: &[&str]) -> PlanArgs {
    let cli = Cli::try_parse_from(["tillsync", "plan"].iter().chain(arguments)).unwrap();
    let Some(Command::Plan(args)) = cli.command else { panic!() };
    *args
}

fn planned(arguments: &[&str]) -> ResultFile {
    let command = ["tillsync", "plan"].iter().chain(arguments).map(|word| (*word).to_owned());
    run(&args(arguments), command.collect()).unwrap()
}

#[test]
fn b10_the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let text = |threads: &str, seed: &str| {
        let result = planned(&["--seconds", "20", "--seed", seed, "--threads", threads]);
        serde_json::to_string_pretty(&result).unwrap()
    };
    let one = text("1", "1");
    assert!(one == text("1", "1") && one == text("2", "1") && one == text("7", "1"));
    assert!(one != text("1", "2"));
}

#[test]
fn b10_a_plan_shows_what_a_run_shows() {
    let result = planned(&["--rates", "0.5x,2x", "--seconds", "60"]);
    let of = |mode: Mode, place: usize| {
        let runs: Vec<&Run> = result.runs.iter().filter(|run| run.mode == mode).collect();
        runs[place]
    };
    let (calm, rushed) = (of(Mode::Sync, 0), of(Mode::Sync, 1));
    assert_eq!(calm.failed(), 0);
    // Half the workers, and the probe: 60 %.
    let hq = calm.hq.as_ref().unwrap();
    assert!((hq.utilization - 0.6).abs() < 0.03, "{}", hq.utilization);
    assert_eq!(hq.queue.len(), 200);
    // Twice what it can do: half fail, and what headquarters does is what it can.
    assert!((rushed.failed_share() - 0.54).abs() < 0.03, "{}", rushed.failed_share());
    assert!(rushed.errors.keys().eq(["RESOURCE_EXHAUSTED"]), "{:?}", rushed.errors);
    assert!((rushed.completed_per_s - 95.0).abs() < 3.0, "{}", rushed.completed_per_s);
    assert!(rushed.warnings.iter().any(|warning| warning.kind == WarningKind::Errors));
    let fallback = of(Mode::SyncFallback, 1);
    assert_eq!(fallback.failed(), 0);
    assert!(fallback.acknowledged.async_fallback > fallback.acknowledged.sync / 2);
    let asynchronous = of(Mode::Async, 1);
    assert_eq!(asynchronous.acknowledged.asynchronous, asynchronous.arrivals);
    assert!((asynchronous.latency_ms.p50.unwrap() - 1.6).abs() < 0.01);
    // Three pauses of 0.5 to 0.6 s, each half over on the average, and what the jobs take.
    let account = asynchronous.account_number_ms.p50.unwrap();
    assert!((account - 850.0).abs() < 120.0, "{account}");
    assert!(asynchronous.findable_everywhere_ms.p50 > asynchronous.account_number_ms.p50);
    assert_eq!((result.setup.services, result.ledger.is_none()), (Services::Simulated, true));
}

#[test]
fn b10_a_store_gives_up_after_its_time_and_an_outage_never_ends_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.toml");
    let outages = vec![Outage { start_ms: 5_000.0, duration_ms: 5_000.0, repeat_ms: Some(10_000.0) }];
    let slow = Profile {
        workers: 1,
        queue_capacity: 1_000,
        longest_wait_ms: 60_000.0,
        outages,
        ..Profile::default()
    };
    std::fs::write(&file, slow.to_toml().unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let result = planned(&["--profile", file, "--rates", "40", "--seconds", "20", "--rts-timeout", "0.5"]);
    let sync = &result.runs[0];
    assert!(sync.errors["UNAVAILABLE"] > 300 && sync.errors["DEADLINE_EXCEEDED"] > 50, "{:?}", sync.errors);
    assert!(sync.failure_latency_ms.max.unwrap() < 510.0);
    let fallback = &result.runs[1];
    assert_eq!(fallback.failed(), 0);
    assert!(fallback.latency_ms.max.unwrap() < 515.0);
}

#[test]
fn b10_a_day_of_a_thousand_stores() {
    let result =
        planned(&["--arrivals", "daily", "--stores", "1000", "--creates-per-day", "20", "--modes", "async"]);
    let run = &result.runs[0];
    assert!((run.arrivals as f64 - 20_000.0).abs() < 600.0 && run.failed() == 0, "{}", run.arrivals);
    assert!(run.sample.followed >= 190 && run.backlog.left == 0);
    // The last of a thousand stores has it nearly a whole pause later.
    let (everywhere, here) = (run.findable_everywhere_ms.p50.unwrap(), run.account_number_ms.p50.unwrap());
    assert!(everywhere > here + 200.0 && everywhere < here + 600.0, "{everywhere} {here}");
    assert_eq!(result.setup.arrivals, Arrivals::Daily { creates_per_day: 20_000.0 });
}

#[test]
fn z1_what_a_plan_cannot_do_is_told() {
    let wrong = |arguments: &[&str]| match run(&args(arguments), Vec::new()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{arguments:?} was accepted"),
    };
    assert!(wrong(&["--profile", "idle"]).contains("--rates 50,100"));
    assert!(wrong(&["--profile", "nowhere.toml"]).contains("nowhere.toml: No such file"));
    assert!(wrong(&["--rates", "1000", "--seconds", "600000"]).contains("more than 5000000"));
    let much = ["--arrivals", "daily", "--stores", "20000", "--creates-per-day", "100000"];
    assert!(wrong(&much).contains("these are 2000000000 creates; at most 200000000"));
    for (arguments, named) in [
        (&["--stores", "0"][..], "--stores"),
        (&["--schedules", "0,1,2"], "0.05 to 86400"),
        (&["--schedules", "1,2"], "three pauses"),
        (&["--spread", "9"], "0 to 3"),
        (&["--threads", "0"], "--threads"),
    ] {
        let error =
            Cli::try_parse_from(["tillsync", "plan"].iter().chain(arguments)).unwrap_err().to_string();
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
}

fn asked(arguments: &[&str]) -> WhatIf {
    let cli =
        Cli::try_parse_from(["tillsync", "what-if", "--creates", "5000"].iter().chain(arguments)).unwrap();
    let Some(Command::WhatIf(args)) = cli.command else { panic!() };
    what_if::find(&args).unwrap()
}

#[test]
fn b10_what_if_finds_the_knee_that_theory_has() {
    // M/M/1 without other work: p99 of the whole time is ln(100) / (50 - rate) seconds, so 500 ms at 40.8 per s.
    let mm1 = ["--profile", "mm1", "--probe-rate", "0", "--sync-overhead", "0", "--rts-timeout", "600"];
    let found = asked(&[&mm1[..], &["--stores", "10", "--creates-per-day", "95000"]].concat());
    let knee = found.knee.unwrap();
    let theory = 50.0 - 100.0_f64.ln() / 0.5;
    assert!((knee.per_s / theory - 1.0).abs() < 0.08, "{knee:?}, {theory} expected");
    assert!(knee.range.0 <= knee.per_s && knee.per_s <= knee.range.1);
    // 950,000 creates a day are 43.7 per s in the busiest hour: one store too many, if all are alike.
    let busy =
        found.hours.iter().filter(|hour| !hour.sync_keeps_goal).map(|hour| hour.hour).collect::<Vec<_>>();
    assert!(busy.contains(&12) && busy.len() <= 2, "{busy:?}");
    assert!((1..=3).contains(&found.stores_async.0), "{:?}", found.stores_async);
    let (others, utilization) = found.others.unwrap();
    assert!(others.p99.unwrap() <= 500.0 && utilization < 0.85, "{others:?}");
    // More workers and shorter services are better.
    for row in &found.knees {
        assert!(row.is_sorted(), "{row:?}");
    }
    assert!(
        (0..found.workers.len()).all(|column| found.knees.iter().map(|row| row[column]).rev().is_sorted())
    );
    assert!(found.schedules.is_sorted_by(|a, b| a.1.p50 < b.1.p50 && a.2.p99 < b.2.p99));
    let page = crate::report::what_if(&found);
    assert!(page.contains("from 12:00 to 1") && page.contains("class=\"heat\"") && !page.contains("http"));
}

#[test]
fn b10_what_if_says_never_and_always() {
    let never = asked(&["--goal", "p50=10ms", "--stores", "2"]);
    assert!(never.knee.unwrap().per_s < 0.2);
    assert_eq!((never.stores_async.0, never.others), (2, None));
    assert!(crate::report::answers(&never)[0].contains("every store should create async"));
    let always = asked(&["--profile", "idle", "--stores", "2"]);
    assert_eq!((always.knee, always.stores_async.0), (None, 0));
    assert!(crate::report::answers(&always)[0].contains("every store can create sync all day"));
}

#[test]
fn r8_the_page_of_the_presets_is_that_of_this_model() {
    let made = crate::report::profiles(&profiles::loaded(4).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/profiles.html");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    // Another processor may round another way, so figures are not compared; what they were made of is.
    let kept = std::fs::read_to_string(&path).unwrap();
    for (name, text) in rts_emulator::profile::PRESETS {
        let shown =
            text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let is_there = |page: &str| page.contains(&format!("<h2 id=\"{name}\">")) && page.contains(&shown);
        assert!(is_there(&made), "{name}");
        assert!(
            is_there(&kept),
            "docs/profiles.html is not up to date: WRITE_DOCS=1 cargo test -p tillsync r8_"
        );
    }
    assert_eq!(made.matches("<figure").count(), 2 * rts_emulator::profile::PRESETS.len());
}
