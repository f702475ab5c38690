//! What is going on, on standard error: a live line, or plain lines where there is no terminal.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    result::Run,
    run::{CallsSoFar, Plan, Recorder},
    table,
    verdict::number,
};

/// The display.
pub struct Progress {
    bar: Option<ProgressBar>,
    runs: usize,
}

impl Progress {
    /// A display for this many runs.
    #[must_use]
    pub fn new(plain: bool, runs: usize) -> Self {
        let live = !plain && stderr().is_terminal();
        let bar = live.then(|| {
            let bar = ProgressBar::new(runs as u64);
            let style = ProgressStyle::with_template("{spinner} [{elapsed}] {bar:20} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, runs }
    }

    /// Says a line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Shows how a run goes.
    pub fn tick(&self, plan: &Plan, recorder: &Recorder) {
        let Some(bar) = &self.bar else { return };
        let picture = recorder.picture();
        let CallsSoFar { acknowledged, failed, in_flight } = picture.calls;
        let (queue, pending) = (picture.queue, picture.pending);
        bar.set_message(format!(
            "run {} of {}: {} at {}/s: {acknowledged} done, {failed} failed, {in_flight} under way, \
             {queue} waiting at HQ, {pending} pending",
            plan.number + 1,
            self.runs,
            plan.mode,
            number(plan.load.per_s),
        ));
        bar.tick();
    }

    /// A run has ended.
    pub fn ended(&self, plan: &Plan, run: &Run) {
        self.say(&format!("{:>3}/{}  {}", plan.number + 1, self.runs, table::one_line(run)));
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Shows what happens after the runs.
    pub fn message(&self, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(message.to_owned());
                bar.tick();
            }
            None => eprintln!("{message}"),
        }
    }

    /// Clears the live line.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
