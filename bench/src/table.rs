//! The result on the terminal.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    result::{Arrivals, ResultFile, Run, Services, SloOutcome, WarningKind, enough},
    verdict,
};

/// Column heads, in two lines, and widths.
const COLUMNS: [(&str, &str, usize); 12] = [
    ("", "mode", 13),
    ("offered", "/s", 8),
    ("done", "/s", 7),
    ("", "failed", 7),
    ("answer", "p50", 9),
    ("", "p99", 9),
    ("findable", "p50", 9),
    ("account", "p50", 9),
    ("HQ", "busy", 6),
    ("queue", "max", 6),
    ("probe", "p50", 9),
    ("", "p99", 9),
];

/// How to read the columns.
const READING: &str = "answer: from the instant the create was due until it was acknowledged. findable: until every \
    store finds the customer. account: until its store knows the account number. probe: other work at headquarters.";

const CLOSED: &str = "CLOSED-LOOP: callers waited for each answer before the next create, so a stall hides itself. The \
    figures are good for ceilings, not for what customers wait.";

/// The whole text after a comparison, without the line that says where the files are.
#[must_use]
pub fn render(result: &ResultFile) -> String {
    let mut text = String::new();
    paragraph(&mut text, &verdict::capacity(result));
    line(&mut text, "");
    head(&mut text);
    let mut short = false;
    let mut before = None;
    for run in &result.runs {
        if before.is_some_and(|mode| mode != run.mode) {
            line(&mut text, "");
        }
        before = Some(run.mode);
        row(&mut text, run, &mut short);
    }
    line(&mut text, "");
    paragraph(&mut text, READING);
    if short {
        line(
            &mut text,
            "~ too few samples for this percentile: a longer run (--seconds) gives a better one.",
        );
    }
    line(&mut text, "");
    paragraph(&mut text, &verdict::answer(result));
    for finding in verdict::findings(result) {
        paragraph(&mut text, &finding);
    }
    if matches!(result.setup.arrivals, Arrivals::Closed { .. }) {
        line(&mut text, "");
        paragraph(&mut text, CLOSED);
    }
    goals(&mut text, result);
    warnings(&mut text, result);
    if result.interrupted {
        line(&mut text, "Ended early by a signal: what was measured until then is shown.");
    }
    line(&mut text, "");
    paragraph(&mut text, &verdict::ledger(result));
    for example in result.ledger.iter().flat_map(|ledger| &ledger.examples) {
        line(&mut text, &format!("  {example}"));
    }
    text
}

/// Goals that were missed, and how many were kept.
fn goals(text: &mut String, result: &ResultFile) {
    let slos = &result.checks.slos;
    if slos.is_empty() {
        return;
    }
    line(text, "");
    for outcome in slos.iter().filter(|outcome| !outcome.kept) {
        let few = if outcome.few_samples { " (of too few samples)" } else { "" };
        let rate = verdict::number(outcome.offered_per_s);
        let SloOutcome { slo, mode, figure, .. } = outcome;
        paragraph(text, &format!("MISSED {mode} at {rate}/s: {slo}; it is {figure}{few}"));
    }
    let kept = slos.iter().filter(|outcome| outcome.kept).count();
    line(text, &format!("Goals: {kept} of {} kept.", slos.len()));
}

/// One line for a run that has ended.
#[must_use]
pub fn one_line(run: &Run) -> String {
    let figure = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), verdict::millis);
    format!(
        "{:<13} {:>6}/s offered  {:>6}/s done  {:>5} failed  answer p50 {}, p99 {}",
        run.mode,
        verdict::number(run.offered_per_s),
        verdict::number(run.completed_per_s),
        run.failed(),
        figure(run.latency_ms.p50),
        figure(run.latency_ms.p99),
    )
}

fn head(text: &mut String) {
    for pick in [|c: &(&'static str, &'static str, usize)| c.0, |c: &(&'static str, &'static str, usize)| c.1]
    {
        let cells: Vec<String> = COLUMNS.iter().map(|column| pick(column).to_owned()).collect();
        cells_line(text, &cells);
    }
    line(text, &"─".repeat(width()));
}

fn row(text: &mut String, run: &Run, short: &mut bool) {
    let mut ms = |figure: Option<f64>, count: u64, quantile: f64| match figure {
        None => "-".to_owned(),
        Some(figure) if enough(count, quantile) => verdict::millis(figure),
        Some(figure) => {
            *short = true;
            format!("~{}", verdict::millis(figure))
        }
    };
    let latency = &run.latency_ms;
    let (everywhere, account) = (&run.findable_everywhere_ms, &run.account_number_ms);
    let hq =
        |figure: fn(&crate::result::Hq) -> String| run.hq.as_ref().map_or_else(|| "-".to_owned(), figure);
    let cells = vec![
        run.mode.to_string(),
        if run.offered_per_s > 0.0 { verdict::number(run.offered_per_s) } else { "closed".to_owned() },
        verdict::number(run.completed_per_s),
        if run.failed() == 0 { "0".to_owned() } else { format!("{:.1} %", run.failed_share() * 100.0) },
        ms(latency.p50, latency.count, 0.5),
        ms(latency.p99, latency.count, 0.99),
        ms(everywhere.p50, everywhere.count, 0.5),
        ms(account.p50, account.count, 0.5),
        hq(|hq| format!("{:.0} %", hq.utilization * 100.0)),
        hq(|hq| hq.queue_max.to_string()),
        ms(run.probe_latency_ms.p50, run.probe_latency_ms.count, 0.5),
        ms(run.probe_latency_ms.p99, run.probe_latency_ms.count, 0.99),
    ];
    cells_line(text, &cells);
}

/// The first cell to the left, the others to the right.
fn cells_line(text: &mut String, cells: &[String]) {
    let mut row = String::new();
    for (place, (cell, (_, _, width))) in cells.iter().zip(COLUMNS).enumerate() {
        // Writing to a string cannot fail.
        let _ = if place == 0 { write!(row, "{cell:<width$}") } else { write!(row, " {cell:>width$}") };
    }
    line(text, row.trim_end());
}

/// Warnings, one line for each kind: the first run's, and how many others have it. What the table shows already
/// (failures, few samples) is left out.
fn warnings(text: &mut String, result: &ResultFile) {
    let mut kinds: BTreeMap<WarningKind, (String, usize)> = BTreeMap::new();
    let session = result.warnings.iter().map(|warning| (warning.kind, warning.text.clone()));
    let runs = result.runs.iter().flat_map(|run| {
        let at = format!("{} at {}/s", run.mode, verdict::number(run.offered_per_s));
        run.warnings.iter().map(move |warning| (warning.kind, format!("{at}: {}", warning.text)))
    });
    for (kind, said) in session.chain(runs).filter(|(kind, _)| *kind != WarningKind::TooFewSamples) {
        kinds.entry(kind).or_insert((said, 0)).1 += 1;
    }
    if !kinds.is_empty() {
        line(text, "");
    }
    for (kind, (said, count)) in kinds {
        let others = if count > 1 {
            format!(" (and {} more of this kind, in the report)", count - 1)
        } else {
            String::new()
        };
        paragraph(text, &format!("! {said}{others}"));
        if kind == WarningKind::MachineBusy && result.setup.services == Services::Embedded {
            line(text, "  Services and harness share this machine's processors.");
        }
    }
}

/// A line of words, broken to the width of the table.
fn paragraph(text: &mut String, words: &str) {
    let mut row = String::new();
    for word in words.split(' ') {
        if !row.is_empty() && row.chars().count() + 1 + word.chars().count() > width() {
            line(text, &row);
            row.clear();
        }
        if !row.is_empty() {
            row.push(' ');
        }
        row.push_str(word);
    }
    line(text, &row);
}

/// Width of the table, in characters.
fn width() -> usize {
    COLUMNS.iter().map(|(_, _, width)| width + 1).sum::<usize>() - 1
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        result::{Mode, Warning},
        testing,
    };

    #[test]
    fn b1_the_table_shows_every_run_and_the_ledger() {
        let mut result = testing::result();
        result.runs[1].warnings = vec![Warning {
            kind: WarningKind::Errors,
            text: "50.0 % of the creates failed: X 100".to_owned(),
        }];
        let text = render(&result);
        assert!(
            text.starts_with("Headquarters serves at most 100 creates per second; a steady probe"),
            "{text}"
        );
        let rows: Vec<&str> =
            text.lines().filter(|line| line.contains('%') && line.contains(" ms ")).collect();
        assert!(rows.len() >= 6, "{text}");
        let row: Vec<&str> = text
            .lines()
            .find(|l| l.starts_with("sync ") && l.contains("200"))
            .unwrap()
            .split_whitespace()
            .collect();
        assert_eq!(row[..7], ["sync", "200", "100", "50.0", "%", "350", "ms"]);
        // 200 samples are few for a p99.
        assert_eq!(row[7..9], ["~1.05", "s"]);
        assert!(text.contains("~ too few samples"));
        assert!(text.contains("! sync at 200/s: 50.0 % of the creates failed: X 100"));
        assert!(
            text.ends_with(
                "Ledger: 1000 acknowledged, 1000 at headquarters, 0 lost, 0 doubled, 0 pending.\n"
            )
        );
        let widest = text
            .lines()
            .filter(|l| l.starts_with("async") || l.contains("offered"))
            .map(|l| l.chars().count());
        assert!(widest.max().unwrap() <= 120);
    }

    #[test]
    fn b5_warnings_are_told_once_for_each_kind_and_an_interruption_is_told() {
        let mut result = testing::result();
        let warning = |kind| Warning { kind, text: "looked at".to_owned() };
        for run in &mut result.runs {
            run.warnings = vec![warning(WarningKind::GeneratorLate), warning(WarningKind::TooFewSamples)];
        }
        result.warnings = vec![warning(WarningKind::Unreadable)];
        result.interrupted = true;
        let text = render(&result);
        let told: Vec<&str> = text.lines().filter(|line| line.starts_with('!')).collect();
        let late = "! sync at 50/s: looked at (and 5 more of this kind, in the report)";
        assert_eq!(told, [late, "! looked at"]);
        assert!(text.contains("Ended early"));
        assert!(text.lines().all(|line| line.chars().count() <= width()), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let mut result = testing::result();
        let mut run = testing::run(Mode::Sync, 10.0);
        run.hq = None;
        run.latency_ms = crate::result::Latency::default();
        result.runs = vec![run];
        let text = render(&result);
        let row = text.lines().find(|line| line.starts_with("sync")).unwrap();
        assert_eq!(row.split_whitespace().filter(|cell| *cell == "-").count(), 4, "{row}");
    }
}
