//! The same knee live, simulated, and where a formula has it.

use std::process::ExitCode;

use rts_emulator::{
    Profile,
    model::theory,
    profile::{Distribution, ServiceTime},
};
use service_kit::config::shutdown_on_signal;

use super::{KneeArgs, knee, measure, planned};
use crate::{
    error::Error,
    goal::Goal,
    result::{Knee, Mode},
    say,
    verdict::number,
};

/// How far they may be apart.
const APART: f64 = 0.05;
/// The simulated search goes on until the interval is this narrow, in per cent, with runs this long.
const PRECISION: f64 = 1.0;
const SECONDS: f64 = 600.0;
/// Halvings of the interval in which the formula's rate is looked for.
const HALVINGS: u32 = 60;
/// Exit code when they are further apart.
const EXIT_APART: u8 = 1;

/// Finds, compares, prints, and ends with 1 if they are too far apart. Async creates are left out: headquarters has no
/// part in them.
///
/// # Errors
///
/// As for [`super::find`].
pub async fn check(mut args: KneeArgs, command: Vec<String>) -> Result<ExitCode, Error> {
    args.modes.retain(|mode| *mode != Mode::Async);
    let profile = args.headquarters.read()?.unwrap_or_default();
    let live = measure(&args, command, shutdown_on_signal()?).await?;
    let patient = KneeArgs { precision: PRECISION, seconds: SECONDS, warmup: 60.0, ..args.clone() };
    say(&format!("Highest rate with {}, in creates per second:\n\n", args.slo));
    say("mode                  live  (interval)          planned  apart     theory  apart\n");
    let mut good = !live.knees.is_empty();
    for found in &live.knees {
        let (_, search) = planned::look(&patient, &profile, found.mode)?;
        let planned = knee(args.slo, found.mode, &search).per_s;
        let theory =
            formula(&profile, args.slo, args.headquarters.probe_rate).filter(|_| found.mode == Mode::Sync);
        let (plan_text, plan_good) = beside(found, planned);
        let (theory_text, theory_good) = beside(found, theory);
        good &= plan_good && theory_good && found.per_s.is_some();
        say(&format!("{:<13} {}  {plan_text}  {theory_text}\n", found.mode, told(found)));
    }
    say(if good { "\nThey agree within 5 %.\n" } else { "\nThey do not agree within 5 %.\n" });
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_APART) })
}

fn told(knee: &Knee) -> String {
    let show = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), number);
    format!("{:>12}  ({} to {}){}", show(knee.per_s), show(knee.low), show(knee.high), " ".repeat(3))
}

fn beside(live: &Knee, other: Option<f64>) -> (String, bool) {
    let Some(other) = other else { return (format!("{:>10}  {:>7}", "-", "-"), true) };
    let apart = live.per_s.map_or(f64::INFINITY, |live| live / other - 1.0);
    (format!("{:>10}  {:>+6.1}%", number(other), apart * 100.0), apart.abs() <= APART)
}

/// The rate of creates at which an M/M/c keeps the goal; nothing for any other headquarters. The probe goes through the
/// same workers.
fn formula(profile: &Profile, goal: Goal, probe_per_s: f64) -> Option<f64> {
    let plain = Profile {
        workers: profile.workers,
        queue_capacity: profile.queue_capacity,
        longest_wait_ms: profile.longest_wait_ms,
        service: ServiceTime::new(Distribution::Exponential, profile.service.mean()),
        ..Profile::default()
    };
    let is_patient = profile.longest_wait_ms >= 60_000.0 && profile.queue_capacity >= 10_000;
    if *profile != plain || !is_patient {
        return None;
    }
    let served_per_s = 1e3 / profile.service.mean();
    let (mut low, mut high) = (0.0, f64::from(profile.workers) * served_per_s);
    for _ in 0..HALVINGS {
        let rate = f64::midpoint(low, high);
        let missed = beyond(rate / served_per_s, profile.workers, goal.ms / profile.service.mean());
        (low, high) = if missed <= 1.0 - goal.share { (rate, high) } else { (low, rate) };
    }
    (low > probe_per_s).then_some(low - probe_per_s)
}

/// The share of calls that an M/M/c with this offered load answers later than after `time` mean services (L. Kleinrock,
/// "Queueing Systems", volume 1, 1975, section 3.5; the wait is exponential if there is one, the service is always).
fn beyond(offered: f64, workers: u32, time: f64) -> f64 {
    let waits = theory::erlang_c(offered, workers);
    let idle = f64::from(workers) - offered;
    if (idle - 1.0).abs() < 1e-9 {
        return (-time).exp() * (1.0 + waits * time);
    }
    let queued = ((-time).exp() - (-idle * time).exp()) / (idle - 1.0);
    (-time).exp() + waits * queued
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b4_the_formula_is_that_of_the_single_worker_and_of_none_that_waits() {
        for (offered, time) in [(0.5, 3.0), (0.9, 20.0)] {
            // P(T > t) = exp(-(1 - rho) t).
            assert!((beyond(offered, 1, time) - (-(1.0 - offered) * time).exp()).abs() < 1e-12);
        }
        assert!((beyond(1e-6, 16, 2.0) - (-2.0_f64).exp()).abs() < 1e-9);
        let goal: Goal = "p99=500ms".parse().unwrap();
        let known = formula(&Profile::preset("mm1").unwrap(), goal, 0.0).unwrap();
        assert!((known - (50.0 - 100_f64.ln() / 0.5)).abs() < 1e-6);
        assert_eq!(formula(&Profile::default(), goal, 0.0), None);
    }
}
