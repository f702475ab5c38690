//! The parts of a profile that work together with others: priority, scalability, blocks of numbers, batches,
//! throttle, loss, slow start.

use super::*;
use crate::profile::{
    Batch, Distribution, Link, Outage, Priority, Profile, Scalability, SerialSection, ServiceTime, SlowStart,
    Throttle,
};

const MS: Nanos = 1_000_000;

/// So many workers, 10 ms a call, nobody gives up.
fn profile(workers: u32) -> Profile {
    Profile {
        workers,
        queue_capacity: 1_000,
        longest_wait_ms: 1e9,
        service: ServiceTime::new(Distribution::Constant, 10.0),
        ..Profile::default()
    }
}

fn model(profile: &Profile) -> Model {
    Model::new(Rules::new(profile).unwrap(), 7)
}

fn call<'a>(channel: &'a str, method: Method, subject: &'a str) -> Call<'a> {
    Call { channel, method, subject: subject.as_bytes() }
}

fn create(subject: &str) -> Call<'_> {
    call("s1", Method::Create, subject)
}

/// When each call that was served ended, in milliseconds, by the order of arrival.
fn ends(model: &mut Model) -> Vec<f64> {
    let mut ends: Vec<(CallId, f64)> = model
        .advance(Nanos::MAX)
        .filter_map(|event| match event {
            Event::Finished { id, at, .. } => Some((id, at as f64 / MS as f64)),
            _ => None,
        })
        .collect();
    ends.sort_unstable_by_key(|(id, _)| *id);
    ends.into_iter().map(|(_, end)| end).collect()
}

#[test]
fn r2_a_higher_class_is_served_first_and_nobody_is_interrupted() {
    let by_method = [(Method::Search, 2)].into();
    let by_channel = [("vip".to_owned(), 0)].into();
    let priority = Some(Priority { default: 1, by_method, by_channel });
    let mut model = model(&Profile { priority, ..profile(1) });
    let calls = [
        call("s1", Method::Search, "runs"),
        call("s1", Method::Search, "waits"),
        call("s1", Method::Create, "a"),
        call("s1", Method::Get, "b"),
        call("vip", Method::Search, "c"),
    ];
    for (ms, call) in (0..).zip(calls) {
        model.arrive(ms * MS, call);
    }
    assert_eq!(ends(&mut model), [10.0, 50.0, 30.0, 40.0, 20.0]);
}

#[test]
fn r2_calls_slow_each_other_down_as_the_law_says() {
    let law = Scalability { contention: 0.1, coherency: 0.05 };
    let scalability = Some(law);
    // Two at once take 1 + 0.1 + 0.1 = 1.2 times as long.
    let mut two = model(&Profile { scalability, ..profile(4) });
    two.arrive(0, create("a"));
    two.arrive(0, create("b"));
    assert_eq!(ends(&mut two), [12.0, 12.0]);
    // One that comes half way through slows the other half down, and runs alone after it.
    let mut late = model(&Profile { scalability, ..profile(4) });
    late.arrive(0, create("a"));
    late.arrive(5 * MS, create("b"));
    assert_eq!(ends(&mut late), [11.0, 16.0]);
    // Kept busy, n workers do n / slowness(n) times what one does: less with many than with few.
    for workers in [1, 4, 16] {
        let mut full = model(&Profile { scalability, ..profile(workers) });
        for n in 0..20 * workers {
            full.arrive(0, call("s1", Method::Get, &n.to_string()));
        }
        let last = ends(&mut full).into_iter().fold(0.0, f64::max);
        let expected = 20.0 * 10.0 * law.slowness(workers);
        assert!((last / expected - 1.0).abs() < 1e-6, "{workers}: {last} ms, {expected} expected");
    }
}

#[test]
fn r2_one_create_of_a_block_passes_the_serial_section() {
    let serial_section = Some(SerialSection { share: 0.5, block: 3 });
    let mut model = model(&Profile { serial_section, ..profile(4) });
    for subject in ["a", "b", "c", "d", "e"] {
        model.arrive(0, create(subject));
    }
    model.arrive(30 * MS, create("later"));
    // One fetches three numbers until 10, and two that waited for them are done then; the fourth fetches again
    // until 15, and the fifth, which began at 10, has one of those. So has the one that comes later.
    let mut ends = ends(&mut model);
    ends.sort_unstable_by(f64::total_cmp);
    assert_eq!(ends, [10.0, 10.0, 10.0, 15.0, 15.0, 35.0]);
}

#[test]
fn r2_a_batch_takes_workers_that_have_finished_their_call() {
    let batch = |workers, start_ms, duration_ms| Batch { workers, start_ms, duration_ms, repeat_ms: None };
    let mut model =
        model(&Profile { batches: vec![batch(2, 5.0, 40.0), batch(9, 100.0, 10.0)], ..profile(2) });
    for subject in ["a", "b", "c"] {
        model.arrive(0, create(subject));
    }
    let figures = model.figures(20 * MS, false);
    assert_eq!((figures.busy_now, figures.batch_now, figures.queue_now), (0, 2, 1));
    assert!((figures.utilization - 1.0).abs() < 1e-9, "calls, then the batch");
    model.arrive(100 * MS, create("d"));
    let mut ends = ends(&mut model);
    ends.sort_unstable_by(f64::total_cmp);
    assert_eq!(ends, [10.0, 10.0, 55.0, 120.0]);
}

#[test]
fn r2_workers_can_be_taken_by_command() {
    let mut model = model(&profile(1));
    model.occupy(0, 1);
    model.arrive(MS, create("a"));
    model.occupy(7 * MS, 0);
    assert_eq!(ends(&mut model), [17.0]);
}

#[test]
fn r2_a_throttle_counts_what_waits_and_lets_out_what_leaves() {
    let throttle = Some(Throttle { window_s: 300.0, concurrent: Some(2), ..Throttle::default() });
    let mut model = model(&Profile { throttle, longest_wait_ms: 5.0, ..profile(1) });
    let running = model.arrive(0, create("a"));
    let waiting = model.arrive(MS, create("b"));
    model.arrive(MS, call("s2", Method::Create, "other channel"));
    model.arrive(2 * MS, create("c"));
    assert!(model.cancel(3 * MS, waiting) && !model.cancel(3 * MS, running));
    model.arrive(4 * MS, create("d"));
    model.arrive(5 * MS, create("e"));
    // The other channel's has waited long enough at 6, d at 9; then one place is free.
    model.arrive(9 * MS + 1, create("f"));
    let told: Vec<String> = model
        .advance(Nanos::MAX)
        .filter_map(|event| match event {
            Event::Refused { id, reason, .. } => Some(format!("{} {reason:?}", id.number())),
            Event::Started { .. } => None,
            Event::Finished { id, .. } => Some(format!("{} done", id.number())),
        })
        .collect();
    let throttled = |n: u32| format!("{n} Throttle(Concurrent)");
    let expected = [
        throttled(3),
        throttled(5),
        "2 LongestWait".into(),
        "4 LongestWait".into(),
        "0 done".into(),
        "6 done".into(),
    ];
    assert_eq!(told, expected);
    let figures = model.figures(Nanos::MAX, false);
    assert_eq!((figures.refused_throttle, figures.refused_longest_wait, figures.abandoned), (2, 2, 1));
}

#[test]
fn r2_lost_messages_come_later_at_their_rate() {
    let link = Link { latency_ms: 5.0, jitter_ms: 0.0, loss: 0.1, retransmit_ms: 200.0 };
    let mut model = model(&Profile { link, ..profile(100_000) });
    for n in 0..20_000_u32 {
        model.arrive(0, create(&n.to_string()));
    }
    let ends = ends(&mut model);
    let of = |ms: f64| ends.iter().filter(|end| (**end - ms).abs() < 1e-6).count();
    // Neither way lost: 0.9². One lost once: 2 · 0.9 · (0.1 · 0.9). Each once: (0.1 · 0.9)². One twice.
    for (ms, share) in [(20.0, 0.81), (220.0, 0.162), (420.0, 0.0081), (620.0, 0.0162)] {
        let found = of(ms) as f64 / 20_000.0;
        let deviation = (share * (1.0 - share) / 20_000.0_f64).sqrt();
        assert!((found - share).abs() < 4.0 * deviation, "{ms} ms: {found}, {share} expected");
    }
}

#[test]
fn r2_after_an_outage_calls_take_longer_until_headquarters_is_warm() {
    let outages = vec![Outage { start_ms: 0.0, duration_ms: 100.0, repeat_ms: None }];
    let slow_start = Some(SlowStart { duration_ms: 320.0, factor: 5.0 });
    let mut model = model(&Profile { outages, slow_start, ..profile(1) });
    model.arrive(100 * MS, create("cold"));
    model.arrive(300 * MS, create("warmer"));
    model.arrive(500 * MS, create("warm"));
    assert!((model.figures(100 * MS, false).slowness - 5.0).abs() < 1e-9);
    let ends = ends(&mut model);
    // Ten steps of 10 ms at 5, 4.875, 4.75, … times as long: a little more than four of them.
    let cold = 10.0 / 5.0 + 10.0 / 4.875 + 10.0 / 4.75 + 10.0 / 4.625;
    assert!((ends[0] - (140.0 + (10.0 - cold) * 4.5)).abs() < 1e-3, "{ends:?}");
    assert!(ends[1] > 324.0 && ends[1] < 326.0, "{ends:?}");
    assert!((ends[2] - 510.0).abs() < 1e-9, "{ends:?}");
}

#[test]
fn z3_calls_that_leave_do_not_pile_up_in_queue_and_agenda() {
    let mut model = model(&profile(1));
    model.arrive(0, create("runs"));
    for n in 0..100_000_u32 {
        let id = model.arrive_once(0, create(&n.to_string()));
        assert!(model.cancel(0, id));
    }
    assert_eq!(model.load(), (0, 1));
    assert!(model.entries() < 10_000, "{}", model.entries());
}
