//! Results for other programs: CSV and JUnit.

use std::collections::BTreeSet;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::{
    result::{Latency, ResultFile, Services, TwoPercentiles},
    verdict,
};

/// One line for each run; figures that are absent are empty. Units stand last in names.
#[must_use]
pub fn csv(result: &ResultFile) -> String {
    let mut text = String::new();
    let services: BTreeSet<&String> =
        result.runs.iter().flat_map(|run| &run.services).map(|usage| &usage.name).collect();
    for (place, run) in result.runs.iter().enumerate() {
        let figure = |figure: Option<f64>| figure.map_or_else(String::new, |figure| figure.to_string());
        let mut cells: Vec<(String, String)> = Vec::new();
        let mut cell = |name: &str, value: String| cells.push((name.to_owned(), value));
        cell("mode", run.mode.to_string());
        cell("offered_per_s", run.offered_per_s.to_string());
        cell("speedup", figure(run.speedup));
        cell("seconds", run.seconds.to_string());
        cell("repetitions", run.repetitions.len().to_string());
        cell("arrivals", run.arrivals.to_string());
        cell("completed_per_s", run.completed_per_s.to_string());
        cell("sync", run.acknowledged.sync.to_string());
        cell("async", run.acknowledged.asynchronous.to_string());
        cell("async_fallback", run.acknowledged.async_fallback.to_string());
        cell("failed", run.failed().to_string());
        let errors: Vec<String> = run.errors.iter().map(|(name, count)| format!("{name}={count}")).collect();
        cell("errors", errors.join(" "));
        let Latency { count: _, p50, p90, p99, p999, p9999, max } = run.latency_ms;
        for (name, value) in
            [("p50", p50), ("p90", p90), ("p99", p99), ("p999", p999), ("p9999", p9999), ("max", max)]
        {
            cell(&format!("answer_{name}_ms"), figure(value));
        }
        for (name, two) in [
            ("findable", &run.findable_everywhere_ms),
            ("account", &run.account_number_ms),
            ("probe", &run.probe_latency_ms),
            ("yardstick", &run.yardstick_ms),
        ] {
            let TwoPercentiles { count: _, p50, p99 } = two;
            cell(&format!("{name}_p50_ms"), figure(*p50));
            cell(&format!("{name}_p99_ms"), figure(*p99));
        }
        let phases = run.phases_ms.as_ref();
        cell("queue_mean_ms", figure(phases.and_then(|phases| phases.queue.mean)));
        cell("service_mean_ms", figure(phases.and_then(|phases| phases.service.mean)));
        cell("link_mean_ms", figure(phases.and_then(|phases| phases.link.mean)));
        cell("channel_mean_ms", figure(phases.and_then(|phases| phases.channel.mean)));
        cell("hq_utilization", figure(run.hq.as_ref().map(|hq| hq.utilization)));
        cell("hq_queue_max", run.hq.as_ref().map_or_else(String::new, |hq| hq.queue_max.to_string()));
        cell("backlog_at_end", run.backlog.at_end.to_string());
        cell("late_p99_ms", figure(run.generator.late_p99_ms));
        let doubts = run.warnings.iter().filter(|warning| warning.kind.is_doubt()).count();
        cell("doubts", doubts.to_string());
        for name in &services {
            let usage = run.services.iter().find(|usage| &usage.name == *name);
            cell(&format!("{name}_cpu_s"), figure(usage.map(|usage| usage.cpu_s)));
            cell(&format!("{name}_rss_bytes"), figure(usage.map(|usage| usage.rss_bytes)));
        }
        if place == 0 {
            text += &line(cells.iter().map(|(name, _)| name.as_str()));
        }
        text += &line(cells.iter().map(|(_, value)| value.as_str()));
    }
    text
}

/// No cell holds a comma or a quote.
fn line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}

/// The ledger, the goals, and the doubts, each as a test. Doubts fail only where they have been asked to.
///
/// # Errors
///
/// None that can be named: it is written to memory.
pub fn junit(result: &ResultFile) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("tillsync");
    if result.setup.services != Services::Simulated {
        let mut ledger = TestSuite::new("ledger");
        let holds = result.ledger.as_ref().is_some_and(crate::result::Ledger::holds);
        ledger.add_test_case(case("nobody lost, nobody doubled, all equal", holds, &verdict::ledger(result)));
        report.add_test_suite(ledger);
    }
    let mut goals = TestSuite::new("goals");
    for outcome in &result.checks.slos {
        let name =
            format!("{} at {}/s: {}", outcome.mode, verdict::number(outcome.offered_per_s), outcome.slo);
        goals.add_test_case(case(&name, outcome.kept, &outcome.figure));
    }
    report.add_test_suite(goals);
    let mut trust = TestSuite::new("trust");
    for run in &result.runs {
        let doubts = run.warnings.iter().filter(|warning| warning.kind.is_doubt());
        let doubts: Vec<&str> = doubts.map(|warning| warning.text.as_str()).collect();
        let name = format!("{} at {}/s can be trusted", run.mode, verdict::number(run.offered_per_s));
        let mut test = case(&name, doubts.is_empty() || !result.checks.strict, &doubts.join("; "));
        test.set_system_out(doubts.join("\n"));
        trust.add_test_case(test);
    }
    report.add_test_suite(trust);
    report.to_string()
}

/// A test that has passed, or has failed with a message.
pub(crate) fn case(name: &str, passed: bool, message: &str) -> TestCase {
    let mut status = TestCaseStatus::success();
    if !passed {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(message);
    }
    TestCase::new(name, status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{result::Checks, slo::Slo, testing};

    #[test]
    fn b9_every_run_is_a_line_with_as_many_cells() {
        let text = csv(&testing::result());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 7);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()));
        let column = lines[0].iter().position(|name| *name == "errors").unwrap();
        assert_eq!(lines[2][column], "RESOURCE_EXHAUSTED=100");
    }

    #[test]
    fn b9_junit_fails_for_what_is_missed_and_for_doubts_only_if_strict() {
        let mut result = testing::result();
        let slo: Slo = "sync:p90=100ms".parse().unwrap();
        result.checks = Checks { strict: false, slos: slo.judge(&result.runs) };
        result.runs[0].warnings = crate::trust::warnings(&result.runs[0]);
        let text = junit(&result).unwrap();
        assert!(text.contains("sync at 200/s: sync: p90 within 100 ms"), "{text}");
        assert_eq!(text.matches("<failure").count(), 1, "{text}");
        result.checks.strict = true;
        result.ledger.as_mut().unwrap().lost = 1;
        assert_eq!(junit(&result).unwrap().matches("<failure").count(), 3);
    }
}
