//! The runs that headquarters has to hear of: those under way, and those that have ended (rule X9).

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tillsync_proto::{Job, JobRun, Micros, SessionState};

use super::{JOBS, Moved};

/// Ended runs that wait to be reported; beyond it the oldest are forgotten.
const MAX_ENDED: usize = 100;

#[derive(Default)]
struct Kept {
    /// One for each of [`JOBS`] at most.
    running: [Option<JobRun>; JOBS.len()],
    ended: VecDeque<JobRun>,
}

/// The runs of a channel.
#[derive(Default)]
pub(super) struct Runs(Mutex<Kept>);

/// A run under way; dropped before its end it is forgotten, and headquarters sees that it was cut off.
pub(super) struct Running<'a> {
    runs: &'a Runs,
    job: Job,
}

impl Runs {
    /// Begins a run.
    pub fn begin(&self, job: Job, run_request: u64, started_at: Micros) -> Running<'_> {
        self.lock().set(job, Some(JobRun { run_request, started_at, ..JobRun::new(job) }));
        Running { runs: self, job }
    }

    /// Says how far a run has come, and what it has moved since its begin.
    pub fn came(&self, job: Job, state: SessionState, moved: Moved) {
        if let Some(run) = self.lock().get(job) {
            (run.state, run.rows, run.bytes) = (state, moved.rows, moved.bytes);
        }
    }

    /// What has ended, and what is under way; both only as far as they are worth a session.
    pub fn get(&self, now: Micros) -> (Vec<JobRun>, Vec<JobRun>) {
        let kept = self.lock();
        let running = kept.running.iter().flatten().filter(|run| run.is_session());
        let running = running.map(|run| JobRun { elapsed: now.since(run.started_at), ..run.clone() });
        (kept.ended.iter().cloned().collect(), running.collect())
    }

    /// Forgets runs that have been reported. Those that ended meanwhile stay for the next report.
    pub fn reported(&self, ended: &[JobRun]) {
        self.lock().ended.retain(|run| !ended.contains(run));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn get(&mut self, job: Job) -> Option<&mut JobRun> {
        self.running.iter_mut().flatten().find(|run| run.job == job)
    }

    fn set(&mut self, job: Job, run: Option<JobRun>) {
        if let Some(place) = JOBS.iter().position(|known| *known == job) {
            self.running[place] = run;
        }
    }
}

impl Running<'_> {
    /// What it has moved until now.
    pub fn moved(&self) -> Moved {
        self.runs
            .lock()
            .get(self.job)
            .map_or_else(Moved::default, |run| Moved { rows: run.rows, bytes: run.bytes })
    }

    /// Ends it; true: it is worth a report.
    pub fn end(self, run: &JobRun) -> bool {
        let mut kept = self.runs.lock();
        kept.set(self.job, None);
        if run.is_session() {
            if kept.ended.len() == MAX_ENDED {
                kept.ended.pop_front();
            }
            kept.ended.push_back(run.clone());
        }
        run.is_session()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.runs.lock().set(self.job, None);
    }
}
