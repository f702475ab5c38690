//! Notices that something waits and nothing moves (rule X10). It is shown the progress, which its owner reads from
//! the tables, and the time; it has neither of its own.

use std::time::Duration;

use tokio::time::Instant;

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Something has moved, or nothing waits.
    Well,
    /// Something waits and nothing has moved for the limit.
    Stalled {
        /// When something last moved, in wall-clock micros.
        since: i64,
        /// The limit has passed once more since the last restart: time for another.
        again: bool,
    },
}

/// The watchdog of one loop.
#[derive(Debug)]
pub struct Watchdog<P> {
    limit: Duration,
    last: Option<P>,
    moved_at: (Instant, i64),
    restarted_at: Instant,
}

impl<P: PartialEq> Watchdog<P> {
    /// A watchdog that gives something this long to move, from now on.
    #[must_use]
    pub fn new(limit: Duration, now: Instant, wall_micros: i64) -> Self {
        Self { limit, last: None, moved_at: (now, wall_micros), restarted_at: now }
    }

    /// Looks at how far the loop is and whether anything waits for it.
    pub fn look(&mut self, progress: P, waiting: bool, now: Instant, wall_micros: i64) -> Look {
        if !waiting || self.last.as_ref() != Some(&progress) {
            self.last = Some(progress);
            self.moved_at = (now, wall_micros);
            self.restarted_at = now;
            return Look::Well;
        }
        let (moved, since) = self.moved_at;
        if now.saturating_duration_since(moved) < self.limit {
            return Look::Well;
        }
        let again = now.saturating_duration_since(self.restarted_at) >= self.limit;
        if again {
            self.restarted_at = now;
        }
        Look::Stalled { since, again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn x10_what_waits_and_does_not_move_is_noticed_and_started_anew_at_each_limit() {
        let start = SystemClock.now();
        let mut watchdog = Watchdog::new(Duration::from_secs(10), start, 0);
        let mut look = |progress: u64, waiting, second: u64| {
            watchdog.look(
                progress,
                waiting,
                start + Duration::from_secs(second),
                1_000_000 * second.cast_signed(),
            )
        };
        assert_eq!(look(1, true, 5), Look::Well);
        assert_eq!(look(1, true, 14), Look::Well);
        assert_eq!(look(1, true, 15), Look::Stalled { since: 5_000_000, again: true });
        assert_eq!(look(1, true, 16), Look::Stalled { since: 5_000_000, again: false });
        assert_eq!(look(1, true, 25), Look::Stalled { since: 5_000_000, again: true });
        assert_eq!(look(2, true, 26), Look::Well, "it moves");
        assert_eq!(look(2, false, 60), Look::Well, "nothing waits");
        assert_eq!(look(2, true, 61), Look::Well, "what waits has just come");
        assert_eq!(look(2, true, 70), Look::Stalled { since: 60_000_000, again: true });
    }
}
