//! A comparison in words, as a table, and as tests.

use std::fmt::Write as _;

use quick_junit::{Report, SerializeError, TestSuite};

use super::{Diff, Row, Verdict};
use crate::{
    export::case,
    result::ResultFile,
    verdict::{millis, number},
};

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::NoDifferenceShown => "no difference shown",
            Self::CannotTell => "cannot tell",
        }
    }
}

impl Row {
    fn figure(&self, figure: f64) -> String {
        match self.figure {
            "failed" => format!("{:.1} %", figure * 100.0),
            "done/s" => number(figure),
            _ => millis(figure),
        }
    }

    /// The change and its interval, in per cent, or in points of a share.
    fn change(&self) -> (String, String) {
        let Some(change) = self.change else { return ("-".to_owned(), "-".to_owned()) };
        let shown =
            |figure: f64| if self.figure == "failed" { figure * 100.0 } else { (figure - 1.0) * 100.0 };
        let ends = format!("{:+.1} to {:+.1}", shown(change.low), shown(change.high));
        let unit = if self.figure == "failed" { "points" } else { "%" };
        (format!("{:+.1} {unit}", shown(change.middle)), ends)
    }
}

/// Everything as text.
pub fn table(diff: &Diff) -> String {
    let mut text = String::new();
    for otherwise in &diff.otherwise {
        let _ = writeln!(text, "! {otherwise}");
    }
    if let Some(machine) = diff.machine.filter(|machine| machine.ln().abs() > 0.05) {
        let (times, way) = if machine > 1.0 { (machine, "slower") } else { (1.0 / machine, "faster") };
        let _ = writeln!(
            text,
            "! an empty call beside the runs was {times:.2} times {way} after than before: the machine has changed, and \
             times have to change by more than that to count"
        );
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text += "mode            offered  figure              before      after       change  interval            verdict\n";
    text += &("─".repeat(108) + "\n");
    let mut last = None;
    for row in &diff.rows {
        let run = (row.mode, number(row.offered_per_s));
        let (mode, offered) = match &last {
            Some(last) if *last == run => (String::new(), String::new()),
            _ => (run.0.to_string(), run.1.clone()),
        };
        last = Some(run);
        let (change, ends) = row.change();
        let (before, after) = (row.figure(row.before), row.figure(row.after));
        let (figure, verdict) = (row.figure.trim_end_matches(" ms"), row.verdict.words());
        let line = format!(
            "{mode:<14} {offered:>8}  {figure:<14} {before:>11} {after:>10} {change:>13}  {ends:<18}  {verdict}"
        );
        text += &(line.trim_end().to_owned() + "\n");
    }
    text.push('\n');
    text += &sentence(diff);
    text
}

fn sentence(diff: &Diff) -> String {
    let count = |verdict| diff.rows.iter().filter(|row| row.verdict == verdict).count();
    let (better, worse, unknown) =
        (count(Verdict::Better), count(Verdict::Worse), count(Verdict::CannotTell));
    let all = diff.rows.len();
    if unknown == all {
        return "One short run of each says nothing about how much the next would differ: measure both with --repeat 5 or \
                more, or for half a minute and longer.\n"
            .to_owned();
    }
    let mut text = format!(
        "Of {all} figures {worse} became worse and {better} better; all intervals together hold with {} %, and less than \
         {} % is no change.\n",
        number(diff.confidence * 100.0),
        number(diff.least * 100.0)
    );
    if unknown > 0 {
        let _ = writeln!(text, "Of {unknown} there are too few blocks to tell.");
    }
    text
}

/// Each figure as a test, which fails if it became worse.
pub fn junit(diff: &Diff) -> Result<String, SerializeError> {
    let mut report = Report::new("tillsync diff");
    let mut suite = TestSuite::new("figures");
    for row in &diff.rows {
        let name = format!("{} at {}/s: {}", row.mode, number(row.offered_per_s), row.figure);
        let (change, ends) = row.change();
        let message = format!("{} -> {} ({change}; {ends})", row.figure(row.before), row.figure(row.after));
        let mut test = case(&name, row.verdict != Verdict::Worse, &message);
        test.set_system_out(format!("{}: {message}", row.verdict.words()));
        suite.add_test_case(test);
    }
    report.add_test_suite(suite);
    report.to_string()
}

/// What else is different about two results.
pub fn otherwise(before: &ResultFile, after: &ResultFile) -> Vec<String> {
    let (one, two) = (&before.setup, &after.setup);
    [
        (before.machine != after.machine, "they were measured on different machines"),
        (one.profile_toml != two.profile_toml, "headquarters' profile is another"),
        (one.services != two.services, "the services ran elsewhere (embedded, external, simulated)"),
        (one.channels != two.channels, "the number of channels is another"),
        (one.durability != two.durability, "commits promise something else"),
        (one.arrivals != two.arrivals, "the arrivals are of another kind"),
        (one.seconds != two.seconds || one.warmup_s != two.warmup_s, "the runs are not equally long"),
        (one.probe_per_s != two.probe_per_s, "the probe is not equally fast"),
        (one.rts_timeout_ms != two.rts_timeout_ms, "channels do not wait equally long for headquarters"),
        (before.interrupted || after.interrupted, "one of them was ended early"),
    ]
    .into_iter()
    .filter(|(differs, _)| *differs)
    .map(|(_, text)| text.to_owned())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{diff::compare, testing};

    #[test]
    fn b7_what_cannot_be_compared_is_told() {
        let (before, mut after) = (testing::result(), testing::result());
        after.setup.profile_toml = None;
        after.machine.cpus = 64;
        let diff = compare(&before, &after, 0.05, 0.95);
        let text = table(&diff);
        assert!(
            text.contains("! they were measured on different machines\n! headquarters' profile is another"),
            "{text}"
        );
        assert!(text.contains("--repeat 5"), "{text}");
        assert_eq!(junit(&diff).unwrap().matches("<failure").count(), 0);
    }
}
