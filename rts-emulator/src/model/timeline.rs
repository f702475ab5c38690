//! What comes and goes by itself: outages, by schedule and by command; batches that take workers; the slow start
//! after an outage.

use super::Nanos;

/// Steps in which a slow start warms up.
const STEPS: u64 = 32;

/// A stretch of time that may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// First start, after the profile came into force.
    pub(super) start: Nanos,
    pub(super) duration: Nanos,
    /// From start to start.
    pub(super) repeat: Option<Nanos>,
}

impl Window {
    /// When the last one began at or before `at`; `None` before the first.
    fn last_start(self, at: Nanos) -> Option<Nanos> {
        let since = at.checked_sub(self.start)?;
        Some(self.repeat.map_or(self.start, |repeat| at - since % repeat))
    }

    fn covers(self, at: Nanos) -> bool {
        self.last_start(at).is_some_and(|start| at - start < self.duration)
    }

    /// The next start or end after `at`.
    fn next_change(self, at: Nanos) -> Option<Nanos> {
        let Some(last) = self.last_start(at) else { return Some(self.start) };
        let end = last.saturating_add(self.duration);
        if at < end { Some(end) } else { self.repeat.map(|repeat| last.saturating_add(repeat)) }
    }
}

/// What a profile says about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) outages: Vec<Window>,
    /// Each with the workers it takes.
    pub(super) batches: Vec<(Window, u32)>,
    /// Duration, and how many times as long everything takes at first.
    pub(super) slow_start: Option<(Nanos, f64)>,
}

/// What is so at the present instant. Starts are included, ends are not.
#[derive(Debug)]
pub(super) struct Timeline {
    plan: Plan,
    /// When the plan began.
    origin: Nanos,
    /// End of the outage by command.
    commanded_until: Nanos,
    /// Workers taken by command.
    occupied: u32,
    /// When the last outage ended, if there is a slow start.
    warming_since: Option<Nanos>,
    out: bool,
    taken: u32,
    warmth: f64,
    next: Option<Nanos>,
}

impl Timeline {
    pub(super) fn new(plan: Plan) -> Self {
        let mut timeline = Self {
            plan,
            origin: 0,
            commanded_until: 0,
            occupied: 0,
            warming_since: None,
            out: false,
            taken: 0,
            warmth: 1.0,
            next: None,
        };
        timeline.pass(0);
        timeline
    }

    /// Another plan, from `now` on. What was commanded goes on.
    pub(super) fn replan(&mut self, plan: Plan, now: Nanos) {
        (self.plan, self.origin) = (plan, now);
        self.pass(now);
    }

    /// An outage by command, until the given instant. `now` or earlier ends it.
    pub(super) fn command_outage(&mut self, until: Nanos, now: Nanos) {
        self.commanded_until = until;
        self.pass(now);
    }

    /// So many workers are taken, until another number is given.
    pub(super) fn occupy(&mut self, workers: u32, now: Nanos) {
        self.occupied = workers;
        self.pass(now);
    }

    /// Whether headquarters is out.
    pub(super) fn is_out(&self) -> bool {
        self.out
    }

    /// Workers that serve no calls.
    pub(super) fn taken(&self) -> u32 {
        self.taken
    }

    /// How many times as long everything takes because it is cold.
    pub(super) fn slowness(&self) -> f64 {
        self.warmth
    }

    /// When something changes next; then [`Timeline::pass`] has to be called.
    pub(super) fn next_change(&self) -> Option<Nanos> {
        self.next
    }

    /// Looks at what is so at `now`.
    pub(super) fn pass(&mut self, now: Nanos) {
        let at = now.saturating_sub(self.origin);
        let out = now < self.commanded_until || self.plan.outages.iter().any(|window| window.covers(at));
        if self.out && !out {
            self.warming_since = Some(now);
        }
        self.out = out;
        let batches = self.plan.batches.iter().filter(|(window, _)| window.covers(at));
        self.taken = batches.fold(self.occupied, |sum, (_, workers)| sum.saturating_add(*workers));
        let step = self.warm_up(now);
        let windows = self.plan.outages.iter().chain(self.plan.batches.iter().map(|(window, _)| window));
        let planned = windows.filter_map(|window| window.next_change(at)).min();
        let commanded = Some(self.commanded_until).filter(|until| *until > now && *until < Nanos::MAX);
        self.next =
            [planned.map(|at| at.saturating_add(self.origin)), commanded, step].into_iter().flatten().min();
    }

    /// The warmth of now; gives when it changes next.
    fn warm_up(&mut self, now: Nanos) -> Option<Nanos> {
        self.warmth = 1.0;
        let (duration, factor) = self.plan.slow_start?;
        let since = self.warming_since?;
        let step = duration.div_ceil(STEPS).max(1);
        let passed = now.saturating_sub(since) / step;
        if passed >= STEPS {
            self.warming_since = None;
            return None;
        }
        let cold = (STEPS - passed) as f64 / STEPS as f64;
        self.warmth = (factor - 1.0).mul_add(cold, 1.0);
        Some(since.saturating_add(step.saturating_mul(passed + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: Nanos, duration: Nanos, repeat: Option<Nanos>) -> Window {
        Window { start, duration, repeat }
    }

    /// Passes from change to change, and gives the instants.
    fn changes(timeline: &mut Timeline, until: Nanos) -> Vec<Nanos> {
        let mut seen = Vec::new();
        while let Some(next) = timeline.next_change().filter(|next| *next < until) {
            timeline.pass(next);
            seen.push(next);
        }
        seen
    }

    #[test]
    fn r2_outages_start_end_and_repeat() {
        let outages = vec![window(10, 5, Some(100)), window(50, 1, None)];
        let mut timeline = Timeline::new(Plan { outages, ..Plan::default() });
        let mut out = Vec::new();
        for at in 0..220 {
            timeline.pass(at);
            if timeline.is_out() {
                out.push(at);
            }
        }
        assert_eq!(out, [10, 11, 12, 13, 14, 50, 110, 111, 112, 113, 114, 210, 211, 212, 213, 214]);
        let again = vec![window(10, 5, None)];
        timeline.replan(Plan { outages: again, ..Plan::default() }, 1_000);
        assert_eq!(changes(&mut timeline, Nanos::MAX), [1_010, 1_015]);
    }

    #[test]
    fn r6_an_outage_by_command_lasts_until_its_end() {
        let mut timeline = Timeline::new(Plan::default());
        timeline.command_outage(20, 5);
        assert!(timeline.is_out());
        assert_eq!(changes(&mut timeline, Nanos::MAX), [20]);
        assert!(!timeline.is_out());
        timeline.command_outage(Nanos::MAX, 30);
        assert_eq!(timeline.next_change(), None);
        timeline.command_outage(0, 40);
        assert!(!timeline.is_out());
    }

    #[test]
    fn r2_batches_take_workers_and_may_overlap() {
        let batches = vec![(window(10, 20, None), 2), (window(20, 5, Some(50)), 3)];
        let mut timeline = Timeline::new(Plan { batches, ..Plan::default() });
        let mut taken = Vec::new();
        while let Some(next) = timeline.next_change().filter(|next| *next < 80) {
            timeline.pass(next);
            taken.push((next, timeline.taken()));
        }
        assert_eq!(taken, [(10, 2), (20, 5), (25, 2), (30, 0), (70, 3), (75, 0)]);
        timeline.occupy(7, 76);
        assert_eq!(timeline.taken(), 7);
    }

    #[test]
    fn r2_after_an_outage_everything_warms_up_in_steps() {
        let plan =
            Plan { outages: vec![window(0, 100, None)], slow_start: Some((3_200, 5.0)), ..Plan::default() };
        let mut timeline = Timeline::new(plan);
        assert!((timeline.slowness() - 1.0).abs() < 1e-12);
        timeline.pass(100);
        assert!((timeline.slowness() - 5.0).abs() < 1e-12);
        timeline.pass(1_700);
        assert!((timeline.slowness() - 3.0).abs() < 1e-12, "{}", timeline.slowness());
        assert_eq!(timeline.next_change(), Some(1_800));
        assert_eq!(changes(&mut timeline, Nanos::MAX).last(), Some(&3_300));
        assert!((timeline.slowness() - 1.0).abs() < 1e-12);
    }
}
