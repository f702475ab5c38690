//! Outages: by schedule, and by command.

use super::Nanos;

/// A scheduled outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// First start, after the profile came into force.
    pub(super) start: Nanos,
    pub(super) duration: Nanos,
    /// From start to start.
    pub(super) repeat: Option<Nanos>,
}

impl Window {
    /// How many repeats have begun at `at`, and when the last of them did; `None` before the first.
    fn last_start(self, at: Nanos) -> Option<Nanos> {
        let since = at.checked_sub(self.start)?;
        Some(self.repeat.map_or(self.start, |repeat| at - since % repeat))
    }

    fn covers(self, at: Nanos) -> bool {
        self.last_start(at).is_some_and(|start| at - start < self.duration)
    }

    fn next_start(self, at: Nanos) -> Option<Nanos> {
        match (self.last_start(at), self.repeat) {
            (None, _) => Some(self.start),
            (Some(last), Some(repeat)) => Some(last.saturating_add(repeat)),
            (Some(_), None) => None,
        }
    }
}

/// When headquarters is out. Starts are included, ends are not.
#[derive(Debug)]
pub(super) struct Outages {
    windows: Vec<Window>,
    /// When the schedule began.
    origin: Nanos,
    /// End of the outage by command.
    commanded_until: Nanos,
}

impl Outages {
    pub(super) fn new(windows: Vec<Window>) -> Self {
        Self { windows, origin: 0, commanded_until: 0 }
    }

    /// Another schedule, from `now` on. An outage by command goes on.
    pub(super) fn reschedule(&mut self, windows: Vec<Window>, now: Nanos) {
        self.windows = windows;
        self.origin = now;
    }

    /// An outage by command, until the given instant. `now` or earlier ends it.
    pub(super) fn command_until(&mut self, until: Nanos) {
        self.commanded_until = until;
    }

    pub(super) fn ongoing(&self, at: Nanos) -> bool {
        at < self.commanded_until || self.windows.iter().any(|w| w.covers(at.saturating_sub(self.origin)))
    }

    /// The next scheduled start after `at`.
    pub(super) fn next_start(&self, at: Nanos) -> Option<Nanos> {
        let since = at.saturating_sub(self.origin);
        let next = self.windows.iter().filter_map(|window| window.next_start(since)).min();
        next.map(|next| next.saturating_add(self.origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2_a_schedule_starts_ends_and_repeats() {
        let mut outages = Outages::new(vec![
            Window { start: 10, duration: 5, repeat: Some(100) },
            Window { start: 50, duration: 1, repeat: None },
        ]);
        let out: Vec<Nanos> = (0..220).filter(|at| outages.ongoing(*at)).collect();
        assert_eq!(out, [10, 11, 12, 13, 14, 50, 110, 111, 112, 113, 114, 210, 211, 212, 213, 214]);
        assert_eq!(outages.next_start(0), Some(10));
        assert_eq!(outages.next_start(10), Some(50));
        assert_eq!(outages.next_start(50), Some(110));
        outages.reschedule(vec![Window { start: 10, duration: 5, repeat: None }], 1_000);
        assert!(!outages.ongoing(1_009) && outages.ongoing(1_010) && !outages.ongoing(1_015));
        assert_eq!(outages.next_start(1_010), None);
    }

    #[test]
    fn r6_an_outage_by_command_lasts_until_its_end() {
        let mut outages = Outages::new(Vec::new());
        outages.command_until(20);
        assert!(outages.ongoing(19) && !outages.ongoing(20));
        outages.command_until(0);
        assert!(!outages.ongoing(19));
    }
}
