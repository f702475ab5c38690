//! Calibration (rule R7): from a file of observed calls to a profile that explains them, and how well it does.
//!
//! 1. Calls that found headquarters idle show service times without waiting: their mean, and which of the known
//!    shapes is nearest to them (Kolmogorov and Smirnov); if none is near, their histogram is taken.
//! 2. Served first come, first served by c workers, a call can overtake at most c - 1 that came before it. The most
//!    that were overtaken are therefore a lower bound of the workers, and in a busy log nearly always all but one.
//! 3. Then the model itself is run on the observed arrivals, with more workers, a serial section, and calls that slow
//!    each other down, until the mean durations at each number of calls under way, and the percentiles, are nearest
//!    to what was observed. Of explanations that are about as good the simplest is taken.
//!
//! It refuses when the file cannot tell.

use std::fmt;

use crate::profile::{Distribution, Profile, ProfileError, Scalability, SerialSection, ServiceTime};

mod log;
mod replay;
mod shape;
#[cfg(test)]
mod tests;

pub use log::{LogError, Observed};
use replay::{Replay, Seen};

/// Fewest served calls that say anything, and fewest that found headquarters idle.
const FEWEST: usize = 500;
const FEWEST_ALONE: usize = 100;
/// Most workers that are looked for.
const MAX_WORKERS: u32 = 256;
/// By how much the mean duration has to grow, from idle to the busiest, before anything is said of workers.
const BUSY: f64 = 1.15;
/// An explanation with another part has to be better by this share of what the simpler one leaves unexplained.
const BETTER: f64 = 0.25;
/// Another worker has to leave at most this share of what one fewer leaves unexplained.
const MORE_WORKERS: f64 = 0.9;
/// What a fit may leave unexplained: the root mean square of relative deviations. Beyond the first it is doubtful,
/// beyond the second it explains nothing.
const DOUBTFUL: f64 = 0.08;
const USELESS: f64 = 0.30;

/// Why there is no profile.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrateError {
    /// The file cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Too few calls.
    #[error("{0} served calls are too few to tell anything: at least {FEWEST} are needed")]
    TooFew(usize),
    /// Headquarters was never idle.
    #[error(
        "only {0} calls found headquarters idle, so service cannot be told from waiting: record quiet hours, too, \
         until {FEWEST_ALONE} did"
    )]
    NeverIdle(usize),
    /// Headquarters was never busy.
    #[error(
        "headquarters was never busy: with {most} calls under way they took {ratio:.2} times as long as alone, so the \
         number of workers cannot be told: record a busier hour, too"
    )]
    NeverBusy {
        /// Most calls at once.
        most: usize,
        /// How many times as long as alone calls took in the busiest tenth.
        ratio: f64,
    },
    /// No profile of this kind explains the file.
    #[error(
        "no headquarters of this kind explains the file: the best one leaves {0:.0} % unexplained. Calls of several \
         kinds, batch work, or priorities can be the reason: calibrate them apart"
    )]
    Unexplained(f64),
    /// What was found is no profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The headquarters.
    pub profile: Profile,
    /// Served calls, and those that found headquarters idle.
    pub calls: (usize, usize),
    /// Distance of the idle calls' durations from the shape that was taken (Kolmogorov and Smirnov), 0 to 1.
    pub shape_distance: f64,
    /// Root mean square of the relative deviations: 0 explains everything.
    pub unexplained: f64,
    /// What was observed, and what the profile gives for the same arrivals.
    pub seen: (Seen, Seen),
    /// What is to be doubted.
    pub doubts: Vec<String>,
}

/// Fits a profile to observed calls.
///
/// # Errors
///
/// [`CalibrateError`] if the file cannot tell.
pub fn calibrate(observed: &Observed) -> Result<Fit, CalibrateError> {
    let calls = observed.served();
    if calls.len() < FEWEST {
        return Err(CalibrateError::TooFew(calls.len()));
    }
    let alone = replay::alone(&calls);
    if alone.len() < FEWEST_ALONE {
        return Err(CalibrateError::NeverIdle(alone.len()));
    }
    let seen = Seen::of(&calls);
    let ratio = seen.busiest() / mean(&alone);
    if ratio < BUSY {
        return Err(CalibrateError::NeverBusy { most: seen.most, ratio });
    }
    let (service, shape_distance) = shape::fit(&alone);
    let replay = Replay::new(&calls, &seen);
    let mut doubts = Vec::new();
    let best = search(&replay, &service, replay::overtaken(&calls, mean(&alone)), &mut doubts)?;
    if best.unexplained > USELESS {
        return Err(CalibrateError::Unexplained(best.unexplained * 100.0));
    }
    let mut profile = tidy(best.guess.profile(&service));
    profile.errors = observed.failed_when_served();
    doubts.extend(more_doubts(observed, &calls, alone.len(), shape_distance, best.unexplained));
    let fitted = replay.run(&profile, 1)?;
    Ok(Fit {
        profile,
        calls: (calls.len(), alone.len()),
        shape_distance,
        unexplained: best.unexplained,
        seen: (seen, fitted),
        doubts,
    })
}

/// What may be so.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Guess {
    workers: u32,
    share: f64,
    contention: f64,
    coherency: f64,
    /// Mean service time, relative to that of the calls that were alone: those are few, and a busy headquarters is
    /// sensitive to it.
    stretch: f64,
}

impl Guess {
    fn profile(self, service: &ServiceTime) -> Profile {
        let law = Scalability { contention: self.contention, coherency: self.coherency };
        let stretched = |ms: f64| ms * self.stretch;
        Profile {
            workers: self.workers,
            queue_capacity: 1_000_000,
            longest_wait_ms: 3_600_000.0,
            service: ServiceTime {
                mean_ms: Some(stretched(service.mean())),
                half_width_ms: service.half_width_ms.map(stretched),
                ..service.clone()
            },
            serial_section: (self.share > 0.0).then_some(SerialSection { share: self.share, block: 1 }),
            scalability: (self.contention > 0.0 || self.coherency > 0.0).then_some(law),
            ..Profile::default()
        }
    }
}

/// A guess, and what it leaves unexplained.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Explained {
    guess: Guess,
    unexplained: f64,
}

/// A part of a guess: how it is set, from where to where it is looked for, and in how many steps at first.
struct Part {
    set: fn(&mut Guess, f64),
    get: fn(&Guess) -> f64,
    range: (f64, f64),
    steps: u32,
}

const SHARE: Part = Part { set: |g, x| g.share = x, get: |g| g.share, range: (0.0, 0.95), steps: 19 };
const CONTENTION: Part =
    Part { set: |g, x| g.contention = x, get: |g| g.contention, range: (0.0, 0.4), steps: 8 };
const COHERENCY: Part =
    Part { set: |g, x| g.coherency = x, get: |g| g.coherency, range: (0.0, 0.04), steps: 8 };
const STRETCH: Part = Part { set: |g, x| g.stretch = x, get: |g| g.stretch, range: (0.85, 1.15), steps: 10 };

/// Looks for the best explanation: workers alone; with a serial section; with calls that slow each other down.
fn search(
    replay: &Replay<'_>,
    service: &ServiceTime,
    least: u32,
    doubts: &mut Vec<String>,
) -> Result<Explained, ProfileError> {
    let score = |guess: Guess| -> Result<Explained, ProfileError> {
        Ok(Explained { guess, unexplained: replay.unexplained(&guess.profile(service))? })
    };
    let none = Guess { workers: least, share: 0.0, contention: 0.0, coherency: 0.0, stretch: 1.0 };
    let plain = explain(none, &[], &score)?;
    let serial = explain(none, &[SHARE], &score)?;
    let slowing = explain(none, &[CONTENTION, COHERENCY], &score)?;
    let mut best = plain;
    for richer in [serial, slowing] {
        if richer.unexplained < best.unexplained * (1.0 - if best == plain { BETTER } else { 0.0 }) {
            best = richer;
        }
    }
    if best != plain && (serial.unexplained / slowing.unexplained - 1.0).abs() < BETTER {
        doubts.push(
            "a serial section and calls that slow each other down explain the file about as well; the better was taken"
                .to_owned(),
        );
    }
    if best.guess.workers > least {
        doubts.push(format!("nothing in the file needs more than {least} workers but the waiting times"));
    }
    Ok(best)
}

type Score<'a> = dyn Fn(Guess) -> Result<Explained, ProfileError> + 'a;

/// The best number of workers for a guess: at least as many as it has, and more as long as it gets better.
fn by_workers(guess: Guess, score: &Score<'_>) -> Result<Explained, ProfileError> {
    let mut best = score(guess)?;
    for workers in guess.workers + 1..=MAX_WORKERS {
        let next = score(Guess { workers, ..guess })?;
        // Chance makes small steps both ways.
        if next.unexplained < best.unexplained * MORE_WORKERS {
            best = next;
        } else if workers > best.guess.workers + 1 {
            break;
        }
    }
    Ok(best)
}

/// The best guess with these parts: all of a coarse grid, each with the best number of workers; then each part in
/// turn, and the mean service time, in steps that get finer.
fn explain(start: Guess, parts: &[Part], score: &Score<'_>) -> Result<Explained, ProfileError> {
    let mut grid = vec![start];
    for part in parts {
        let values = (0..=part.steps).map(|step| {
            let share = f64::from(step) / f64::from(part.steps);
            (part.range.1 - part.range.0).mul_add(share, part.range.0)
        });
        let with = |value: f64| {
            grid.iter().map(move |guess| {
                let mut guess = *guess;
                (part.set)(&mut guess, value);
                guess
            })
        };
        grid = values.flat_map(with).collect();
    }
    let mut best = by_workers(start, score)?;
    for guess in grid {
        let next = by_workers(guess, score)?;
        if next.unexplained < best.unexplained {
            best = next;
        }
    }
    for round in 0..4_i32 {
        for part in std::iter::once(&STRETCH).chain(parts) {
            let step = (part.range.1 - part.range.0) / f64::from(part.steps) / 2.0_f64.powi(round);
            let centre = (part.get)(&best.guess);
            let values = (-3..=3).filter(|k| *k != 0).map(|k| f64::from(k).mul_add(step / 1.5, centre));
            for value in values.filter(|value| (part.range.0..=part.range.1).contains(value)) {
                let mut guess = best.guess;
                (part.set)(&mut guess, value);
                let next = score(guess)?;
                if next.unexplained < best.unexplained {
                    best = next;
                }
            }
        }
    }
    Ok(best)
}

fn more_doubts(
    observed: &Observed,
    calls: &[log::Interval],
    alone: usize,
    shape_distance: f64,
    unexplained: f64,
) -> Vec<String> {
    let mut doubts = Vec::new();
    if unexplained > DOUBTFUL {
        doubts.push(format!("{:.0} % is left unexplained: look at the table", unexplained * 100.0));
    }
    // The critical distance at 1 % for many samples (Kolmogorov and Smirnov).
    if shape_distance > 1.63 / (alone as f64).sqrt() {
        doubts.push(format!(
            "no known shape is near the service times (distance {shape_distance:.3}): their histogram was taken"
        ));
    }
    if alone < calls.len() / 20 {
        doubts.push(format!("only {alone} calls found headquarters idle"));
    }
    let refused = observed.refused();
    if refused > 0 {
        doubts.push(format!(
            "{refused} calls were refused or broken off; they were left out, and the length of the queue cannot be told"
        ));
    }
    doubts.push(
        "the way to headquarters is part of the service time: a log from a store cannot tell them apart"
            .to_owned(),
    );
    doubts
}

/// Without digits that no fit can know.
fn tidy(mut profile: Profile) -> Profile {
    let time = &mut profile.service;
    time.mean_ms = time.mean_ms.map(digits);
    time.half_width_ms = time.half_width_ms.map(digits);
    if let Some(section) = &mut profile.serial_section {
        section.share = digits(section.share);
    }
    if let Some(law) = &mut profile.scalability {
        (law.contention, law.coherency) = (digits(law.contention), digits(law.coherency));
    }
    profile
}

/// Four digits.
fn digits(value: f64) -> f64 {
    let scale = 10.0_f64.powf(3.0 - value.abs().max(1e-9).log10().floor());
    (value * scale).round() / scale
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

impl Fit {
    /// The profile as TOML, with where it is from.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Write`]; there is none.
    pub fn to_toml(&self, source: &str) -> Result<String, ProfileError> {
        let mut head = format!(
            "# Calibrated from {source}: {} served calls, {} of them alone.\n# Left unexplained: {:.1} %.\n",
            self.calls.0,
            self.calls.1,
            self.unexplained * 100.0
        );
        for doubt in &self.doubts {
            head += &format!("# Doubt: {doubt}.\n");
        }
        Ok(format!("{head}\n{}", self.profile.to_toml()?))
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile = &self.profile;
        let shape = match profile.service.distribution {
            Distribution::Empirical => "as measured".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        let cv =
            profile.service.cv.map_or_else(String::new, |cv| format!(", coefficient of variation {cv:.2}"));
        writeln!(f, "workers        {}", profile.workers)?;
        writeln!(f, "service        {shape}, mean {:.2} ms{cv}", profile.service.mean())?;
        match profile.serial_section {
            Some(section) => writeln!(f, "serial section {:.0} % of a call", section.share * 100.0)?,
            None => writeln!(f, "serial section none")?,
        }
        match profile.scalability {
            Some(law) => writeln!(
                f,
                "slowing        contention {:.4}, coherency {:.5}",
                law.contention, law.coherency
            )?,
            None => writeln!(f, "slowing        none")?,
        }
        writeln!(f, "capacity       {:.1} calls per second", profile.capacity_per_s())?;
        writeln!(
            f,
            "\nfrom {} served calls, {} of them alone; left unexplained: {:.1} %\n",
            self.calls.0,
            self.calls.1,
            self.unexplained * 100.0
        )?;
        writeln!(f, "duration          observed      profile")?;
        for ((name, observed), (_, fitted)) in self.seen.0.rows().into_iter().zip(self.seen.1.rows()) {
            writeln!(f, "{name:<15} {observed:>9.1} ms {fitted:>9.1} ms")?;
        }
        writeln!(f)?;
        for doubt in &self.doubts {
            writeln!(f, "~ {doubt}")?;
        }
        Ok(())
    }
}
