//! The model against queueing theory (rule R5), in virtual time.

use rand::{SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, Exp};

use super::{
    theory::{mean_s, mmc_mean_wait_s, waits},
    *,
};
use crate::profile::{Distribution, Profile, ServiceTime};

const SECOND: f64 = 1e9;

/// Loads, each with a number of calls that leaves chance about two standard deviations of [`CHANCE`]. That the
/// waits are exactly right, another test shows.
const RUNS: [(f64, usize); 3] = [(0.5, 50_000), (0.7, 60_000), (0.9, 100_000)];
const CHANCE: f64 = 0.07;

/// Workers, a service time of 20 ms, and a queue that is never full.
fn model(workers: u32, distribution: Distribution, cv: Option<f64>) -> Model {
    let service = ServiceTime { cv, ..ServiceTime::new(distribution, 20.0) };
    let mm1 = Profile::preset("mm1").unwrap();
    Model::new(Rules::new(&Profile { workers, service, ..mm1 }).unwrap(), 1)
}

/// Poisson arrivals.
fn arrivals(per_s: f64, count: usize) -> Vec<Nanos> {
    let gap = Exp::new(per_s / SECOND).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut at = 0.0;
    let next = std::iter::repeat_with(|| {
        at += gap.sample(&mut rng);
        at as Nanos
    });
    next.take(count).collect()
}

/// What was served, in the order of arrival.
fn serve(model: &mut Model, arrivals: &[Nanos]) -> Vec<Served> {
    let mut served = Vec::with_capacity(arrivals.len());
    let mut take = |event| {
        if let Event::Finished { id, served: times, .. } = event {
            served.push((id, times));
        }
    };
    for (n, &at) in arrivals.iter().enumerate() {
        model.arrive(at, Call { channel: "s1", method: Method::Create, subject: &n.to_le_bytes() });
        model.advance(at).for_each(&mut take);
    }
    model.advance(Nanos::MAX).for_each(&mut take);
    served.sort_unstable_by_key(|(id, _)| *id);
    served.into_iter().map(|(_, times)| times).collect()
}

/// The mean wait divided by what theory says of the rate and the mean service time that chance has given: near
/// full load most of a run's deviation comes from these two.
fn ratio(workers: u32, load: f64, count: usize) -> f64 {
    let arrivals = arrivals(load * f64::from(workers) / 0.020, count);
    let served = serve(&mut model(workers, Distribution::Exponential, None), &arrivals);
    let per_s = count as f64 * SECOND / arrivals[count - 1] as f64;
    let services: Vec<Nanos> = served.iter().map(|times| times.service).collect();
    let waits: Vec<Nanos> = served.iter().map(Served::wait).collect();
    mean_s(&waits) / mmc_mean_wait_s(per_s, mean_s(&services), workers)
}

#[test]
fn r5_one_worker_waits_as_mm1_says() {
    for (load, count) in RUNS {
        let ratio = ratio(1, load, count);
        println!("M/M/1 at {load}: {ratio:.4}");
        assert!((ratio - 1.0).abs() < CHANCE, "load {load}: {ratio}");
    }
}

#[test]
fn r5_four_workers_wait_as_erlang_c_says() {
    for (load, count) in RUNS {
        let ratio = ratio(4, load, count);
        println!("M/M/4 at {load}: {ratio:.4}");
        assert!((ratio - 1.0).abs() < CHANCE, "load {load}: {ratio}");
    }
}

#[test]
fn r5_every_wait_is_exactly_that_of_the_recursion() {
    let arrivals = arrivals(180.0, 10_000);
    for (workers, distribution, cv) in [
        (1, Distribution::Exponential, None),
        (4, Distribution::Exponential, None),
        (4, Distribution::Constant, None),
        (3, Distribution::Lognormal, Some(2.0)),
    ] {
        let served = serve(&mut model(workers, distribution, cv), &arrivals);
        let services: Vec<Nanos> = served.iter().map(|times| times.service).collect();
        let expected = waits(&arrivals, &services, workers as usize);
        assert_eq!(
            served.iter().map(Served::wait).collect::<Vec<_>>(),
            expected,
            "{workers} {distribution:?}"
        );
        assert!(served.iter().all(|times| times.held() == times.service));
    }
}

#[test]
fn r5_the_figures_are_the_means_and_the_utilization() {
    let arrivals = arrivals(100.0, 10_000);
    let mut model = model(4, Distribution::Gamma, Some(0.5));
    let served = serve(&mut model, &arrivals);
    let end = served.iter().map(|times| times.finished).max().unwrap();
    // Waiting is over at the last end, so the figures are the same whenever they are read.
    let figures = model.figures(Nanos::MAX, false);
    assert_eq!((figures.arrived, figures.completed), (10_000, 10_000));
    let mean = |part: fn(&Served) -> Nanos| mean_s(&served.iter().map(part).collect::<Vec<_>>());
    assert!((figures.mean_wait as f64 / SECOND - mean(Served::wait)).abs() < 1e-8);
    assert!((figures.mean_service as f64 / SECOND - mean(Served::held)).abs() < 1e-8);
    let busy: f64 = served.iter().map(|times| times.held() as f64).sum();
    let utilization = figures.utilization * Nanos::MAX as f64 / end as f64;
    assert!((utilization / (busy / (4.0 * end as f64)) - 1.0).abs() < 1e-6, "{utilization}");
}
