//! What is going on, on standard error: a live line, or plain lines where there is no terminal.

use std::{
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    result::Run,
    run::{CallsSoFar, Plan, Recorder},
    table,
    verdict::number,
};

/// Pause between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// The display.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// How many runs there will be, if that is known.
    runs: Option<usize>,
}

impl Progress {
    /// A display for this many runs; nothing if nobody knows how many there will be.
    #[must_use]
    pub fn new(plain: bool, runs: Option<usize>) -> Self {
        let live = !plain && stderr().is_terminal();
        let bar = live.then(|| {
            let bar = runs.map_or_else(ProgressBar::no_length, |runs| ProgressBar::new(runs as u64));
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
    fn tick(&self, plan: &Plan, recorder: &Recorder) {
        let Some(bar) = &self.bar else { return };
        let picture = recorder.picture();
        let CallsSoFar { acknowledged, failed, in_flight } = picture.calls;
        let (queue, pending) = (picture.queue, picture.pending);
        bar.set_message(format!(
            "run {}: {} at {}/s: {acknowledged} done, {failed} failed, {in_flight} under way, \
             {queue} waiting at HQ, {pending} pending",
            self.place(plan),
            plan.mode,
            number(plan.load.per_s),
        ));
        bar.tick();
    }

    /// Shows how a run goes until it has ended.
    pub async fn watch<T>(&self, plan: &Plan, recorder: &Recorder, making: impl Future<Output = T>) -> T {
        tokio::pin!(making);
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                made = &mut making => return made,
                _ = frames.tick() => self.tick(plan, recorder),
            }
        }
    }

    fn place(&self, plan: &Plan) -> String {
        let place = plan.number + 1;
        self.runs.map_or_else(|| place.to_string(), |runs| format!("{place}/{runs}"))
    }

    /// A run has ended.
    pub fn ended(&self, plan: &Plan, run: &Run) {
        self.say(&format!("{:>5}  {}", self.place(plan), table::one_line(run)));
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
