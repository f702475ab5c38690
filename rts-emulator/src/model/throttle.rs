//! Throttling by what each channel has used in a sliding window, and by how busy headquarters is.

use std::collections::{VecDeque, hash_map::Entry};

use super::{
    Nanos, Throttled,
    draw::{ChannelKey, HashedMap},
    waiting::CLASSES,
};

/// Steps in which the window slides.
const STEPS: u64 = 300;
/// Most channels that are told apart, each with at most [`STEPS`] entries of 24 bytes. At the bound those that
/// have used nothing for a window are forgotten; if there is none, further channels share what one may use.
const MAX_CHANNELS: usize = 10_000;
/// Hints are in whole seconds, as a Retry-After header has them.
const SECOND: Nanos = 1_000_000_000;

/// What a profile says about it. What is absent is [`u64::MAX`], or for the classes more than 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) window: Nanos,
    pub(super) requests: u64,
    pub(super) execution: Nanos,
    pub(super) concurrent: u64,
    /// The share of busy workers from which on each class is refused.
    pub(super) busy: [f64; CLASSES],
}

pub(super) struct Throttle {
    bounds: Bounds,
    step: Nanos,
    channels: HashedMap<ChannelKey, Usage>,
    shared: Usage,
}

/// What a channel has used.
#[derive(Default)]
struct Usage {
    /// Number of a step, and what was used in it: calls and worker time.
    steps: VecDeque<(u64, u64, Nanos)>,
    requests: u64,
    execution: Nanos,
    under_way: u64,
    /// When the last hint said to come again.
    hinted: Nanos,
    /// How often somebody has come earlier since a call was let in.
    ignored: u32,
}

impl Throttle {
    pub(super) fn new(bounds: Bounds) -> Self {
        let step = (bounds.window / STEPS).max(1);
        Self { bounds, step, channels: HashedMap::default(), shared: Usage::default() }
    }

    /// Lets a call in, or says why not and when to come again. One that was let in has to be let out.
    pub(super) fn check(
        &mut self,
        now: Nanos,
        channel: ChannelKey,
        class: u8,
        busy: f64,
    ) -> Result<(), (Throttled, Nanos)> {
        let (bounds, step) = (self.bounds, self.step);
        let usage = self.usage(now, channel);
        usage.forget(now / step);
        let because = if usage.requests >= bounds.requests {
            let hint = usage.until(now, step, |requests, _| usage.requests - requests < bounds.requests);
            Some((Throttled::Requests, hint))
        } else if usage.execution >= bounds.execution {
            let hint = usage.until(now, step, |_, execution| usage.execution - execution < bounds.execution);
            Some((Throttled::Execution, hint))
        } else if usage.under_way >= bounds.concurrent {
            Some((Throttled::Concurrent, SECOND))
        } else if busy >= bounds.busy[usize::from(class).min(CLASSES - 1)] {
            Some((Throttled::Priority, SECOND))
        } else {
            None
        };
        let Some((because, hint)) = because else {
            usage.add(now / step, 1, 0);
            (usage.under_way, usage.ignored) = (usage.under_way + 1, 0);
            return Ok(());
        };
        if now < usage.hinted {
            usage.ignored = (usage.ignored + 1).min(32);
        }
        let hint = hint.div_ceil(SECOND).saturating_mul(SECOND).saturating_mul(1 << usage.ignored);
        let hint = hint.min(bounds.window.max(SECOND));
        usage.hinted = now.saturating_add(hint);
        Err((because, hint))
    }

    /// A call that was let in has ended, after a worker has spent so much time on it.
    pub(super) fn ended(&mut self, now: Nanos, channel: ChannelKey, execution: Nanos) {
        let step = self.step;
        let usage = self.usage(now, channel);
        usage.under_way = usage.under_way.saturating_sub(1);
        usage.add(now / step, 0, execution);
    }

    fn usage(&mut self, now: Nanos, channel: ChannelKey) -> &mut Usage {
        if self.channels.len() >= MAX_CHANNELS && !self.channels.contains_key(&channel) {
            let step = now / self.step;
            self.channels.retain(|_, usage| {
                usage.forget(step);
                usage.under_way > 0 || !usage.steps.is_empty()
            });
            if self.channels.len() >= MAX_CHANNELS {
                return &mut self.shared;
            }
        }
        match self.channels.entry(channel) {
            Entry::Occupied(usage) => usage.into_mut(),
            Entry::Vacant(place) => place.insert(Usage::default()),
        }
    }
}

impl Usage {
    fn add(&mut self, step: u64, requests: u64, execution: Nanos) {
        (self.requests, self.execution) =
            (self.requests + requests, self.execution.saturating_add(execution));
        match self.steps.back_mut() {
            Some(last) if last.0 == step => {
                (last.1, last.2) = (last.1 + requests, last.2.saturating_add(execution))
            }
            _ => self.steps.push_back((step, requests, execution)),
        }
    }

    /// Drops what was used before the window that ends with a step.
    fn forget(&mut self, step: u64) {
        while let Some(&(first, requests, execution)) = self.steps.front()
            && first + STEPS <= step
        {
            self.steps.pop_front();
            (self.requests, self.execution) =
                (self.requests - requests, self.execution.saturating_sub(execution));
        }
    }

    /// How long it is until enough of what was used is forgotten: `enough` of calls and worker time.
    fn until(&self, now: Nanos, step: Nanos, enough: impl Fn(u64, Nanos) -> bool) -> Nanos {
        let mut gone = (0, 0);
        for &(number, requests, execution) in &self.steps {
            gone = (gone.0 + requests, gone.1 + execution);
            if enough(gone.0, gone.1.min(self.execution)) {
                return ((number + STEPS) * step).saturating_sub(now);
            }
        }
        step * STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: u64 = u64::MAX;

    fn bounds() -> Bounds {
        Bounds { window: 300 * SECOND, requests: ANY, execution: ANY, concurrent: ANY, busy: [2.0; CLASSES] }
    }

    fn channel(name: &str) -> ChannelKey {
        ChannelKey::of(name)
    }

    #[test]
    fn r2_requests_count_for_a_window_that_slides() {
        let mut throttle = Throttle::new(Bounds { requests: 6_000, ..bounds() });
        // 30 a second: the 6,000 are used up after 200 s.
        for n in 0..6_000 {
            assert_eq!(throttle.check(n * SECOND / 30, channel("a"), 0, 0.0), Ok(()), "{n}");
        }
        let refused = throttle.check(200 * SECOND, channel("a"), 0, 0.0);
        assert_eq!(refused, Err((Throttled::Requests, 100 * SECOND)), "when the first second is forgotten");
        assert_eq!(throttle.check(200 * SECOND, channel("b"), 0, 0.0), Ok(()), "others are not concerned");
        let passed = (0..60).filter(|_| throttle.check(300 * SECOND, channel("a"), 0, 0.0).is_ok()).count();
        assert_eq!(passed, 30);
    }

    #[test]
    fn r2_a_hint_that_is_ignored_grows_and_one_that_is_kept_does_not() {
        let mut throttle = Throttle::new(Bounds { concurrent: 1, ..bounds() });
        assert_eq!(throttle.check(0, channel("a"), 0, 0.0), Ok(()));
        let mut hint = |at| throttle.check(at * SECOND, channel("a"), 0, 0.0).unwrap_err().1 / SECOND;
        assert_eq!([hint(1), hint(2), hint(3)], [1, 1, 1], "each came when it was told to");
        let ignored: Vec<u64> = (0..12).map(|_| hint(3)).collect();
        assert_eq!(ignored, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300], "at most the window");
        throttle.ended(4 * SECOND, channel("a"), SECOND);
        assert_eq!(throttle.check(4 * SECOND, channel("a"), 0, 0.0), Ok(()), "a hint is no ban");
        assert_eq!(
            throttle.check(500 * SECOND, channel("a"), 0, 0.0).unwrap_err().1,
            SECOND,
            "and is forgotten"
        );
    }

    #[test]
    fn r2_worker_time_counts_when_it_has_been_spent() {
        let mut throttle = Throttle::new(Bounds { execution: 1_200 * SECOND, ..bounds() });
        for at in 0..12 {
            assert_eq!(throttle.check(at * SECOND, channel("a"), 0, 0.0), Ok(()));
            throttle.ended(at * SECOND, channel("a"), 100 * SECOND);
        }
        let refused = throttle.check(100 * SECOND, channel("a"), 0, 0.0);
        assert_eq!(refused, Err((Throttled::Execution, 200 * SECOND)));
        assert_eq!(throttle.check(300 * SECOND, channel("a"), 0, 0.0), Ok(()));
    }

    #[test]
    fn r2_a_busy_headquarters_refuses_the_lower_classes() {
        let mut busy = [2.0; CLASSES];
        (busy[1], busy[2]) = (0.9, 0.7);
        let mut throttle = Throttle::new(Bounds { busy, ..bounds() });
        let mut passes = |class, busy| throttle.check(0, channel("a"), class, busy).is_ok();
        assert_eq!(
            [passes(2, 0.6), passes(2, 0.7), passes(1, 0.7), passes(1, 0.9), passes(0, 1.0)],
            [true, false, true, false, true]
        );
    }

    #[test]
    fn z3_channels_beyond_the_bound_share_one_usage() {
        let mut throttle = Throttle::new(Bounds { requests: 1, ..bounds() });
        for n in 0..MAX_CHANNELS {
            assert_eq!(throttle.check(0, channel(&n.to_string()), 0, 0.0), Ok(()));
            throttle.ended(0, channel(&n.to_string()), 0);
        }
        assert_eq!(throttle.check(0, channel("x"), 0, 0.0), Ok(()));
        assert!(throttle.check(0, channel("y"), 0, 0.0).is_err(), "shares with x");
        assert_eq!(throttle.check(301 * SECOND, channel("y"), 0, 0.0), Ok(()));
        assert!(throttle.channels.len() <= MAX_CHANNELS);
    }
}
