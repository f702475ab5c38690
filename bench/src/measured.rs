//! What a run, or several repetitions of one, has measured or simulated, and the figures made from it.

use std::time::Duration;

use crate::{
    counts::Counts,
    result::{Backlog, Generator, Hq, Mode, Phases, Process, Repetition, Run, Sample, ServiceUsage, Slice},
    stats::Durations,
};

/// How the creates went that were followed.
#[derive(Debug, Clone, Default)]
pub struct Sampled {
    /// Until every store finds the customer.
    pub findable: Durations,
    /// Until the channel knows the account number.
    pub account: Durations,
    /// How many.
    pub sample: Sample,
}

/// Repetitions of a run, at least one.
#[derive(Debug, Clone)]
pub struct Measured {
    /// How creates were made.
    pub mode: Mode,
    /// Creates that fell due per second, as planned.
    pub offered_per_s: f64,
    /// How many times faster than recorded; traces only.
    pub speedup: Option<f64>,
    counts: Counts,
    seconds: f64,
    sampled: Sampled,
    hq: Option<Hq>,
    backlog: Backlog,
    process: Process,
    services: Vec<ServiceUsage>,
    interrupted: bool,
    repetitions: Vec<Repetition>,
    slices: Vec<Slice>,
}

/// What is known of a repetition besides the counts.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// How long was measured: less than the window if it was ended early.
    pub measured: Duration,
    /// It was ended early.
    pub interrupted: bool,
    /// Of which repetition, from 1.
    pub repeat: u32,
    /// The sample.
    pub sampled: Sampled,
    /// Headquarters; absent without an emulator.
    pub hq: Option<Hq>,
    /// Customers that waited for their account number.
    pub backlog: Backlog,
    /// CPU and memory.
    pub process: Process,
    /// The same of each service.
    pub services: Vec<ServiceUsage>,
}

impl Measured {
    /// One repetition.
    #[must_use]
    pub fn new(mode: Mode, offered_per_s: f64, speedup: Option<f64>, counts: Counts, around: Around) -> Self {
        let Around { measured, interrupted, repeat, sampled, hq, backlog, process, services } = around;
        let seconds = measured.as_secs_f64();
        let repetition = Repetition {
            arrivals: counts.arrivals,
            failed: counts.failures.count(),
            completed_per_s: counts.completed as f64 / seconds.max(f64::EPSILON),
            p50_ms: counts.latency.quantile_ms(0.5),
            p90_ms: counts.latency.quantile_ms(0.9),
            p99_ms: counts.latency.quantile_ms(0.99),
            findable_p50_ms: sampled.findable.quantile_ms(0.5),
            account_p50_ms: sampled.account.quantile_ms(0.5),
            probe_p50_ms: counts.probe.quantile_ms(0.5),
            yardstick_p50_ms: counts.yardstick.quantile_ms(0.5),
            utilization: hq.as_ref().map(|hq| hq.utilization),
        };
        let slices = counts.slices(repeat, counts.window.start + measured);
        let repetitions = vec![repetition];
        Self {
            mode,
            offered_per_s,
            speedup,
            counts,
            seconds,
            sampled,
            hq,
            backlog,
            process,
            services,
            interrupted,
            repetitions,
            slices,
        }
    }

    /// Creates that were due while it was measured, and how many of them were acknowledged within the goal.
    #[must_use]
    pub fn kept(&self) -> (u64, u64) {
        (self.counts.arrivals, self.counts.within_goal)
    }

    /// How many creates missed the goal together, of each time that some did.
    #[must_use]
    pub fn clusters(&self) -> Vec<u64> {
        self.counts.clusters()
    }

    /// Whether it is another repetition of the same run.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        (self.mode, self.offered_per_s, self.speedup) == (other.mode, other.offered_per_s, other.speedup)
    }

    /// Adds another repetition.
    pub fn add(&mut self, other: Self) {
        let share = other.seconds / (self.seconds + other.seconds).max(f64::EPSILON);
        let mean = |own: f64, others: f64| own + (others - own) * share;
        // Repetitions come one after the other: unlike generators they are not under way at once.
        let in_flight_max = self.counts.in_flight_max.max(other.counts.in_flight_max);
        self.counts.add(&other.counts);
        self.counts.in_flight_max = in_flight_max;
        self.sampled.findable.add(&other.sampled.findable);
        self.sampled.account.add(&other.sampled.account);
        let (sample, others) = (&mut self.sampled.sample, other.sampled.sample);
        sample.followed += others.followed;
        sample.unresolved += others.unresolved;
        sample.remote_search_verified += others.remote_search_verified;
        sample.remote_search_failed += others.remote_search_failed;
        if let (Some(hq), Some(others)) = (&mut self.hq, &other.hq) {
            hq.utilization = mean(hq.utilization, others.utilization);
            hq.mean_wait_ms = mean(hq.mean_wait_ms, others.mean_wait_ms);
            hq.queue_max = hq.queue_max.max(others.queue_max);
            hq.arrived += others.arrived;
            hq.completed += others.completed;
            hq.refused += others.refused;
        }
        let backlog = &mut self.backlog;
        backlog.at_end = backlog.at_end.max(other.backlog.at_end);
        backlog.left = backlog.left.max(other.backlog.left);
        backlog.drain_ms = backlog.drain_ms.max(other.backlog.drain_ms);
        let (process, others) = (&mut self.process, other.process);
        process.cpu_s = process.cpu_s.zip(others.cpu_s).map(|(own, others)| own + others);
        process.max_rss_bytes = process.max_rss_bytes.max(others.max_rss_bytes);
        process.machine_busy = process.machine_busy.zip(others.machine_busy).map(|(a, b)| mean(a, b));
        process.starved = process.starved.zip(others.starved).map(|(a, b)| mean(a, b));
        process.stolen = process.stolen.zip(others.stolen).map(|(a, b)| mean(a, b));
        // A service that was started anew in one of them has no figure there, so none of all.
        self.services.retain_mut(|own| {
            let other = other.services.iter().find(|other| other.name == own.name);
            if let Some(other) = other {
                own.cpu_s += other.cpu_s;
                own.rss_bytes = own.rss_bytes.max(other.rss_bytes);
            }
            other.is_some()
        });
        self.seconds += other.seconds;
        self.interrupted |= other.interrupted;
        self.repetitions.extend(other.repetitions);
        self.slices.extend(other.slices);
    }

    /// The figures, without warnings.
    #[must_use]
    pub fn run(&self) -> Run {
        let counts = &self.counts;
        let phases = &counts.phases;
        Run {
            mode: self.mode,
            offered_per_s: self.offered_per_s,
            speedup: self.speedup,
            seconds: self.seconds,
            interrupted: self.interrupted,
            repetitions: self.repetitions.clone(),
            slices: self.slices.clone(),
            arrivals: counts.arrivals,
            completed_per_s: counts.completed as f64 / self.seconds.max(f64::EPSILON),
            acknowledged: counts.paths,
            errors: counts.errors.clone(),
            fallback_causes: counts.causes.clone(),
            latency_ms: counts.latency.latency(),
            latency_distribution: counts.latency.distribution(),
            phases_ms: (phases.queue.count() > 0).then(|| Phases {
                queue: phases.queue.part(),
                service: phases.service.part(),
                link: phases.link.part(),
                channel: phases.channel.part(),
            }),
            failure_latency_ms: counts.failures.latency(),
            findable_everywhere_ms: self.sampled.findable.two(),
            account_number_ms: self.sampled.account.two(),
            sample: self.sampled.sample,
            hq: self.hq.clone(),
            probe_latency_ms: counts.probe.two(),
            yardstick_ms: counts.yardstick.two(),
            probe_errors: counts.probe_errors.clone(),
            generator: Generator {
                late_p50_ms: counts.late.quantile_ms(0.5),
                late_p99_ms: counts.late.quantile_ms(0.99),
                late_max_ms: counts.late.max_ms(),
                in_flight_max: counts.in_flight_max,
            },
            backlog: self.backlog.clone(),
            process: self.process,
            services: self.services.clone(),
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::{Path, Window};

    fn repetition(repeat: u32, ms: u64, utilization: f64) -> Measured {
        let second = Duration::from_secs(1);
        let mut counts = Counts::new(Window { start: Duration::ZERO, end: second }, second);
        counts.in_flight_max = repeat.into();
        for n in 0..10 {
            let due = Duration::from_millis(n * 90);
            counts.create(due, due + Duration::from_millis(ms), Ok(Path::Sync));
        }
        let hq = Some(Hq { utilization, queue_max: repeat, ..Hq::default() });
        let around = Around { measured: second, repeat, hq, ..Around::default() };
        Measured::new(Mode::Sync, 10.0, None, counts, around)
    }

    #[test]
    fn b7_repetitions_are_summed_up_and_kept_apart() {
        let mut measured = repetition(1, 40, 0.2);
        measured.add(repetition(2, 80, 0.4));
        measured.add(repetition(3, 80, 0.6));
        let run = measured.run();
        assert_eq!((run.arrivals, run.seconds, run.completed_per_s.round()), (30, 3.0, 10.0));
        let p50: Vec<f64> = run.repetitions.iter().map(|r| r.p50_ms.unwrap().round()).collect();
        assert_eq!((p50, run.latency_ms.p50.unwrap().round()), (vec![40.0, 80.0, 80.0], 80.0));
        assert_eq!(
            run.slices.iter().map(|s| s.repeat).collect::<Vec<_>>(),
            [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
        );
        let hq = run.hq.unwrap();
        assert!((hq.utilization - 0.4).abs() < 1e-9 && hq.queue_max == 3);
        assert_eq!((measured.kept(), run.generator.in_flight_max), ((30, 30), 3));
    }
}
