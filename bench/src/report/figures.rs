//! Which plots there are.

use super::{
    axis::Scale,
    plot::{Line, Plot},
};
use crate::{
    result::{Mode, ResultFile, Run},
    verdict::{hardest, number, of_mode},
};

/// Every plot of the report.
#[must_use]
pub fn all(result: &ResultFile) -> Vec<Plot> {
    let mut plots = vec![
        latency(result),
        completed(result),
        probe(result),
        queue(result),
        two(result, "findable", "Time until every store finds the customer", |run| {
            (run.findable_everywhere_ms.p50, run.findable_everywhere_ms.p99)
        }),
        two(result, "account", "Time until the account number is back in the store", |run| {
            (run.account_number_ms.p50, run.account_number_ms.p99)
        }),
    ];
    plots.extend(distributions(result));
    plots
}

const OFFERED: (&str, Scale) = ("creates offered per second", Scale::Linear);
const MILLIS: (&str, Scale) = ("milliseconds", Scale::Log);

/// The class of a mode's lines.
fn class(mode: Mode) -> &'static str {
    match mode {
        Mode::Sync => "sync",
        Mode::SyncFallback => "fallback",
        Mode::Async => "async",
    }
}

/// A line over the offered rate, for each mode.
fn by_rate(
    result: &ResultFile,
    suffix: &str,
    dashed: bool,
    figure: impl Fn(&Run) -> Option<f64>,
) -> Vec<Line> {
    Mode::ALL
        .into_iter()
        .map(|mode| Line {
            name: format!("{mode}{suffix}"),
            class: class(mode),
            dashed,
            points: of_mode(result, mode)
                .into_iter()
                .filter_map(|run| Some((run.offered_per_s, figure(run)?)))
                .collect(),
        })
        .filter(|line| !line.points.is_empty())
        .collect()
}

fn limit(result: &ResultFile) -> Option<(f64, &'static str)> {
    let most = result.runs.iter().map(|run| run.offered_per_s).fold(0.0, f64::max);
    let capacity = result.setup.capacity_per_s.filter(|capacity| *capacity <= most * 1.05);
    capacity.map(|capacity| (capacity, "capacity"))
}

fn latency(result: &ResultFile) -> Plot {
    let mut lines = by_rate(result, " p50", false, |run| run.latency_ms.p50);
    lines.extend(by_rate(result, " p99", true, |run| run.latency_ms.p99));
    Plot {
        id: "latency".to_owned(),
        title: "How long the customer waits".to_owned(),
        reading:
            "From the instant a create was due to its acknowledgement; creates that failed are not in it."
                .to_owned(),
        x: OFFERED,
        y: MILLIS,
        lines,
        limit: limit(result),
    }
}

fn completed(result: &ResultFile) -> Plot {
    Plot {
        id: "completed".to_owned(),
        title: "How many creates get done".to_owned(),
        reading: "Acknowledged per second. A line that bends down turns customers away.".to_owned(),
        x: OFFERED,
        y: ("acknowledged per second", Scale::Linear),
        lines: by_rate(result, "", false, |run| Some(run.completed_per_s)),
        limit: limit(result),
    }
}

fn probe(result: &ResultFile) -> Plot {
    let mut lines = by_rate(result, " p50", false, |run| run.probe_latency_ms.p50);
    lines.extend(by_rate(result, " p99", true, |run| run.probe_latency_ms.p99));
    Plot {
        id: "probe".to_owned(),
        title: "What it does to other work at headquarters".to_owned(),
        reading: "Latency of a steady, slow stream of reads through the same workers, beside the creates."
            .to_owned(),
        x: OFFERED,
        y: MILLIS,
        lines,
        limit: limit(result),
    }
}

fn queue(result: &ResultFile) -> Plot {
    let (rate, runs) = hardest(result).unwrap_or_default();
    let lines = runs
        .iter()
        .filter_map(|run| {
            let points = run.hq.as_ref()?.queue.iter().map(|(at, queue)| (*at, f64::from(*queue))).collect();
            Some(Line { name: run.mode.to_string(), class: class(run.mode), dashed: false, points })
        })
        .collect();
    Plot {
        id: "queue".to_owned(),
        title: format!("The queue at headquarters, at {} creates per second", number(rate)),
        reading: "Calls that wait for a worker, over the time of the run.".to_owned(),
        x: ("seconds", Scale::Linear),
        y: ("calls waiting", Scale::Linear),
        lines,
        limit: None,
    }
}

fn two(
    result: &ResultFile,
    id: &'static str,
    title: &str,
    figures: impl Fn(&Run) -> (Option<f64>, Option<f64>),
) -> Plot {
    let mut lines = by_rate(result, " p50", false, |run| figures(run).0);
    lines.extend(by_rate(result, " p99", true, |run| figures(run).1));
    Plot {
        id: id.to_owned(),
        title: title.to_owned(),
        reading: "Of a sample of the creates, from the instant they were due.".to_owned(),
        x: OFFERED,
        y: MILLIS,
        lines,
        limit: limit(result),
    }
}

/// The distribution of latency at the lowest rate and at the hardest.
fn distributions(result: &ResultFile) -> Vec<Plot> {
    let hardest = hardest(result).map(|(rate, _)| rate);
    let lowest = result.runs.iter().map(|run| run.offered_per_s).min_by(f64::total_cmp);
    let mut plots = vec![distribution(result, "distribution", hardest.unwrap_or_default())];
    if let Some(lowest) = lowest.filter(|lowest| Some(*lowest) != hardest) {
        plots.insert(0, distribution(result, "distribution-low", lowest));
    }
    plots
}

fn distribution(result: &ResultFile, id: &'static str, rate: f64) -> Plot {
    let mut runs: Vec<&Run> = result.runs.iter().filter(|run| run.offered_per_s == rate).collect();
    runs.sort_by_key(|run| run.mode);
    let lines = runs.iter().map(|run| Line {
        name: run.mode.to_string(),
        class: class(run.mode),
        dashed: false,
        points: run.latency_distribution.clone(),
    });
    Plot {
        id: id.to_owned(),
        title: format!("Latency distribution at {} creates per second", number(rate)),
        reading: "The share of creates that were acknowledged within the time; the slowest are to the right."
            .to_owned(),
        x: ("share of creates", Scale::Quantile),
        y: MILLIS,
        lines: lines.collect(),
        limit: None,
    }
}
