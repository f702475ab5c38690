//! Which plots there are, of one result or of several laid over each other.

use super::{
    axis::Scale,
    plot::{Line, Plot},
};
use crate::{
    result::{Mode, ResultFile, Run, Slice, TwoPercentiles},
    verdict::{hardest, number, of_mode, same},
};

/// A result and what it is called beside others.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Its name; empty if it stands alone.
    pub name: &'a str,
    /// The result.
    pub result: &'a ResultFile,
}

impl Named<'_> {
    /// What a line of it is called.
    fn line(&self, name: &str) -> String {
        if self.name.is_empty() { name.to_owned() } else { format!("{}: {name}", self.name) }
    }
}

/// Every plot of the report that has something to show.
#[must_use]
pub fn all(results: &[Named<'_>]) -> Vec<Plot> {
    let Some(first) = results.first() else { return Vec::new() };
    let rates = results.iter().flat_map(|named| &named.result.runs).map(|run| run.offered_per_s);
    let several =
        first.result.runs.first().is_some_and(|one| !rates.clone().all(|rate| same(rate, one.offered_per_s)));
    let mut plots = Vec::new();
    if first.result.setup.scenario.is_some() {
        plots.extend(over_time(results));
    }
    if several {
        plots.extend([latency(results), completed(results)]);
        plots.extend([
            probe(results),
            two(results, "findable", "Time until every store finds the customer", |run| {
                run.findable_everywhere_ms
            }),
            two(results, "account", "Time until the account number is back in the store", |run| {
                run.account_number_ms
            }),
        ]);
    }
    if first.result.setup.scenario.is_none() {
        plots.push(queue(results));
    }
    plots.extend(distributions(results));
    plots
}

const OFFERED: (&str, Scale) = ("creates offered per second", Scale::Linear);
const MILLIS: (&str, Scale) = ("milliseconds", Scale::Log);
const SECONDS: (&str, Scale) = ("seconds", Scale::Linear);

/// The class of a mode's lines.
pub fn class(mode: Mode) -> &'static str {
    match mode {
        Mode::Sync => "sync",
        Mode::SyncFallback => "fallback",
        Mode::Async => "async",
    }
}

/// A line for each mode of each result that has points.
fn lines(
    results: &[Named<'_>],
    suffix: &str,
    dashed: bool,
    points: impl Fn(&ResultFile, Mode) -> Vec<(f64, f64)>,
) -> Vec<Line> {
    let modes = results.iter().enumerate().flat_map(|(of, named)| Mode::ALL.map(|mode| (of, named, mode)));
    modes
        .map(|(of, named, mode)| Line {
            name: named.line(&format!("{mode}{suffix}")),
            class: class(mode),
            dashed,
            of,
            points: points(named.result, mode),
        })
        .filter(|line| !line.points.is_empty())
        .collect()
}

/// A line over the offered rate, for each mode.
fn by_rate(
    results: &[Named<'_>],
    suffix: &str,
    dashed: bool,
    figure: impl Fn(&Run) -> Option<f64>,
) -> Vec<Line> {
    lines(results, suffix, dashed, |result, mode| {
        let runs = of_mode(result, mode).into_iter();
        runs.filter_map(|run| Some((run.offered_per_s, figure(run)?))).collect()
    })
}

/// What headquarters can serve, and the knees that were found.
fn limits(results: &[Named<'_>]) -> Vec<(f64, String)> {
    let Some(Named { result, .. }) = results.first() else { return Vec::new() };
    let most = result.runs.iter().map(|run| run.offered_per_s).fold(0.0, f64::max);
    let capacity = result.setup.capacity_per_s.map(|capacity| (capacity, "capacity".to_owned()));
    let knees = result.knees.iter().filter_map(|knee| Some((knee.per_s?, format!("knee of {}", knee.mode))));
    capacity.into_iter().chain(knees).filter(|(at, _)| *at <= most * 1.05).collect()
}

fn over_rate(
    results: &[Named<'_>],
    id: &str,
    title: &str,
    reading: &str,
    y: (&'static str, Scale),
    lines: Vec<Line>,
) -> Plot {
    let (id, title, reading) = (id.to_owned(), title.to_owned(), reading.to_owned());
    Plot { id, title, reading, x: OFFERED, y, lines, limits: limits(results) }
}

fn latency(results: &[Named<'_>]) -> Plot {
    let mut lines = by_rate(results, " p50", false, |run| run.latency_ms.p50);
    lines.extend(by_rate(results, " p99", true, |run| run.latency_ms.p99));
    let reading =
        "From the instant a create was due to its acknowledgement; creates that failed are not in it.";
    over_rate(results, "latency", "How long the customer waits", reading, MILLIS, lines)
}

fn completed(results: &[Named<'_>]) -> Plot {
    let reading = "Acknowledged per second. A line that bends down turns customers away.";
    let y = ("acknowledged per second", Scale::Linear);
    let lines = by_rate(results, "", false, |run| Some(run.completed_per_s));
    over_rate(results, "completed", "How many creates get done", reading, y, lines)
}

fn probe(results: &[Named<'_>]) -> Plot {
    let mut lines = by_rate(results, " p50", false, |run| run.probe_latency_ms.p50);
    lines.extend(by_rate(results, " p99", true, |run| run.probe_latency_ms.p99));
    let reading = "Latency of a steady, slow stream of reads through the same workers, beside the creates.";
    over_rate(results, "probe", "What it does to other work at headquarters", reading, MILLIS, lines)
}

fn two(results: &[Named<'_>], id: &str, title: &str, figures: impl Fn(&Run) -> TwoPercentiles) -> Plot {
    let mut lines = by_rate(results, " p50", false, |run| figures(run).p50);
    lines.extend(by_rate(results, " p99", true, |run| figures(run).p99));
    over_rate(
        results,
        id,
        title,
        "Of a sample of the creates, from the instant they were due.",
        MILLIS,
        lines,
    )
}

fn queue(results: &[Named<'_>]) -> Plot {
    let rate = results.first().and_then(|named| hardest(named.result)).map_or(0.0, |(rate, _)| rate);
    let lines = lines(results, "", false, |result, mode| {
        let run = of_mode(result, mode).into_iter().find(|run| same(run.offered_per_s, rate));
        run.map(waiting).unwrap_or_default()
    });
    Plot {
        id: "queue".to_owned(),
        title: format!("The queue at headquarters, at {} creates per second", number(rate)),
        reading: "Calls that wait for a worker, over the time of the run.".to_owned(),
        x: SECONDS,
        y: ("calls waiting", Scale::Linear),
        lines,
        limits: Vec::new(),
    }
}

fn waiting(run: &Run) -> Vec<(f64, f64)> {
    let queue = run.hq.iter().flat_map(|hq| &hq.queue);
    queue.map(|(at, calls)| (*at, f64::from(*calls))).collect()
}

/// What happens in the course of a scenario.
fn over_time(results: &[Named<'_>]) -> Vec<Plot> {
    let events = results.first().and_then(|named| named.result.setup.scenario.as_ref());
    let limits: Vec<(f64, String)> = events
        .iter()
        .flat_map(|played| &played.events)
        .map(|event| (event.at_s, event.what.clone()))
        .collect();
    let of = |suffix: &str, dashed: bool, points: &dyn Fn(&Run) -> Vec<(f64, f64)>| {
        lines(results, suffix, dashed, |result, mode| {
            of_mode(result, mode).first().map(|run| points(run)).unwrap_or_default()
        })
    };
    let sliced = |suffix: &str, dashed: bool, figure: fn(&Slice) -> Option<f64>| {
        of(suffix, dashed, &|run| {
            let slices = run.slices.iter().filter(|slice| slice.repeat == 1);
            slices.filter_map(|slice| Some((slice.at_s + slice.seconds / 2.0, figure(slice)?))).collect()
        })
    };
    let plot = |id: &str, title: &str, reading: &str, y, lines| Plot {
        id: id.to_owned(),
        title: title.to_owned(),
        reading: reading.to_owned(),
        x: SECONDS,
        y,
        lines,
        limits: limits.clone(),
    };
    let mut answers = sliced(" p50", false, |slice| slice.p50_ms);
    answers.extend(sliced(" longest", true, |slice| slice.max_ms));
    let mut plots = vec![
        plot(
            "time-latency",
            "How long the customer waits",
            "By the instant at which a create was due; creates that failed are not in it.",
            MILLIS,
            answers,
        ),
        plot(
            "time-completed",
            "How many creates get done",
            "Acknowledged per second, by the instant of the answer.",
            ("per second", Scale::Linear),
            sliced("", false, |slice| Some(slice.completed as f64 / slice.seconds)),
        ),
        plot(
            "time-failed",
            "How many creates fail",
            "Per second, by the instant at which they were due.",
            ("per second", Scale::Linear),
            sliced("", false, |slice| Some(slice.failed as f64 / slice.seconds)),
        ),
        plot(
            "time-queue",
            "The queue at headquarters",
            "Calls that wait for a worker.",
            ("calls waiting", Scale::Linear),
            of("", false, &waiting),
        ),
        plot(
            "time-busy",
            "How busy headquarters is",
            "Share of its workers' time.",
            ("per cent", Scale::Linear),
            of("", false, &|run| {
                let busy = run.hq.iter().flat_map(|hq| &hq.busy);
                busy.map(|(at, share)| (*at, share * 100.0)).collect()
            }),
        ),
        plot(
            "time-pending",
            "Customers without an account number",
            "In all stores.",
            ("customers", Scale::Linear),
            of("", false, &|run| run.backlog.pending.iter().map(|p| (p.at_s, p.pending as f64)).collect()),
        ),
    ];
    plots.retain(|plot| plot.lines.iter().any(|line| line.points.iter().any(|(_, y)| *y > 0.0)));
    plots
}

/// The distribution of latency at the lowest rate and at the hardest.
fn distributions(results: &[Named<'_>]) -> Vec<Plot> {
    let Some(Named { result, .. }) = results.first() else { return Vec::new() };
    let hardest = hardest(result).map(|(rate, _)| rate);
    let lowest = result.runs.iter().map(|run| run.offered_per_s).min_by(f64::total_cmp);
    let mut plots = vec![distribution(results, "distribution", hardest.unwrap_or_default())];
    if let Some(lowest) = lowest.filter(|lowest| hardest.is_none_or(|hardest| !same(*lowest, hardest))) {
        plots.insert(0, distribution(results, "distribution-low", lowest));
    }
    plots
}

fn distribution(results: &[Named<'_>], id: &'static str, rate: f64) -> Plot {
    let lines = lines(results, "", false, |result, mode| {
        let run = of_mode(result, mode).into_iter().find(|run| same(run.offered_per_s, rate));
        run.map(|run| run.latency_distribution.clone()).unwrap_or_default()
    });
    Plot {
        id: id.to_owned(),
        title: format!("Latency distribution at {} creates per second", number(rate)),
        reading: "The share of creates that were acknowledged within the time; the slowest are to the right."
            .to_owned(),
        x: ("share of creates", Scale::Quantile),
        y: MILLIS,
        lines,
        limits: Vec::new(),
    }
}
