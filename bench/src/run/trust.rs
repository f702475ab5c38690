//! When not to trust a run (rule B5).

use std::collections::BTreeMap;

use crate::result::{Run, Warning, WarningKind, enough};

/// A generator that is later than this adds to what it measures.
const LATE_MS: f64 = 5.0;
/// Beyond this share of all processors, latency is the machine's.
const BUSY: f64 = 0.9;

/// Reasons not to trust a run, or to look closer.
pub fn warnings(run: &Run) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |kind, text: String| warnings.push(Warning { kind, text });
    if let Some(late) = run.generator.late_p99_ms.filter(|late| *late > LATE_MS) {
        warn(WarningKind::GeneratorLate, format!("calls left up to {late:.1} ms late (p99)"));
    }
    if let Some(unsent) = run.errors.get("GENERATOR_OVERFLOW") {
        warn(
            WarningKind::GeneratorOverflow,
            format!("{unsent} creates were never sent: too many were under way"),
        );
    }
    if let Some(busy) = run.process.machine_busy.filter(|busy| *busy > BUSY) {
        let percent = busy * 100.0;
        warn(WarningKind::MachineBusy, format!("the machine's processors were {percent:.0} % in use"));
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

    #[test]
    fn b5_every_doubt_is_told() {
        use WarningKind::*;
        assert_eq!(kinds(|_| {}), []);
        assert_eq!(kinds(|r| r.generator.late_p99_ms = Some(9.0)), [GeneratorLate]);
        assert_eq!(
            kinds(|r| {
                r.errors.insert("GENERATOR_OVERFLOW".to_owned(), 3);
            }),
            [GeneratorOverflow, Errors]
        );
        assert_eq!(kinds(|r| r.process.machine_busy = Some(0.95)), [MachineBusy]);
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
