//! Counts what happens in a run, measured or simulated. Instants count from the start of the load. What was counted
//! apart, by several generators or in repetitions, is merged.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    result::{Paths, Slice},
    stats::Durations,
};

/// A slice of a run is about this long: long enough to hold some creates.
const SLICE: Duration = Duration::from_millis(250);
/// Misses of the goal with no more slices without one between them belong together.
const APART: usize = 2;
/// Most slices of a run.
const MAX_SLICES: u32 = 60;

/// From when to when a run is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When the load has gone on for a while.
    pub start: Duration,
    /// When it ends.
    pub end: Duration,
}

impl Window {
    /// Whether an instant is in it.
    #[must_use]
    pub fn holds(&self, at: Duration) -> bool {
        self.start <= at && at < self.end
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// How a create was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path<'a> {
    /// By one call to headquarters.
    Sync,
    /// By its store.
    Async,
    /// By its store, after headquarters had failed with this status.
    Fallback(&'a str),
    /// It was not said.
    Other,
}

/// Where the time of a create went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Waiting for a worker at headquarters.
    pub queue: Duration,
    /// With a worker at headquarters.
    pub service: Duration,
    /// On the way between channel and headquarters.
    pub link: Duration,
}

/// Where the time of the creates went that headquarters made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Waiting for a worker at headquarters.
    pub queue: Durations,
    /// With a worker at headquarters.
    pub service: Durations,
    /// On the way between channel and headquarters.
    pub link: Durations,
    /// In the channel, on the way to it, and before it was sent.
    pub channel: Durations,
}

/// The counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counts {
    /// What counts.
    pub window: Window,
    /// Creates that are acknowledged within this time are counted apart.
    pub goal: Duration,
    /// How many of the arrivals were.
    pub within_goal: u64,
    /// Creates that were due in the window and ended.
    pub arrivals: u64,
    /// Acknowledgements that came back in the window.
    pub completed: u64,
    /// The acknowledged arrivals, by the way they went.
    pub paths: Paths,
    /// The failed arrivals, by status.
    pub errors: BTreeMap<String, u64>,
    /// Why fallbacks were needed, by status.
    pub causes: BTreeMap<String, u64>,
    /// From due to acknowledged.
    pub latency: Durations,
    /// From due to failed.
    pub failures: Durations,
    /// From due to sent.
    pub late: Durations,
    /// Most calls under way at once.
    pub in_flight_max: u64,
    /// From due to answered, of an empty call.
    pub yardstick: Durations,
    /// From due to answered, of the probe.
    pub probe: Durations,
    /// Probe calls that failed, by status.
    pub probe_errors: BTreeMap<String, u64>,
    /// Where the time went.
    pub phases: Phases,
    slices: Vec<Counted>,
}

/// What was counted in a slice of the window.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Counted {
    arrivals: u64,
    completed: u64,
    failed: u64,
    within_goal: u64,
    latency: Durations,
}

impl Counts {
    /// Nothing yet.
    #[must_use]
    pub fn new(window: Window, goal: Duration) -> Self {
        let length = window.length();
        let slices = (length.as_nanos() / SLICE.as_nanos()).clamp(1, MAX_SLICES.into()) as usize;
        let slice =
            Counted { arrivals: 0, completed: 0, failed: 0, within_goal: 0, latency: Durations::coarse() };
        Self {
            window,
            goal,
            within_goal: 0,
            arrivals: 0,
            completed: 0,
            paths: Paths::default(),
            errors: BTreeMap::new(),
            causes: BTreeMap::new(),
            latency: Durations::default(),
            failures: Durations::default(),
            late: Durations::default(),
            in_flight_max: 0,
            yardstick: Durations::default(),
            probe: Durations::default(),
            probe_errors: BTreeMap::new(),
            phases: Phases::default(),
            slices: vec![slice; slices],
        }
    }

    /// A call left at `sent` that was due at `due`.
    pub fn left(&mut self, due: Duration, sent: Duration) {
        if self.window.holds(due) {
            self.late.record(sent.saturating_sub(due));
        }
    }

    /// A create that was due at `due` ended at `now`: acknowledged, or with the name of a status.
    pub fn create(&mut self, due: Duration, now: Duration, outcome: Result<Path<'_>, &str>) {
        if outcome.is_ok() && self.window.holds(now) {
            self.completed += 1;
            self.slice(now).completed += 1;
        }
        if !self.window.holds(due) {
            return;
        }
        self.arrivals += 1;
        let (took, goal) = (now.saturating_sub(due), self.goal);
        let slice = self.slice(due);
        slice.arrivals += 1;
        match outcome {
            Err(code) => {
                slice.failed += 1;
                self.failures.record(took);
                count(&mut self.errors, code);
            }
            Ok(path) => {
                slice.latency.record(took);
                slice.within_goal += u64::from(took <= goal);
                self.within_goal += u64::from(took <= goal);
                self.latency.record(took);
                match path {
                    Path::Sync => self.paths.sync += 1,
                    Path::Async => self.paths.asynchronous += 1,
                    Path::Other => self.paths.other += 1,
                    Path::Fallback(cause) => {
                        self.paths.async_fallback += 1;
                        count(&mut self.causes, cause);
                    }
                }
            }
        }
    }

    /// Where the time of a create went that was due at `due` and acknowledged at `now`.
    pub fn spent(&mut self, due: Duration, now: Duration, spent: Spent) {
        if self.window.holds(due) {
            let Spent { queue, service, link } = spent;
            self.phases.queue.record(queue);
            self.phases.service.record(service);
            self.phases.link.record(link);
            self.phases.channel.record(now.saturating_sub(due).saturating_sub(queue + service + link));
        }
    }

    /// An empty call that was due at `due` was answered at `now`.
    pub fn yardstick(&mut self, due: Duration, now: Duration) {
        if self.window.holds(due) {
            self.yardstick.record(now.saturating_sub(due));
        }
    }

    /// A probe that was due at `due` ended at `now`.
    pub fn probe(&mut self, due: Duration, now: Duration, outcome: Result<(), &str>) {
        if !self.window.holds(due) {
            return;
        }
        match outcome {
            Ok(()) => self.probe.record(now.saturating_sub(due)),
            Err(code) => count(&mut self.probe_errors, code),
        }
    }

    /// Adds what another generator has counted at the same time, in a window of the same length.
    pub fn add(&mut self, other: &Self) {
        self.within_goal += other.within_goal;
        self.arrivals += other.arrivals;
        self.completed += other.completed;
        self.paths = self.paths + other.paths;
        self.in_flight_max += other.in_flight_max;
        for (own, others) in [
            (&mut self.errors, &other.errors),
            (&mut self.causes, &other.causes),
            (&mut self.probe_errors, &other.probe_errors),
        ] {
            others.iter().for_each(|(name, count)| *own.entry(name.clone()).or_default() += count);
        }
        for (own, others) in [
            (&mut self.latency, &other.latency),
            (&mut self.failures, &other.failures),
            (&mut self.late, &other.late),
            (&mut self.yardstick, &other.yardstick),
            (&mut self.probe, &other.probe),
            (&mut self.phases.queue, &other.phases.queue),
            (&mut self.phases.service, &other.phases.service),
            (&mut self.phases.link, &other.phases.link),
            (&mut self.phases.channel, &other.phases.channel),
        ] {
            own.add(others);
        }
        for (own, others) in self.slices.iter_mut().zip(&other.slices) {
            own.arrivals += others.arrivals;
            own.completed += others.completed;
            own.failed += others.failed;
            own.within_goal += others.within_goal;
            own.latency.add(&others.latency);
        }
    }

    /// The window in slices, of which the last to have begun before `end` is the last.
    #[must_use]
    pub fn slices(&self, repeat: u32, end: Duration) -> Vec<Slice> {
        let length = self.slice_length();
        let slices = self.slices.iter().enumerate().map(|(place, slice)| {
            let at = length * u32::try_from(place).unwrap_or(u32::MAX);
            (at, slice)
        });
        let begun = slices.take_while(|(at, _)| self.window.start + *at < end);
        begun
            .map(|(at, slice)| Slice {
                repeat,
                at_s: at.as_secs_f64(),
                seconds: length.min(end.saturating_sub(self.window.start + at)).as_secs_f64(),
                arrivals: slice.arrivals,
                completed: slice.completed,
                failed: slice.failed,
                p50_ms: slice.latency.quantile_ms(0.5),
                p90_ms: slice.latency.quantile_ms(0.9),
                p99_ms: slice.latency.quantile_ms(0.99),
                max_ms: slice.latency.max_ms(),
            })
            .collect()
    }

    /// How many creates missed the goal together, of each time that some did: in slices of which no more than
    /// [`APART`] between two are without a miss.
    #[must_use]
    pub fn clusters(&self) -> Vec<u64> {
        let mut clusters: Vec<u64> = Vec::new();
        let mut since = usize::MAX;
        for slice in &self.slices {
            match slice.arrivals - slice.within_goal {
                0 => since = since.saturating_add(1),
                missed => {
                    match clusters.last_mut() {
                        Some(cluster) if since <= APART => *cluster += missed,
                        _ => clusters.push(missed),
                    }
                    since = 0;
                }
            }
        }
        clusters
    }

    fn slice_length(&self) -> Duration {
        self.window.length() / u32::try_from(self.slices.len()).unwrap_or(u32::MAX).max(1)
    }

    /// The slice of an instant that is in the window.
    fn slice(&mut self, at: Duration) -> &mut Counted {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let place = nanos(at.saturating_sub(self.window.start)) / nanos(self.slice_length()).max(1);
        let last = self.slices.len() - 1;
        &mut self.slices[usize::try_from(place).unwrap_or(last).min(last)]
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    // Most are there already: no name is made for those.
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn counts() -> Counts {
        Counts::new(Window { start: at(100), end: at(1_100) }, at(90))
    }

    #[test]
    fn b2_latency_counts_from_the_due_instant_and_only_the_window_counts() {
        let mut counts = counts();
        // Due in the warm-up, answered in the window: throughput, not latency.
        counts.create(at(50), at(150), Ok(Path::Sync));
        // Due in the window; sent late, which does not hide.
        counts.left(at(200), at(600));
        counts.create(at(200), at(700), Ok(Path::Fallback("UNAVAILABLE")));
        counts.create(at(300), at(400), Err("RESOURCE_EXHAUSTED"));
        // Due in the window, answered after it: latency, not throughput.
        counts.create(at(1_000), at(2_000), Ok(Path::Async));
        counts.probe(at(500), at(540), Ok(()));
        counts.probe(at(600), at(640), Err("UNAVAILABLE"));
        assert_eq!((counts.arrivals, counts.completed, counts.within_goal), (3, 2, 0));
        assert_eq!((counts.latency.count(), counts.failures.count()), (2, 1));
        assert!((counts.latency.quantile_ms(0.5).unwrap() - 500.0).abs() < 1.0);
        assert!((counts.late.quantile_ms(0.99).unwrap() - 400.0).abs() < 1.0);
        assert_eq!(counts.paths, Paths { sync: 0, asynchronous: 1, async_fallback: 1, other: 0 });
        assert_eq!(counts.causes, BTreeMap::from([("UNAVAILABLE".to_owned(), 1)]));
        assert_eq!((counts.probe.count(), counts.probe_errors["UNAVAILABLE"]), (1, 1));
        let slices = counts.slices(1, at(1_100));
        assert_eq!(slices.iter().map(|s| s.arrivals).collect::<Vec<_>>(), [2, 0, 0, 1]);
        assert_eq!(slices.iter().map(|s| s.completed).collect::<Vec<_>>(), [1, 0, 1, 0]);
        assert_eq!((slices[0].failed, slices[0].p50_ms.is_some(), slices[1].p50_ms), (1, true, None));
    }

    #[test]
    fn b3_the_phases_add_up_to_the_answer() {
        let mut counts = counts();
        counts.spent(at(200), at(260), Spent { queue: at(10), service: at(40), link: at(3) });
        counts.spent(at(50), at(260), Spent::default());
        let means =
            [&counts.phases.queue, &counts.phases.service, &counts.phases.link, &counts.phases.channel]
                .map(|phase| (phase.count(), phase.part().mean.unwrap().round()));
        assert_eq!(means, [(1, 10.0), (1, 40.0), (1, 3.0), (1, 7.0)]);
    }

    #[test]
    fn what_was_counted_apart_is_counted_together() {
        let mut whole = counts();
        let mut parts = [counts(), counts()];
        for n in 0..1_000_u64 {
            let (due, now) = (at(n), at(n + n % 90));
            let outcome = if n % 7 == 0 { Err("UNAVAILABLE") } else { Ok(Path::Sync) };
            for counts in [&mut whole, &mut parts[n as usize % 2]] {
                counts.left(due, due);
                counts.create(due, now, outcome);
                counts.spent(due, now, Spent::default());
                counts.probe(due, now, outcome.map(|_| ()));
            }
        }
        let [mut one, other] = parts;
        let written = serde_json::to_string(&other).unwrap();
        one.add(&serde_json::from_str(&written).unwrap());
        assert_eq!(serde_json::to_value(&one).unwrap(), serde_json::to_value(&whole).unwrap());
        assert_eq!(one.slices(1, at(1_100)), whole.slices(1, at(1_100)));
    }

    #[test]
    fn b4_creates_that_miss_together_are_one_cluster() {
        let mut counts = Counts::new(Window { start: at(0), end: at(10_000) }, at(90));
        // Slices of 250 ms: misses in the third, the fourth, the seventh, and the twelfth.
        for (due, took) in
            [(510, 100), (520, 50), (600, 100), (760, 200), (1_600, 91), (2_800, 500), (2_801, 0)]
        {
            counts.create(at(due), at(due + took), Ok(Path::Sync));
        }
        counts.create(at(2_802), at(2_803), Err("UNAVAILABLE"));
        assert_eq!(counts.clusters(), [4, 2]);
    }

    #[test]
    fn a_run_that_was_ended_early_has_the_slices_that_had_begun() {
        let slices = counts().slices(2, at(700));
        assert_eq!(
            slices.iter().map(|s| (s.repeat, s.at_s)).collect::<Vec<_>>(),
            [(2, 0.0), (2, 0.25), (2, 0.5)]
        );
        assert!((slices[2].seconds - 0.1).abs() < 1e-9);
        // However long it is, there are not more.
        assert_eq!(Counts::new(Window { start: at(0), end: at(86_400_000) }, at(1)).slices.len(), 60);
    }
}
