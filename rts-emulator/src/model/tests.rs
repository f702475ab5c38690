//! What the model decides, step by step.

use std::collections::BTreeMap;

use super::*;
use crate::profile::{
    Batch, Distribution, Link, Outage, Priority, Profile, RateLimit, RateLimits, Scalability, SerialSection,
    ServiceTime, SlowStart, Throttle,
};

const MS: Nanos = 1_000_000;

fn constant(mean_ms: f64) -> ServiceTime {
    ServiceTime::new(Distribution::Constant, mean_ms)
}

/// One worker, 10 ms, two places in the queue, longest wait 15 ms.
fn profile() -> Profile {
    Profile {
        workers: 1,
        queue_capacity: 2,
        longest_wait_ms: 15.0,
        service: constant(10.0),
        ..Profile::default()
    }
}

fn model(profile: &Profile) -> Model {
    Model::new(Rules::new(profile).unwrap(), 7)
}

fn create(subject: &str) -> Call<'_> {
    Call { channel: "s1", method: Method::Create, subject: subject.as_bytes() }
}

/// Short words for events, each with its milliseconds.
fn tell(model: &mut Model, until: Nanos) -> Vec<String> {
    let word = |event: Event| {
        let ms = event.at() as f64 / MS as f64;
        match event {
            Event::Started { id, .. } => format!("{} started {ms}", id.number()),
            Event::Refused { id, reason, .. } => format!("{} {reason:?} {ms}", id.number()),
            Event::Finished { id, fate, .. } => format!("{} {fate:?} {ms}", id.number()),
        }
    };
    model.advance(until).map(word).collect()
}

#[test]
fn r2_workers_queue_and_longest_wait() {
    let mut model = model(&profile());
    for (at, subject) in [(0, "a"), (1, "b"), (2, "c"), (3, "d")] {
        model.arrive(at * MS, create(subject));
    }
    // Number 2 would start at 20, but has waited its 15 ms by 17; number 3 finds the queue full.
    let told = tell(&mut model, 100 * MS);
    let expected = [
        "0 started 0",
        "3 QueueFull 3",
        "0 Answered 10",
        "1 started 10",
        "2 LongestWait 17",
        "1 Answered 20",
    ];
    assert_eq!(told, expected);
    let figures = model.figures(100 * MS, false);
    assert_eq!((figures.arrived, figures.completed, figures.queue_max), (4, 2, 2));
    assert_eq!((figures.refused_queue_full, figures.refused_longest_wait), (1, 1));
    assert_eq!((figures.mean_wait, figures.mean_service), (4_500_000, 10 * MS));
    assert!((figures.utilization - 0.2).abs() < 1e-9);
}

#[test]
fn a_worker_that_is_free_at_the_last_instant_of_a_wait_takes_the_call() {
    let mut model = model(&Profile { longest_wait_ms: 10.0, ..profile() });
    model.arrive(0, create("a"));
    model.arrive(0, create("b"));
    let told = tell(&mut model, 100 * MS);
    assert_eq!(told.iter().filter(|word| word.contains("Answered")).count(), 2, "{told:?}");
}

#[test]
fn a_refusal_says_when_to_come_again() {
    let mut model = model(&Profile { queue_capacity: 0, ..profile() });
    model.arrive(0, create("a"));
    model.arrive(0, create("b"));
    let hint = model.advance(0).find_map(|event| match event {
        Event::Refused { retry_after, .. } => retry_after,
        _ => None,
    });
    assert_eq!(hint, Some(10 * MS));
}

#[test]
fn a_caller_that_goes_away_leaves_the_queue_but_not_its_worker() {
    let mut model = model(&profile());
    let a = model.arrive(0, create("a"));
    let b = model.arrive(0, create("b"));
    let first = tell(&mut model, 0);
    let (running, waiting) = if first == ["0 started 0"] { (a, b) } else { (b, a) };
    let c = model.arrive(MS, create("c"));
    assert!(!model.cancel(2 * MS, running), "it runs on");
    assert!(model.cancel(2 * MS, waiting));
    assert!(!model.cancel(3 * MS, waiting), "it is gone");
    assert_eq!(
        tell(&mut model, 100 * MS),
        [
            format!("{} Answered 10", running.number()),
            format!("{} started 10", c.number()),
            format!("{} Answered 20", c.number())
        ]
    );
    assert_eq!(model.figures(100 * MS, false).abandoned, 1);
    // Nobody has advanced the model when the caller goes away, but the call was started long before.
    let late = model.arrive(200 * MS, create("late"));
    assert!(!model.cancel(205 * MS, late));
}

#[test]
fn the_serial_section_takes_one_create_at_a_time() {
    let section = Some(SerialSection { share: 0.5, block: 1 });
    let mut model = model(&Profile { workers: 4, serial_section: section, ..profile() });
    for subject in ["a", "b", "c"] {
        model.arrive(0, create(subject));
    }
    model.arrive(0, Call { channel: "s1", method: Method::Get, subject: b"d" });
    let ends = |told: Vec<String>| -> Vec<String> {
        told.iter().filter_map(|word| word.split_once("Answered ")).map(|(_, ms)| ms.to_owned()).collect()
    };
    // 5 ms side by side, then 5 ms one after the other; the read needs no number.
    let told = tell(&mut model, 100 * MS);
    assert!(told.contains(&"3 Answered 10".to_owned()), "{told:?}");
    assert_eq!(ends(told), ["10", "10", "15", "20"]);
}

#[test]
fn methods_may_have_a_service_time_of_their_own() {
    let service_by_method = BTreeMap::from([(Method::Search, constant(3.0))]);
    let mut model = model(&Profile { service_by_method, ..profile() });
    model.arrive(0, Call { channel: "s1", method: Method::Search, subject: b"smith" });
    assert_eq!(tell(&mut model, 100 * MS), ["0 started 0", "0 Answered 3"]);
}

#[test]
fn the_link_takes_its_time_each_way() {
    let link = Link { latency_ms: 4.0, ..Link::default() };
    let mut model = model(&Profile { link, queue_capacity: 0, ..profile() });
    model.arrive(0, create("a"));
    model.arrive(MS, create("b"));
    assert_eq!(model.next_event(), Some(4 * MS));
    assert_eq!(tell(&mut model, 100 * MS), ["0 started 4", "1 QueueFull 9", "0 Answered 18"]);
    let away = model.arrive(100 * MS, create("c"));
    assert!(model.cancel(103 * MS, away), "still on the way");
    assert_eq!(model.next_event(), None);
}

#[test]
fn jitter_lengthens_each_way_by_chance() {
    let link = Link { latency_ms: 4.0, jitter_ms: 2.0, ..Link::default() };
    let mut model = model(&Profile { link, workers: 100, ..profile() });
    for n in 0..50 {
        model.arrive(0, create(&n.to_string()));
    }
    let starts: Vec<Nanos> =
        model.advance(100 * MS).filter(|e| matches!(e, Event::Started { .. })).map(|e| e.at()).collect();
    assert!(starts.iter().all(|at| (4 * MS..=6 * MS).contains(at)));
    assert!(starts[49] - starts[0] > MS, "spread over the jitter");
}

#[test]
fn faults_come_at_their_rate_and_cost_a_service_time() {
    let errors = BTreeMap::from([(GrpcCode::Internal, 0.1), (GrpcCode::Unavailable, 0.2)]);
    let mut model = model(&Profile { errors, ..profile() });
    let mut count = BTreeMap::new();
    for n in 0..5_000 {
        let at = n * 20 * MS;
        model.arrive(at, create(&n.to_string()));
        for event in model.advance(at + 10 * MS) {
            if let Event::Finished { at: end, fate, .. } = event {
                assert_eq!(end, at + 10 * MS);
                *count.entry(format!("{fate:?}")).or_insert(0) += 1;
            }
        }
    }
    assert!((450..550).contains(&count["Failed(Internal)"]), "{count:?}");
    assert!((920..1_080).contains(&count["Failed(Unavailable)"]), "{count:?}");
    let figures = model.figures(200_000 * MS, true);
    assert_eq!(figures.injected + figures.completed, 5_000);
    assert_eq!(model.figures(200_001 * MS, false).arrived, 0, "counted anew");
}

#[test]
fn an_outage_refuses_empties_the_queue_and_loses_answers() {
    let outages = vec![Outage { start_ms: 5.0, duration_ms: 10.0, repeat_ms: Some(100.0) }];
    let mut model = model(&Profile { outages, ..profile() });
    for (at, subject) in [(0, "a"), (1, "b"), (6, "c"), (16, "d")] {
        model.arrive(at * MS, create(subject));
    }
    let expected = ["0 started 0", "1 Outage 5", "2 Outage 6", "0 Lost 10", "3 started 16", "3 Answered 26"];
    assert_eq!(tell(&mut model, 50 * MS), expected);
    assert!(!model.figures(50 * MS, false).outage && model.figures(106 * MS, false).outage);
}

#[test]
fn r6_an_outage_by_command_begins_and_ends_at_once() {
    let mut model = model(&profile());
    model.arrive(0, create("a"));
    model.arrive(MS, create("b"));
    model.start_outage(2 * MS, None);
    model.arrive(3 * MS, create("c"));
    model.end_outage(4 * MS);
    model.arrive(5 * MS, create("d"));
    let expected =
        ["0 started 0", "1 Outage 2", "2 Outage 3", "0 Answered 10", "3 started 10", "3 Answered 20"];
    assert_eq!(tell(&mut model, 20 * MS), expected);
    model.start_outage(20 * MS, Some(5 * MS));
    model.arrive(24 * MS, create("e"));
    model.arrive(25 * MS, create("f"));
    assert_eq!(tell(&mut model, 50 * MS), ["4 Outage 24", "5 started 25", "5 Answered 35"]);
}

#[test]
fn rate_limits_refuse_before_the_queue() {
    let per_channel = Some(RateLimit { per_s: 10.0, burst: 2 });
    let rate_limits = RateLimits { per_channel, overall: None };
    let mut model = model(&Profile { rate_limits, ..profile() });
    for _ in 0..3 {
        model.arrive(0, create("a"));
    }
    model.arrive(0, Call { channel: "s2", ..create("a") });
    model.advance(MS).for_each(drop);
    let figures = model.figures(MS, false);
    assert_eq!((figures.refused_rate_limit, figures.busy_now, figures.queue_now), (1, 1, 2));
}

#[test]
fn r6_a_new_profile_counts_from_now_on() {
    let mut model = model(&profile());
    for subject in ["a", "b", "c"] {
        model.arrive(0, create(subject));
    }
    let two = Profile { workers: 3, service: constant(1.0), ..profile() };
    model.set_rules(2 * MS, Rules::new(&two).unwrap());
    let started = tell(&mut model, 2 * MS).iter().filter(|word| word.ends_with("started 2")).count();
    assert_eq!(started, 2, "the new workers take the waiting calls");
    model.set_rules(3 * MS, Rules::new(&profile()).unwrap());
    assert_eq!(model.figures(3 * MS, false).busy_now, 3, "the busy ones finish");
    let told = tell(&mut model, 50 * MS);
    assert!(told.iter().all(|word| word.ends_with("10") || word.ends_with("12")), "{told:?}");
}

/// A rich profile, and calls from several channels: some together, some cancelled.
fn busy() -> (Profile, Vec<(Nanos, String, Method)>) {
    let mut profile = Profile::preset("throttled").unwrap();
    profile.outages = vec![Outage { start_ms: 700.0, duration_ms: 100.0, repeat_ms: Some(1_000.0) }];
    profile.queue_capacity = 6;
    profile.longest_wait_ms = 60.0;
    profile.rate_limits.overall = Some(RateLimit { per_s: 110.0, burst: 10 });
    profile.scalability = Some(Scalability { contention: 0.05, coherency: 0.01 });
    profile.serial_section = Some(SerialSection { share: 0.25, block: 3 });
    profile.priority = Some(Priority {
        default: 1,
        by_method: [(Method::Search, 2)].into(),
        by_channel: [("s3".to_owned(), 0)].into(),
    });
    profile.throttle =
        Some(Throttle { window_s: 10.0, requests: Some(50), concurrent: Some(3), ..Throttle::default() });
    profile.batches = vec![Batch { workers: 2, start_ms: 300.0, duration_ms: 200.0, repeat_ms: Some(500.0) }];
    profile.slow_start = Some(SlowStart { duration_ms: 150.0, factor: 3.0 });
    profile.link.loss = 0.02;
    profile.errors = [(GrpcCode::Internal, 0.05)].into();
    let calls =
        (0..2_000_u64).map(|n| (n / 4 * 31 * MS, format!("s{}", n % 17), Method::ALL[n as usize % 6]));
    (profile, calls.collect())
}

/// Runs the calls, looking after the model every `step` of virtual time.
fn outcome(order: impl Fn(&mut Vec<(Nanos, String, Method)>), step: Nanos) -> (Vec<String>, Figures) {
    let (profile, mut calls) = busy();
    order(&mut calls);
    let mut model = model(&profile);
    let mut names = BTreeMap::new();
    let mut told = Vec::new();
    let mut looked = 0;
    for (at, channel, method) in &calls {
        while looked + step < *at {
            looked += step;
            told.extend(model.advance(looked));
        }
        let id = model.arrive(*at, Call { channel, method: *method, subject: channel.as_bytes() });
        names.insert(id, format!("{channel} {method:?} {at}"));
    }
    let end = 100_000 * MS;
    told.extend(model.advance(end));
    assert!(told.is_sorted_by_key(Event::at));
    // Ids are given in the order of handing in; what counts is which call it was.
    let name = |event: Event| match event {
        Event::Started { id, at, fault } => format!("{at} {} started {fault:?}", names[&id]),
        Event::Refused { id, at, reason, retry_after } => {
            format!("{at} {} {reason:?} {retry_after:?}", names[&id])
        }
        Event::Finished { id, at, served, fate } => format!("{at} {} {fate:?} {served:?}", names[&id]),
    };
    (told.into_iter().map(name).collect(), model.figures(end, false))
}

#[test]
fn r4_whoever_advances_late_learns_late_and_changes_nothing() {
    let prompt = outcome(|_| {}, MS / 10);
    for step in [MS, 7 * MS, 1_000 * MS, Nanos::MAX / 2] {
        let late = outcome(|_| {}, step);
        assert_eq!(late.0, prompt.0, "looking every {step} ns");
        assert_eq!(late.1, prompt.1, "looking every {step} ns");
    }
    let figures = prompt.1;
    assert_eq!(figures.arrived, figures.completed + figures.injected + figures.refused() + figures.abandoned);
    for count in [
        figures.completed,
        figures.injected,
        figures.refused_queue_full,
        figures.refused_longest_wait,
        figures.refused_rate_limit,
        figures.refused_throttle,
        figures.refused_outage,
    ] {
        assert!(count > 0, "the scenario has everything: {figures:?}");
    }
}

#[test]
fn r3_the_order_of_handing_in_simultaneous_calls_does_not_matter() {
    let straight = outcome(|_| {}, MS);
    let turned = outcome(|calls| calls.chunk_by_mut(|a, b| a.0 == b.0).for_each(<[_]>::reverse), MS);
    assert_eq!(straight, turned);
}
