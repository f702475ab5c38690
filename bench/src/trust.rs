//! When not to trust a run (rule B5).

use std::collections::BTreeMap;

use crate::{
    measured::Measured,
    result::{Run, Slice, Warning, WarningKind, enough},
    stats::Spread,
    verdict::millis,
};

/// A generator that is later than this adds to what it measures.
const LATE_MS: f64 = 5.0;
/// So does one whose lateness is more than this share of what it measures.
const LATE_SHARE: f64 = 0.25;
/// Beyond this share of all processors in use, latency is the machine's.
const BUSY: f64 = 0.9;
/// The same if somebody waits for a processor for more than this share of the time.
const STARVED: f64 = 0.5;
/// Beyond this share of the processors that others have.
const STOLEN: f64 = 0.05;
/// Fewest creates of a slice that is judged, and fewest such slices.
const SLICE_CREATES: u64 = 5;
const SLICES: usize = 8;
/// A run is unstable if its slices go one way with this certainty (a normal deviate, about 1 in 1,000 by chance), and
/// the last third is this much more or less than the first.
const TREND_DEVIATES: f64 = 3.3;
const TREND_FACTOR: f64 = 1.5;
/// An outlier is this many times the middle one, and so many times further from it than is usual (the modified z-score
/// of Iglewicz and Hoaglin); if many are, it is no outlier.
const OUTLIER_FACTOR: f64 = 4.0;
const OUTLIER_SCORE: f64 = 6.0;
const OUTLIERS: f64 = 0.1;

/// The figures of a run, and why not to trust them.
#[must_use]
pub fn run(measured: &Measured) -> Run {
    let run = measured.run();
    Run { warnings: warnings(&run), ..run }
}

/// The same of a run in which things change on purpose: that it did not settle is no reason to doubt it.
#[must_use]
pub fn run_that_changes(measured: &Measured) -> Run {
    let mut run = run(measured);
    run.warnings.retain(|warning| !matches!(warning.kind, WarningKind::Unstable | WarningKind::Outliers));
    run
}

/// Reasons not to trust a run, or to look closer.
pub(crate) fn warnings(run: &Run) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |kind, text: String| warnings.push(Warning { kind, text });
    let answer = run.latency_ms.p99.unwrap_or(f64::MAX);
    let is_late = |late: &f64| *late > LATE_MS || *late > answer * LATE_SHARE;
    if let Some(late) = run.generator.late_p99_ms.filter(is_late) {
        let text =
            format!("calls left up to {late:.1} ms late (p99): the harness's own delay is in the latencies");
        warn(WarningKind::GeneratorLate, text);
    }
    if let Some(unsent) = run.errors.get("GENERATOR_OVERFLOW") {
        warn(
            WarningKind::GeneratorOverflow,
            format!("{unsent} creates were never sent: too many were under way"),
        );
    }
    let process = &run.process;
    let (busy, starved) = (process.machine_busy.unwrap_or_default(), process.starved.unwrap_or_default());
    if busy > BUSY || starved > STARVED {
        let (busy, starved) = (busy * 100.0, starved * 100.0);
        let text = format!(
            "the machine's processors were {busy:.0} % in use, and for {starved:.0} % of the time somebody waited for one"
        );
        warn(WarningKind::MachineBusy, text);
    }
    if let Some(stolen) = process.stolen.filter(|stolen| *stolen > STOLEN) {
        let text = format!("the machine's host gave {:.0} % of its processors to others", stolen * 100.0);
        warn(WarningKind::MachineStolen, text);
    }
    for (what, count) in [
        ("the answer", run.latency_ms.count),
        ("findable everywhere", run.findable_everywhere_ms.count),
        ("the account number", run.account_number_ms.count),
        ("the probe", run.probe_latency_ms.count),
    ] {
        if count > 0 && !enough(count, 0.99) {
            let text = format!("{count} samples of {what} are few for its p99");
            warn(WarningKind::TooFewSamples, text);
        }
    }
    if let Some((first, last)) = drift(&run.slices) {
        let (first, last) = (millis(first), millis(last));
        let text = format!(
            "the median answer went from {first} to {last} while it was measured: it had not settled"
        );
        warn(WarningKind::Unstable, text);
    }
    if let Some(text) = outliers(run) {
        warn(WarningKind::Outliers, text);
    }
    if run.failed() > 0 {
        let percent = run.failed_share() * 100.0;
        warn(WarningKind::Errors, format!("{percent:.1} % of the creates failed: {}", list(&run.errors)));
    }
    if !run.probe_errors.is_empty() {
        warn(WarningKind::ProbeErrors, format!("probe calls failed: {}", list(&run.probe_errors)));
    }
    if run.backlog.left > 0 {
        let left = run.backlog.left;
        warn(WarningKind::BacklogLeft, format!("{left} customers were still pending when the wait ended"));
    }
    if run.sample.unresolved > 0 {
        let text = format!("{} followed customers were not everywhere in time", run.sample.unresolved);
        warn(WarningKind::SampleUnresolved, text);
    }
    if run.sample.remote_search_failed > 0 {
        let text = format!(
            "{} of {} sync customers were not found by another store's search in all stores",
            run.sample.remote_search_failed,
            run.sample.remote_search_failed + run.sample.remote_search_verified
        );
        warn(WarningKind::RemoteSearchFailed, text);
    }
    warnings
}

/// The medians of the slices of each repetition that can be judged.
fn medians(slices: &[Slice]) -> Vec<Vec<(f64, f64)>> {
    let judged = |slice: &&Slice| slice.arrivals - slice.failed.min(slice.arrivals) >= SLICE_CREATES;
    let repetitions = slices.chunk_by(|a, b| a.repeat == b.repeat);
    repetitions
        .map(|slices| slices.iter().filter(judged).filter_map(|s| Some((s.at_s, s.p50_ms?))).collect())
        .collect()
}

/// The medians of the first and the last third of a repetition that drifted: by the trend test of Mann and Kendall over
/// its slices.
fn drift(slices: &[Slice]) -> Option<(f64, f64)> {
    let drifts = |medians: &Vec<(f64, f64)>| {
        let n = medians.len();
        if n < SLICES {
            return None;
        }
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        let score: f64 = pairs.map(|(i, j)| (medians[j].1 - medians[i].1).signum()).sum();
        let count = n as f64;
        let deviation = (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
        let third = |part: &[(f64, f64)]| Spread::of(part.iter().map(|(_, ms)| *ms)).median;
        let (first, last) = (third(&medians[..n / 3]), third(&medians[n - n / 3..]));
        let far = first.max(last) > TREND_FACTOR * first.min(last);
        (far && score.abs() > TREND_DEVIATES * deviation).then_some((first, last))
    };
    medians(slices).iter().find_map(drifts)
}

/// A few slices, or a repetition, that are far slower than all others.
fn outliers(run: &Run) -> Option<String> {
    for medians in medians(&run.slices) {
        let figures: Vec<f64> = medians.iter().map(|(_, ms)| *ms).collect();
        if let Some((worst, count)) = far_off(&figures) {
            let (at, ms) = medians[worst];
            let slices = medians.len();
            return Some(format!(
                "{count} of {slices} slices are far slower than the others: at {at:.2} s the median answer was {}",
                millis(ms)
            ));
        }
    }
    let repetitions: Vec<f64> = run.repetitions.iter().filter_map(|repetition| repetition.p50_ms).collect();
    let (worst, _) = far_off(&repetitions)?;
    Some(format!("repetition {} is far slower than the others: {}", worst + 1, millis(repetitions[worst])))
}

/// The farthest of a few figures that are far above all others, and how many they are.
fn far_off(figures: &[f64]) -> Option<(usize, usize)> {
    if figures.len() < SLICES {
        return None;
    }
    let middle = Spread::of(figures.iter().copied()).median;
    // 0.6745: the median deviation of a normal distribution, in standard deviations.
    let usual = Spread::of(figures.iter().map(|figure| (figure - middle).abs())).median / 0.6745;
    let is_far = |figure: f64| figure > OUTLIER_FACTOR * middle && figure - middle > OUTLIER_SCORE * usual;
    let count = figures.iter().filter(|figure| is_far(**figure)).count();
    let worst = (0..figures.len()).max_by(|a, b| figures[*a].total_cmp(&figures[*b]))?;
    let few = count > 0 && count as f64 <= (OUTLIERS * figures.len() as f64).max(1.0);
    few.then_some((worst, count))
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn kinds(spoil: impl FnOnce(&mut Run)) -> Vec<WarningKind> {
        let mut run = testing::run(crate::result::Mode::Async, 50.0);
        for count in [
            &mut run.latency_ms.count,
            &mut run.findable_everywhere_ms.count,
            &mut run.account_number_ms.count,
            &mut run.probe_latency_ms.count,
        ] {
            *count = 1_000;
        }
        spoil(&mut run);
        warnings(&run).into_iter().map(|warning| warning.kind).collect()
    }

    fn slices(median: impl Fn(f64) -> f64) -> Vec<Slice> {
        let slice = |n: f64| Slice {
            repeat: 1,
            at_s: n / 4.0,
            arrivals: 20,
            p50_ms: Some(median(n)),
            ..Slice::default()
        };
        (0..16).map(f64::from).map(slice).collect()
    }

    #[test]
    fn b5_every_doubt_is_told() {
        use WarningKind::*;
        assert_eq!(kinds(|_| {}), []);
        assert_eq!(kinds(|r| r.generator.late_p99_ms = Some(9.0)), [GeneratorLate]);
        assert_eq!(kinds(|r| r.generator.late_p99_ms = Some(0.9)), [GeneratorLate]);
        assert_eq!(
            kinds(|r| {
                r.errors.insert("GENERATOR_OVERFLOW".to_owned(), 3);
            }),
            [GeneratorOverflow, Errors]
        );
        assert_eq!(kinds(|r| r.process.machine_busy = Some(0.95)), [MachineBusy]);
        assert_eq!(kinds(|r| r.process.starved = Some(0.6)), [MachineBusy]);
        assert_eq!(kinds(|r| r.process.stolen = Some(0.1)), [MachineStolen]);
        assert_eq!(kinds(|r| r.slices = slices(|n| 10.0 + n)), [Unstable]);
        assert_eq!(
            kinds(|r| r.slices = slices(|n| if n == 7.0 { 90.0 } else { 10.0 + n % 3.0 })),
            [Outliers]
        );
        // What goes up and down, however far, is neither; nor is half of it slower than the other.
        assert_eq!(kinds(|r| r.slices = slices(|n| 10.0 + 30.0 * (n * 2.4).sin().abs())), []);
        assert_eq!(kinds(|r| r.latency_ms.count = 999), [TooFewSamples]);
        assert_eq!(
            kinds(|r| {
                r.probe_errors.insert("UNAVAILABLE".to_owned(), 1);
            }),
            [ProbeErrors]
        );
        assert_eq!(kinds(|r| r.backlog.left = 1), [BacklogLeft]);
        assert_eq!(kinds(|r| r.sample.unresolved = 1), [SampleUnresolved]);
        assert_eq!(kinds(|r| r.sample.remote_search_failed = 1), [RemoteSearchFailed]);
    }
}
