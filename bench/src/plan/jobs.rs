//! The jobs that make an async customer real, in virtual time (rule X1): the P-job of its store, the customer sync
//! job, 1010 of its store. Nothing happens when there is nothing to do, so a job's runs are only counted through
//! when something waits for one.

use std::{collections::VecDeque, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// Virtual time in nanoseconds.
pub type Nanos = u64;

/// A job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// Least pause between two runs.
    pub interval: Duration,
    /// Share of it by which each pause is longer by chance.
    pub jitter: f64,
    /// How long a run takes.
    pub per_run: Duration,
    /// How much longer for each customer.
    pub per_customer: Duration,
}

impl Job {
    fn takes(&self, customers: usize) -> Nanos {
        nanos(self.per_run) + nanos(self.per_customer) * customers as Nanos
    }
}

/// The three jobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jobs {
    /// Brings what a store has logged to headquarters.
    pub upload: Job,
    /// Makes customers of it.
    pub conversion: Job,
    /// Brings their account numbers to the stores.
    pub feed: Job,
}

/// When a job starts at one place: with a phase of its own.
#[derive(Debug, Clone)]
struct Runs {
    next: Nanos,
    interval: Nanos,
    jitter: Nanos,
    rng: SmallRng,
}

impl Runs {
    fn new(job: &Job, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let interval = nanos(job.interval).max(1);
        let next = rng.random_range(0..interval);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of the interval"
        )]
        let jitter = (interval as f64 * job.jitter) as Nanos;
        Self { next, interval, jitter, rng }
    }

    /// The first start at `at` or later. Instants that go backwards count as the latest one given.
    fn at_or_after(&mut self, at: Nanos) -> Nanos {
        while self.next < at {
            self.next +=
                self.interval + if self.jitter > 0 { self.rng.random_range(0..=self.jitter) } else { 0 };
        }
        self.next
    }
}

/// A customer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending<T> {
    /// Its store.
    pub store: usize,
    /// Whose it is.
    pub of: T,
}

/// What happens in the chain of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A store's P-job runs.
    Upload(usize),
    /// The customer sync job starts.
    Convert,
    /// It ends.
    Converted,
}

/// The chain: stores with what they have logged, headquarters with what has arrived.
pub struct Chain<T> {
    jobs: Jobs,
    stores: Vec<Store<T>>,
    conversion: Runs,
    /// Each with the instant at which it has arrived.
    arrived: VecDeque<(Nanos, Pending<T>)>,
    converting: Vec<Pending<T>>,
    is_converting: bool,
}

struct Store<T> {
    upload: Runs,
    feed: Runs,
    logged: Vec<T>,
}

impl<T: Copy> Chain<T> {
    /// A chain without customers.
    #[must_use]
    pub fn new(jobs: Jobs, stores: usize, seed: u64) -> Self {
        let of =
            |place: usize, job: u64| seed ^ (place as u64 * 4 + job + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let store = |place: usize| Store {
            upload: Runs::new(&jobs.upload, of(place, 0)),
            feed: Runs::new(&jobs.feed, of(place, 1)),
            logged: Vec::new(),
        };
        Self {
            jobs,
            stores: (0..stores).map(store).collect(),
            conversion: Runs::new(&jobs.conversion, of(0, 2)),
            arrived: VecDeque::new(),
            converting: Vec::new(),
            is_converting: false,
        }
    }

    /// A store has logged a customer. Gives when its P-job runs, if nothing waited for it before.
    pub fn logged(&mut self, at: Nanos, store: usize, of: T) -> Option<(Nanos, Step)> {
        let place = &mut self.stores[store];
        place.logged.push(of);
        (place.logged.len() == 1).then(|| (place.upload.at_or_after(at), Step::Upload(store)))
    }

    /// Carries a step out. Gives the one that follows; `real` is told of each customer that is real now.
    pub fn step(
        &mut self,
        now: Nanos,
        step: Step,
        mut real: impl FnMut(Pending<T>),
    ) -> Option<(Nanos, Step)> {
        match step {
            Step::Upload(store) => {
                let logged = std::mem::take(&mut self.stores[store].logged);
                let at = now + self.jobs.upload.takes(logged.len());
                let idle = self.arrived.is_empty() && !self.is_converting;
                self.arrived.extend(logged.into_iter().map(|of| (at, Pending { store, of })));
                idle.then(|| (self.conversion.at_or_after(at), Step::Convert))
            }
            Step::Convert => {
                let here = self.arrived.iter().filter(|(at, _)| *at <= now).count();
                self.is_converting = true;
                // Uploads of different lengths end in another order than they began.
                let (here_now, later): (Vec<_>, Vec<_>) =
                    self.arrived.drain(..).partition(|(at, _)| *at <= now);
                self.converting = here_now.into_iter().map(|(_, pending)| pending).collect();
                self.arrived = later.into();
                Some((now + self.jobs.conversion.takes(here), Step::Converted))
            }
            Step::Converted => {
                self.is_converting = false;
                self.converting.drain(..).for_each(&mut real);
                let next = self.arrived.iter().map(|(at, _)| *at).min()?;
                Some((self.conversion.at_or_after(next.max(now)), Step::Convert))
            }
        }
    }

    /// When a store has by 1010 what was made real now.
    pub fn fed(&mut self, now: Nanos, store: usize) -> Nanos {
        self.stores[store].feed.at_or_after(now) + self.jobs.feed.takes(1)
    }

    /// When all stores have.
    pub fn fed_everywhere(&mut self, now: Nanos) -> Nanos {
        (0..self.stores.len()).map(|store| self.fed(now, store)).max().unwrap_or(now)
    }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn job(interval_ms: u64, jitter: f64) -> Job {
        Job {
            interval: Duration::from_millis(interval_ms),
            jitter,
            per_run: Duration::from_millis(5),
            per_customer: Duration::from_millis(1),
        }
    }

    #[test]
    fn x8_runs_have_a_phase_and_pauses_of_the_interval_and_some_jitter() {
        let mut runs = Runs::new(&job(500, 0.2), 7);
        let mut starts = vec![runs.at_or_after(0)];
        assert!(starts[0] < 500 * MS);
        for _ in 0..5_000 {
            starts.push(runs.at_or_after(starts.last().unwrap() + 1));
        }
        let pauses: Vec<f64> = starts.windows(2).map(|two| (two[1] - two[0]) as f64 / MS as f64).collect();
        assert!(pauses.iter().all(|pause| (500.0..=600.0).contains(pause)));
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        // Standard error: 100 / sqrt(12 * 5000) = 0.41.
        assert!((mean - 550.0).abs() < 2.0, "{mean}");
    }

    #[test]
    fn x1_a_customer_is_real_after_upload_conversion_and_feed() {
        let jobs = Jobs { upload: job(100, 0.0), conversion: job(200, 0.0), feed: job(300, 0.0) };
        let mut chain = Chain::new(jobs, 2, 1);
        let (upload, step) = chain.logged(10 * MS, 0, "a").unwrap();
        assert!(chain.logged(11 * MS, 0, "b").is_none(), "the same run takes both");
        assert_eq!(step, Step::Upload(0));
        assert!((10 * MS..110 * MS).contains(&upload));
        let (convert, step) = chain.step(upload, step, |_| panic!()).unwrap();
        assert!((upload + 7 * MS..upload + 207 * MS).contains(&convert));
        let (late, other) = chain.logged(upload, 1, "c").unwrap();
        assert!(late > upload || convert > late);
        let (end, step) = chain.step(convert, step, |_| panic!()).unwrap();
        assert_eq!((end, step), (convert + 7 * MS, Step::Converted));
        let again = if late < end { chain.step(late, other, |_| panic!()) } else { None };
        assert_eq!(again, None, "what comes while it runs waits for its next run");
        let mut real = Vec::new();
        let next = chain.step(end, step, |pending| real.push((pending.store, pending.of)));
        assert_eq!(real, [(0, "a"), (0, "b")]);
        assert_eq!(next.is_some(), late < end);
        let fed = chain.fed(end, 0);
        assert!((end + 6 * MS..end + 306 * MS).contains(&fed));
        assert!(chain.fed_everywhere(end) >= fed);
    }
}
