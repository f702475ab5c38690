//! Queueing theory, to check the model against (rule R5). Formulas are of L. Kleinrock, "Queueing Systems",
//! volume 1 (1975) and 2 (1976), unless another source is named. Distributions are those of `statrs`.

use statrs::distribution::{Discrete as _, DiscreteCDF as _, Poisson};

use super::Nanos;

/// Erlang's B formula: the chance that all of `workers` are busy, where calls that find them so are lost.
/// `offered` is the arrival rate times the mean service time. A truncated Poisson distribution.
#[must_use]
pub fn erlang_b(offered: f64, workers: u32) -> f64 {
    let Ok(poisson) = Poisson::new(offered) else { return f64::NAN };
    poisson.pmf(workers.into()) / poisson.cdf(workers.into())
}

/// Erlang's C formula: the chance that a call of M/M/c has to wait. 1 when the load is 1 or more.
#[must_use]
pub fn erlang_c(offered: f64, workers: u32) -> f64 {
    let load = offered / f64::from(workers);
    if load >= 1.0 {
        return 1.0;
    }
    let lost = erlang_b(offered, workers);
    lost / (1.0 - load * (1.0 - lost))
}

/// Mean wait of M/M/c, in seconds: Poisson arrivals, exponential service times, `workers` workers, no bound on
/// the queue. Infinite when the load is 1 or more.
#[must_use]
pub fn mmc_mean_wait_s(arrivals_per_s: f64, mean_service_s: f64, workers: u32) -> f64 {
    let offered = arrivals_per_s * mean_service_s;
    let free = f64::from(workers) - offered;
    if free <= 0.0 { f64::INFINITY } else { erlang_c(offered, workers) * mean_service_s / free }
}

/// The wait that a share of calls of M/M/c does not exceed, in mean service times: the wait of those that wait is
/// exponential.
#[must_use]
pub fn mmc_wait_quantile(offered: f64, workers: u32, quantile: f64) -> f64 {
    let waits = erlang_c(offered, workers);
    ((waits / (1.0 - quantile)).ln() / (f64::from(workers) - offered)).max(0.0)
}

/// Mean wait of M/G/1, in mean service times, by Pollaczek and Khinchine: `cv` is the service time's coefficient
/// of variation.
#[must_use]
pub fn mg1_mean_wait(load: f64, cv: f64) -> f64 {
    load / (1.0 - load) * cv.mul_add(cv, 1.0) / 2.0
}

/// M/M/c with a queue of `places`: the share of calls that find it full, and the mean wait of the others in mean
/// service times. The load may be more than 1.
#[must_use]
pub fn mmck(offered: f64, workers: u32, places: u32) -> (f64, f64) {
    // All relative to the chance that all workers are busy and nobody waits.
    let fewer = 1.0 / erlang_b(offered, workers) - 1.0;
    let load = offered / f64::from(workers);
    let waiting: Vec<f64> = (0..=places).map(|n| load.powi(n.cast_signed())).collect();
    let all = fewer + waiting.iter().sum::<f64>();
    let full = waiting.last().copied().unwrap_or(1.0) / all;
    let queue: f64 = (0_u32..).zip(&waiting).map(|(n, chance)| f64::from(n) * chance).sum::<f64>() / all;
    (full, queue / (offered * (1.0 - full)))
}

/// M/M/c whose calls wait for `patience` mean service times and no longer: the share that leaves unserved, and the
/// mean wait of the others. The load may be more than 1. From the density of the wait that a patient call would
/// have had: F. Baccelli and G. Hebuterne, "On queues with impatient customers" (1981).
#[must_use]
pub fn mmc_patience(offered: f64, workers: u32, patience: f64) -> (f64, f64) {
    let c = f64::from(workers);
    // Relative to the density at 0, which is c times the chance that all workers are busy and nobody waits. It
    // falls by exp(-free * t) up to the patience, and by exp(-c * t) after it.
    let fewer = (1.0 / erlang_b(offered, workers) - 1.0) / c;
    let free = c - offered;
    let decay = (-free * patience).exp();
    let (within, moment) = if free.abs() < 1e-9 {
        (patience, patience * patience / 2.0)
    } else {
        ((1.0 - decay) / free, (1.0 - decay * free.mul_add(patience, 1.0)) / (free * free))
    };
    let beyond = decay / c;
    let all = fewer + within + beyond;
    (beyond / all, moment / (all - beyond))
}

/// Mean waits of the two classes of M/M/c without preemption, in mean service times; `first` is the first class's
/// share of the calls. O. Kella and U. Yechiali, "Waiting times in the non-preemptive priority M/M/c queue" (1985);
/// for one worker that of A. Cobham (1954).
#[must_use]
pub fn mmc_priority_mean_waits(offered: f64, workers: u32, first: f64) -> (f64, f64) {
    let c = f64::from(workers);
    let begun = erlang_c(offered, workers) / c;
    let (load, of_first) = (offered / c, offered * first / c);
    (begun / (1.0 - of_first), begun / ((1.0 - of_first) * (1.0 - load)))
}

/// The exact wait of each call, given when each arrived (ascending) and how long each is served, first come
/// first served: the recursion of Kiefer and Wolfowitz; for one worker that of Lindley.
#[must_use]
pub fn waits(arrivals: &[Nanos], services: &[Nanos], workers: usize) -> Vec<Nanos> {
    // When each worker is free.
    let mut free = vec![0; workers.max(1)];
    let wait = |(&arrival, &service): (&Nanos, &Nanos)| {
        free.sort_unstable();
        let start = arrival.max(free[0]);
        free[0] = start.saturating_add(service);
        start - arrival
    };
    arrivals.iter().zip(services).map(wait).collect()
}

/// The mean, in seconds; 0 of nothing.
#[must_use]
pub fn mean_s(durations: &[Nanos]) -> f64 {
    let sum: u128 = durations.iter().map(|duration| u128::from(*duration)).sum();
    sum as f64 / 1e9 / (durations.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a / b - 1.0).abs() < 1e-9
    }

    #[test]
    fn r5_formulas_agree_with_tables_and_with_each_other() {
        // T. Frankel, "ABC of the Telephone": 10 erlang, 15 trunks: 0.0365 are lost.
        assert!((erlang_b(10.0, 15) - 0.0365).abs() < 5e-5);
        // One worker: load / (1 - load).
        assert!([0.5, 0.7, 0.9].iter().all(|load| near(mmc_mean_wait_s(*load, 1.0, 1), load / (1.0 - load))));
        assert!(near(mg1_mean_wait(0.8, 1.0), 4.0) && near(mg1_mean_wait(0.8, 0.0), 2.0));
        assert!(near(mmc_wait_quantile(0.8, 1, 0.95), (0.8_f64 / 0.05).ln() / 0.2));
        assert!(mmc_wait_quantile(8.0, 16, 0.95).abs() < 1e-12, "one call in a hundred waits");
        assert!(mmc_mean_wait_s(50.0, 0.020, 1).is_infinite());
        // A queue that is never full, and calls that never leave, are M/M/c.
        let unbounded = mmc_mean_wait_s(3.2, 1.0, 4);
        let (full, wait) = mmck(3.2, 4, 2_000);
        assert!(full < 1e-100 && near(wait, unbounded));
        let (gone, wait) = mmc_patience(3.2, 4, 500.0);
        assert!(gone < 1e-100 && near(wait, unbounded));
        // M/M/1/2 by hand: states 1, a, a²; the one that waits does so for one service.
        let (full, wait) = mmck(2.0, 1, 1);
        assert!(near(full, 4.0 / 7.0) && near(wait, 2.0 / 3.0));
        // Above capacity nearly what is too much leaves.
        assert!((mmc_patience(16.0, 4, 50.0).0 - 0.75).abs() < 1e-9);
        // Nobody waits: Erlang's B.
        assert!(near(mmc_patience(6.0, 4, 0.0).0, erlang_b(6.0, 4)));
        // Work is conserved: the mean over both classes is that of first come, first served.
        let (first, second) = mmc_priority_mean_waits(3.2, 4, 0.3);
        assert!(near(0.3 * first + 0.7 * second, unbounded) && first < second);
    }
}
