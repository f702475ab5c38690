//! Two results compared (rule B7): for each figure the change, an interval for it, and a verdict.
//!
//! The interval is taken from independent blocks: the repetitions of a run, each with arrivals of its own, or, of a
//! single long run, stretches that show no memory of each other. Requests are no blocks: those that wait in one queue
//! say the same thing many times. All intervals together hold with the confidence that was asked for (Bonferroni), and a
//! change counts only if it is beyond what is asked for as the least, and beyond what the machine itself has changed by,
//! which an empty call beside each run measures.

mod blocks;
#[cfg(test)]
mod tests;
mod words;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::{
    cli::within,
    compare::{EXIT_DOUBT, EXIT_MISSED},
    error::Error,
    result::{Mode, ResultFile},
    say,
    verdict::same,
};

use blocks::{Blocks, Figure, figures, yardstick};

/// Options.
#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The result file of before.
    #[arg(value_name = "BEFORE.json")]
    pub before: PathBuf,
    /// The result file of after.
    #[arg(value_name = "AFTER.json")]
    pub after: PathBuf,
    /// The least change that counts, in per cent, 0 to 1000.
    #[arg(long, default_value = "5", value_parser = least, allow_negative_numbers = true, value_name = "PERCENT")]
    pub least: f64,
    /// How sure all intervals together are, in per cent, 50 to 99.99.
    #[arg(long, default_value = "95", value_parser = confidence, allow_negative_numbers = true, value_name = "PERCENT")]
    pub confidence: f64,
    /// Also write the verdicts as JUnit tests.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn least(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1_000.0)
}

fn confidence(text: &str) -> Result<f64, String> {
    within(text, 50.0..=99.99)
}

/// What is to be said of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has changed for the better.
    Better,
    /// It has changed for the worse.
    Worse,
    /// No difference is shown, which is not to say that there is none.
    NoDifferenceShown,
    /// There are too few blocks.
    CannotTell,
}

/// A figure of a run, before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Of which run.
    pub mode: Mode,
    /// Of which run.
    pub offered_per_s: f64,
    /// Its name, with the unit.
    pub figure: &'static str,
    /// Before: all repetitions together.
    pub before: f64,
    /// After.
    pub after: f64,
    /// The change, and its interval: after divided by before; of a share, after less before.
    pub change: Option<Interval>,
    /// What is to be said.
    pub verdict: Verdict,
}

/// An estimate and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The estimate.
    pub middle: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Two results compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// What else is different about the two: reasons not to compare them.
    pub otherwise: Vec<String>,
    /// How long an empty call took beside the runs, after divided by before; absent if it was not measured.
    pub machine: Option<f64>,
    /// The least change that counts, as a share.
    pub least: f64,
    /// How sure all intervals together are, 0 to 1.
    pub confidence: f64,
    /// Every figure of every run that both have.
    pub rows: Vec<Row>,
}

/// Compares two files, says what has changed, and ends with 2 if something became worse, with 3 if nothing can be said.
///
/// # Errors
///
/// A file that is no result, or results without a run in common.
pub fn diff(args: &DiffArgs) -> Result<ExitCode, Error> {
    let (before, after) = (ResultFile::read(&args.before)?, ResultFile::read(&args.after)?);
    let diff = compare(&before, &after, args.least / 100.0, args.confidence / 100.0);
    if diff.rows.is_empty() {
        return Err(Error::Usage(
            "the two results have no run in common: the same mode at the same offered rate".to_owned(),
        ));
    }
    if let Some(path) = &args.junit {
        let wrong = |source| Error::Write { path: path.clone(), source };
        let junit = words::junit(&diff).map_err(|error| wrong(std::io::Error::other(error.to_string())))?;
        fs::write(path, junit).map_err(wrong)?;
    }
    if args.json {
        say(&(serde_json::to_string_pretty(&diff).map_err(std::io::Error::from)? + "\n"));
    } else {
        say(&words::table(&diff));
    }
    let any = |verdict| diff.rows.iter().any(|row| row.verdict == verdict);
    Ok(if any(Verdict::Worse) {
        ExitCode::from(EXIT_MISSED)
    } else if diff.rows.iter().all(|row| row.verdict == Verdict::CannotTell) {
        ExitCode::from(EXIT_DOUBT)
    } else {
        ExitCode::SUCCESS
    })
}

/// Compares. `least` is a share, `confidence` is 0 to 1.
#[must_use]
pub fn compare(before: &ResultFile, after: &ResultFile, least: f64, confidence: f64) -> Diff {
    let pairs = before.runs.iter().filter_map(|one| {
        let is_same =
            |two: &&crate::result::Run| two.mode == one.mode && same(two.offered_per_s, one.offered_per_s);
        Some((one, after.runs.iter().find(is_same)?))
    });
    let mut compared = Vec::new();
    for (one, two) in pairs {
        for (figure, blocks) in figures(one) {
            if let Some((_, others)) = figures(two).into_iter().find(|(other, _)| other.name == figure.name) {
                compared.push((one, figure, blocks, others));
            }
        }
    }
    let machine = yardstick(&after.runs).zip(yardstick(&before.runs)).map(|(after, before)| after / before);
    let told = compared.iter().filter(|(_, _, before, after)| before.can_tell() && after.can_tell()).count();
    // Bonferroni: so many intervals hold together.
    let each = 1.0 - (1.0 - confidence) / told.max(1) as f64;
    let rows = compared.into_iter().map(|(run, figure, before, after)| {
        let interval = interval(&before, &after, each);
        let verdict =
            interval.map_or(Verdict::CannotTell, |interval| judge(figure, interval, least, machine));
        Row {
            mode: run.mode,
            offered_per_s: run.offered_per_s,
            figure: figure.name,
            before: before.whole,
            after: after.whole,
            change: interval.map(|interval| if figure.is_share { interval } else { exponential(interval) }),
            verdict,
        }
    });
    Diff { otherwise: words::otherwise(before, after), machine, least, confidence, rows: rows.collect() }
}

fn exponential(interval: Interval) -> Interval {
    Interval { middle: interval.middle.exp(), low: interval.low.exp(), high: interval.high.exp() }
}

/// The difference of two means, with Welch's interval.
fn interval(before: &Blocks, after: &Blocks, confidence: f64) -> Option<Interval> {
    if !(before.can_tell() && after.can_tell()) {
        return None;
    }
    let moments = |values: &[f64]| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count, count - 1.0)
    };
    let ((one, se_one, df_one), (two, se_two, df_two)) = (moments(&before.values), moments(&after.values));
    let (middle, variance) = (two - one, se_one + se_two);
    let half = if variance > 0.0 {
        // Welch and Satterthwaite.
        let freedom = variance.powi(2) / (se_one.powi(2) / df_one + se_two.powi(2) / df_two);
        let students = StudentsT::new(0.0, 1.0, freedom).ok()?;
        students.inverse_cdf(f64::midpoint(1.0, confidence)) * variance.sqrt()
    } else {
        0.0
    };
    Some(Interval { middle, low: middle - half, high: middle + half })
}

/// What a change is called. `interval` is of logarithms, or of shares.
fn judge(figure: Figure, interval: Interval, least: f64, machine: Option<f64>) -> Verdict {
    let margin = match machine {
        _ if figure.is_share => least / 10.0,
        // A machine that is faster or slower changes what takes time.
        Some(machine) if figure.is_time => least.ln_1p().max(machine.ln().abs()),
        _ => least.ln_1p(),
    };
    let (rose, fell) = (interval.low > margin, interval.high < -margin);
    match (rose, fell) {
        (false, false) => Verdict::NoDifferenceShown,
        (rose, _) if rose == figure.more_is_better => Verdict::Better,
        _ => Verdict::Worse,
    }
}
