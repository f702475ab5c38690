//! A made-up result for the tests of what is made from results.

use std::collections::BTreeMap;

use crate::result::{
    Arrivals, Backlog, Checks, Generator, Hq, Latency, Ledger, Machine, Mode, Paths, Process, ResultFile,
    Run, SCHEMA_VERSION, Sample, Services, Setup, TwoPercentiles,
};

/// A run in which nothing went wrong.
pub fn run(mode: Mode, offered_per_s: f64) -> Run {
    let fast = mode == Mode::Async;
    let ms = if fast { 1.0 } else { 40.0 };
    let acknowledged = match mode {
        Mode::Async => Paths { asynchronous: 200, ..Paths::default() },
        _ => Paths { sync: 200, ..Paths::default() },
    };
    Run {
        mode,
        offered_per_s,
        speedup: None,
        seconds: 4.0,
        interrupted: false,
        repetitions: Vec::new(),
        slices: Vec::new(),
        arrivals: 200,
        completed_per_s: offered_per_s,
        acknowledged,
        errors: BTreeMap::new(),
        fallback_causes: BTreeMap::new(),
        latency_ms: latency(200, ms),
        latency_distribution: vec![
            (0.0, ms / 2.0),
            (0.5, ms),
            (0.9, 2.0 * ms),
            (0.99, 3.0 * ms),
            (1.0, 5.0 * ms),
        ],
        phases_ms: None,
        failure_latency_ms: Latency::default(),
        findable_everywhere_ms: two(100, if fast { 1_200.0 } else { 40.0 }),
        account_number_ms: two(100, if fast { 1_000.0 } else { 40.0 }),
        sample: Sample { followed: 100, ..Sample::default() },
        hq: Some(Hq {
            utilization: 0.6,
            queue_max: 3,
            arrived: 200,
            completed: 200,
            queue: vec![(0.0, 0), (0.1, 2), (0.2, 3)],
            ..Hq::default()
        }),
        probe_latency_ms: two(40, 45.0),
        yardstick_ms: two(40, 0.4),
        probe_errors: BTreeMap::new(),
        generator: Generator {
            late_p50_ms: Some(0.1),
            late_p99_ms: Some(0.4),
            late_max_ms: Some(1.0),
            in_flight_max: 9,
        },
        backlog: Backlog { at_end: 3, left: 0, drain_ms: 900.0, pending: Vec::new() },
        process: Process {
            cpu_s: Some(1.0),
            max_rss_bytes: Some(90_000_000),
            machine_busy: Some(0.3),
            ..Process::default()
        },
        services: Vec::new(),
        warnings: Vec::new(),
    }
}

/// Three modes below and above what headquarters can serve, as one would expect them.
pub fn result() -> ResultFile {
    let mut runs = Vec::new();
    for mode in Mode::ALL {
        runs.push(run(mode, 50.0));
        let mut hard = run(mode, 200.0);
        if mode != Mode::Async {
            hard.latency_ms = latency(200, 350.0);
            hard.probe_latency_ms = two(40, 650.0);
        }
        match mode {
            Mode::Sync => {
                hard.errors = BTreeMap::from([("RESOURCE_EXHAUSTED".to_owned(), 100)]);
                hard.acknowledged = Paths { sync: 100, ..Paths::default() };
                hard.latency_ms = latency(100, 350.0);
                hard.completed_per_s = 100.0;
            }
            Mode::SyncFallback => {
                hard.acknowledged = Paths { sync: 100, async_fallback: 100, ..Paths::default() };
            }
            Mode::Async => {}
        }
        runs.push(hard);
    }
    ResultFile {
        schema_version: SCHEMA_VERSION,
        version: "0.1.0".to_owned(),
        commit: None,
        started: "2026-01-01T00:00:00Z".to_owned(),
        elapsed_s: 60.0,
        command: vec!["tillsync".to_owned()],
        interrupted: false,
        machine: Machine { cpus: 2, os: "linux x86_64".to_owned() },
        setup: Setup {
            services: Services::Embedded,
            channels: 2,
            durability: "SQLite, synchronous=FULL".to_owned(),
            capacity_per_s: Some(100.0),
            profile_toml: Some("workers = 4\n".to_owned()),
            scenario: None,
            seed: 1,
            arrivals: Arrivals::Poisson,
            seconds: 4.0,
            warmup_s: 0.5,
            probe_per_s: 10.0,
            rts_timeout_ms: 2_000,
            call_deadline_ms: 10_000,
            sample: 200,
            repeat: 1,
            generators: 1,
            assumed: None,
        },
        runs,
        ledger: Some(Ledger {
            acknowledged: 1_000,
            in_hq: 1_000,
            customers_in_hq: 1_001,
            ..Ledger::default()
        }),
        warnings: Vec::new(),
        knees: Vec::new(),
        checks: Checks::default(),
        process: Process {
            cpu_s: Some(20.0),
            max_rss_bytes: Some(90_000_000),
            machine_busy: Some(0.3),
            ..Process::default()
        },
    }
}

fn latency(count: u64, ms: f64) -> Latency {
    Latency {
        count,
        p50: Some(ms),
        p90: Some(2.0 * ms),
        p99: Some(3.0 * ms),
        p999: Some(4.0 * ms),
        p9999: Some(5.0 * ms),
        max: Some(5.0 * ms),
    }
}

fn two(count: u64, ms: f64) -> TwoPercentiles {
    TwoPercentiles { count, p50: Some(ms), p99: Some(2.0 * ms) }
}
