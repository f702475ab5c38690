//! What is going on, on standard error: a live line, or plain lines where there is no terminal.

use std::{
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    result::Run,
    run::{Picture, Plan, Recorder},
    table,
    verdict::{millis, number},
};

/// Pause between two pictures, and between two lines where there is no live view.
const FRAME: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(10);

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

    /// Shows how a run goes, `elapsed` after it was begun.
    fn tick(&self, plan: &Plan, recorder: &Recorder, elapsed: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.view(plan, &recorder.picture(), elapsed));
            bar.tick();
        }
    }

    /// The live view: what is made, how fast the answers are, headquarters, the stores.
    fn view(&self, plan: &Plan, picture: &Picture, elapsed: Duration) -> String {
        let Picture { calls, p50_ms, p99_ms, queue, busy, pending, oldest } = picture;
        let ms = |ms: &Option<f64>| ms.map_or_else(|| "-".to_owned(), millis);
        let load = plan.load.warmup + plan.load.measured;
        let left = load.saturating_sub(elapsed).as_secs();
        let left = if left > 0 { format!("{left} s left") } else { "waiting for what is pending".to_owned() };
        let busy = busy.map_or_else(|| "-".to_owned(), |busy| format!("{:.0} % busy", busy * 100.0));
        let oldest =
            oldest.map_or_else(String::new, |age| format!(", the oldest for {:.1} s", age.as_secs_f64()));
        let per_s = calls.acknowledged as f64 / elapsed.min(load).as_secs_f64().max(0.1);
        let offered = number(plan.load.per_s);
        format!(
            "run {}: {} at {offered}/s   {left}\n  creates       {} done ({}/s), {} failed, {} under way\n  \
             answer        p50 {}, p99 {}\n  headquarters  {busy}, {queue} waiting\n  stores        {pending} pending{oldest}",
            self.place(plan),
            plan.mode,
            calls.acknowledged,
            number(per_s),
            calls.failed,
            calls.in_flight,
            ms(p50_ms),
            ms(p99_ms),
        )
    }

    /// Shows how a run goes until it has ended. Where there is no live view, a long run says a line now and then.
    pub async fn watch<T>(&self, plan: &Plan, recorder: &Recorder, making: impl Future<Output = T>) -> T {
        tokio::pin!(making);
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut elapsed, mut said) = (Duration::ZERO, Duration::ZERO);
        let begun = frames.tick().await;
        loop {
            self.tick(plan, recorder, elapsed);
            if self.bar.is_none() && elapsed - said >= LINE {
                said = elapsed;
                let view = self.view(plan, &recorder.picture(), elapsed);
                let parts: Vec<&str> = view.lines().map(|line| line.trim()).collect();
                self.say(&parts.join("; ").split_whitespace().collect::<Vec<_>>().join(" "));
            }
            tokio::select! {
                made = &mut making => return made,
                now = frames.tick() => elapsed = now.saturating_duration_since(begun),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{Dues, Load},
        result::Mode,
        run::CallsSoFar,
    };

    #[test]
    fn b1_the_live_view_shows_calls_answers_headquarters_and_stores() {
        let load = Load {
            per_s: 80.0,
            speedup: None,
            warmup: Duration::ZERO,
            measured: Duration::from_secs(10),
            dues: Dues::Constant,
            channels: 2,
        };
        let plan = Plan { number: 2, mode: Mode::Async, load, repeat: 1, dues: Default::default() };
        let picture = Picture {
            calls: CallsSoFar { acknowledged: 300, failed: 1, in_flight: 4 },
            p50_ms: Some(1.5),
            p99_ms: None,
            queue: 7,
            busy: Some(0.25),
            pending: 30,
            oldest: Some(Duration::from_millis(1_500)),
        };
        let view = Progress::new(true, Some(12)).view(&plan, &picture, Duration::from_secs(4));
        for shown in [
            "run 3/12: async at 80/s   6 s left",
            "300 done (75/s), 1 failed, 4 under way",
            "p50 1.5 ms, p99 -",
            "25 % busy, 7 waiting",
            "30 pending, the oldest for 1.5 s",
        ] {
            assert!(view.contains(shown), "{shown}: {view}");
        }
    }
}
