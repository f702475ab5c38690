//! Work, done at the pace of the moment. Every call that is being worked on has some work left, measured in the
//! nanoseconds that it would take if the call were alone. All calls progress alike: by `1 / slowness` of a
//! nanosecond of work in a nanosecond (the Universal Scalability Law and the slow start say how slow). So the
//! order in which they end never changes, and it takes one number, the work that each has been able to do so
//! far, to know who is next and when.
//!
//! Without slowness work is time, and everything is exact. With it, each change of pace rounds by less than a
//! nanosecond.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{CallId, Nanos, draw::Key};

pub(super) struct Pace {
    /// When the pace last changed, and how much work each call could have done until then.
    since: Nanos,
    done: Nanos,
    /// How many times as long as alone everything takes; at least 1.
    slowness: f64,
    /// By the work at which they end.
    ends: BinaryHeap<Reverse<(Nanos, Key, CallId)>>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { since: 0, done: 0, slowness: 1.0, ends: BinaryHeap::new() }
    }

    /// Work on a call begins, so much.
    pub(super) fn begin(&mut self, now: Nanos, work: Nanos, key: Key, id: CallId) {
        self.ends.push(Reverse((self.done_at(now).saturating_add(work), key, id)));
    }

    /// When the next work ends, at the pace of now.
    pub(super) fn next(&self) -> Option<Nanos> {
        let Reverse((end, ..)) = self.ends.peek()?;
        let left = end.saturating_sub(self.done);
        Some(self.since.saturating_add(if self.is_alone() { left } else { stretched(left, self.slowness) }))
    }

    /// Whose work that is.
    pub(super) fn pop(&mut self) -> Option<CallId> {
        self.ends.pop().map(|Reverse((.., id))| id)
    }

    /// The pace from now on.
    pub(super) fn set(&mut self, now: Nanos, slowness: f64) {
        if (slowness - self.slowness).abs() > f64::EPSILON {
            (self.done, self.since, self.slowness) = (self.done_at(now), now, slowness.max(1.0));
        }
    }

    fn done_at(&self, now: Nanos) -> Nanos {
        let elapsed = now.saturating_sub(self.since);
        self.done.saturating_add(if self.is_alone() {
            elapsed
        } else {
            stretched(elapsed, 1.0 / self.slowness)
        })
    }

    fn is_alone(&self) -> bool {
        self.slowness <= 1.0
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
fn stretched(time: Nanos, by: f64) -> Nanos {
    (time as f64 * by).round() as Nanos
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Call, draw::Keys},
        profile::Method,
    };

    #[test]
    fn work_is_done_at_the_pace_of_the_moment() {
        let mut pace = Pace::new();
        let key = Keys::new(1).once(&Call { channel: "", method: Method::Get, subject: b"" });
        let id = CallId::nth(0);
        pace.begin(100, 1_000, key, id);
        assert_eq!(pace.next(), Some(1_100));
        pace.set(600, 2.0);
        assert_eq!(pace.next(), Some(1_600), "half of it is left, at half the pace");
        pace.begin(800, 300, key, id);
        assert_eq!(pace.next(), Some(1_400), "the shorter work ends first");
        pace.pop();
        pace.set(1_400, 4.0);
        assert_eq!(pace.next(), Some(1_800), "100 are left of the longer");
        pace.set(1_600, 1.0);
        assert_eq!(pace.next(), Some(1_650));
    }
}
