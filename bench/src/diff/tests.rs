//! The comparison tells what is different, and does not cry wolf.

use rand::{SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, LogNormal};

use super::*;
use crate::{
    result::{Repetition, Run, Slice},
    testing,
};

/// A result of one run, with repetitions drawn around a median.
fn result(seed: u64, median: f64, spread: f64, repetitions: usize) -> ResultFile {
    let mut rng = StdRng::seed_from_u64(seed);
    let around = LogNormal::new(median.ln(), spread).unwrap();
    let repetition = |_| {
        let mut draw = |scale: f64| Some(around.sample(&mut rng) * scale);
        Repetition {
            arrivals: 2_000,
            failed: 0,
            completed_per_s: 50.0,
            p50_ms: draw(1.0),
            p90_ms: draw(2.0),
            p99_ms: draw(4.0),
            findable_p50_ms: draw(30.0),
            account_p50_ms: draw(20.0),
            probe_p50_ms: draw(1.0),
            yardstick_p50_ms: Some(0.4),
            utilization: Some(0.5),
        }
    };
    let run =
        Run { repetitions: (0..repetitions).map(repetition).collect(), ..testing::run(Mode::Async, 50.0) };
    ResultFile { runs: vec![run], ..testing::result() }
}

fn verdicts(before: &ResultFile, after: &ResultFile) -> Vec<Verdict> {
    compare(before, after, 0.05, 0.95).rows.into_iter().map(|row| row.verdict).collect()
}

#[test]
fn b7_the_same_is_called_different_no_more_often_than_it_says() {
    // 400 pairs of 8 figures at 95 % for all of a pair together: 5 % of the pairs may be wrong; the least change
    // that counts makes it fewer.
    let wrong = (0..400).filter(|seed| {
        let pair = (result(2 * seed, 10.0, 0.1, 5), result(2 * seed + 1, 10.0, 0.1, 5));
        compare(&pair.0, &pair.1, 0.0, 0.95).rows.iter().any(|row| row.verdict != Verdict::NoDifferenceShown)
    });
    let wrong = wrong.count();
    // Binomial(400, 0.05): above 33 with probability 0.001.
    assert!(wrong <= 33, "{wrong}");
}

#[test]
fn b7_a_change_is_found_and_its_interval_holds_it() {
    let (before, after) = (result(1, 10.0, 0.05, 8), result(2, 13.0, 0.05, 8));
    let diff = compare(&before, &after, 0.05, 0.95);
    let p50 = diff.rows.iter().find(|row| row.figure == "answer p50 ms").unwrap();
    let change = p50.change.unwrap();
    assert_eq!(p50.verdict, Verdict::Worse);
    assert!(change.low < 1.3 && 1.3 < change.high && change.low > 1.05, "{change:?}");
    assert!(verdicts(&after, &before).contains(&Verdict::Better));
    assert!(!verdicts(&after, &before).contains(&Verdict::Worse));
    // Less than what was asked for as the least is no change.
    let big = compare(&before, &after, 0.5, 0.95);
    assert!(big.rows.iter().all(|row| row.verdict == Verdict::NoDifferenceShown));
}

#[test]
fn b7_what_the_machine_did_is_not_held_against_the_build() {
    let (before, mut after) = (result(1, 10.0, 0.02, 8), result(2, 13.0, 0.02, 8));
    after.runs[0].repetitions.iter_mut().for_each(|r| r.yardstick_p50_ms = Some(0.6));
    let diff = compare(&before, &after, 0.05, 0.95);
    assert!((diff.machine.unwrap() - 1.5).abs() < 1e-9);
    assert!(diff.rows.iter().all(|row| row.verdict == Verdict::NoDifferenceShown), "{diff:?}");
}

#[test]
fn b7_one_short_run_says_nothing_and_a_long_one_is_cut_into_blocks() {
    let one = result(1, 10.0, 0.1, 1);
    assert!(verdicts(&one, &one).iter().all(|verdict| *verdict == Verdict::CannotTell));
    let long = |seed: u64, median: f64, memory: f64| {
        let mut result = result(seed, median, 0.1, 1);
        let (mut rng, noise) = (StdRng::seed_from_u64(seed), LogNormal::new(0.0_f64, 0.1).unwrap());
        let mut level: f64 = 0.0;
        let run = &mut result.runs[0];
        run.seconds = 300.0;
        run.slices = (0..60)
            .map(|n| {
                level = memory * level + noise.sample(&mut rng).ln();
                let ms = Some(median * level.exp());
                Slice {
                    repeat: 1,
                    at_s: f64::from(n) * 5.0,
                    seconds: 5.0,
                    arrivals: 2_000,
                    completed: 2_000,
                    p50_ms: ms,
                    p90_ms: ms,
                    p99_ms: ms,
                    ..Slice::default()
                }
            })
            .collect();
        result
    };
    let told = |memory| {
        let diff = compare(&long(1, 10.0, memory), &long(2, 14.0, memory), 0.05, 0.95);
        diff.rows.into_iter().find(|row| row.figure == "answer p50 ms").unwrap().verdict
    };
    assert_eq!(told(0.0), Verdict::Worse);
    // Slices that remember each other for the whole run say little, however many they are.
    assert_ne!(told(0.99), Verdict::Worse);
}

#[test]
fn failures_are_compared_as_shares() {
    let (before, mut after) = (result(1, 10.0, 0.1, 5), result(2, 10.0, 0.1, 5));
    after.runs[0].repetitions.iter_mut().for_each(|r| r.failed = 200);
    let diff = compare(&before, &after, 0.05, 0.95);
    let failed = diff.rows.iter().find(|row| row.figure == "failed").unwrap();
    assert_eq!((failed.verdict, failed.change.map(|change| change.middle)), (Verdict::Worse, Some(0.1)));
}
