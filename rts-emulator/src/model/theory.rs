//! Queueing theory, to check the model against (rule R5).

use super::Nanos;

/// Mean wait of M/M/c, in seconds: Poisson arrivals, exponential service times, `workers` workers, no bound on
/// the queue. By Erlang's C formula; for one worker it is the load divided by what is left of the capacity.
/// Infinite when the load is 1 or more.
#[must_use]
pub fn mmc_mean_wait_s(arrivals_per_s: f64, mean_service_s: f64, workers: u32) -> f64 {
    let offered = arrivals_per_s * mean_service_s;
    let load = offered / f64::from(workers);
    if load >= 1.0 {
        return f64::INFINITY;
    }
    // Erlang B by its recursion, which does not overflow as the factorials would.
    let blocked = (1..=workers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    let waits = blocked / (1.0 - load * (1.0 - blocked));
    waits * mean_service_s / (f64::from(workers) * (1.0 - load))
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
