//! What the schedules are, who listens for them, and which runs were asked for. The tables keep it; the board
//! shows it to streams and to the customer sync job as it changes. Other processes on the database change it too, and
//! what they change is looked at again and again ([`crate::others`]).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tillsync_proto::{ChannelId, Job, JobRun, Schedule};
use tokio::sync::watch;

use crate::{
    metrics,
    store::{RunRequest, RunRequests},
};

/// What each channel adds to the interval of a job by default: however many there are, they ask no more often together than
/// 1,700 times a second for customers and 420 times for each configuration. Uploads are left alone, because a channel that
/// has nothing to bring does not call.
const EACH: [(Job, Duration); 3] = [
    (Job::Customers1010, Duration::from_micros(600)),
    (Job::ChannelConfiguration1070, Duration::from_micros(2_400)),
    (Job::GlobalConfiguration1110, Duration::from_micros(2_400)),
];

/// The channel of the customer sync job.
pub(crate) const HEADQUARTERS: &str = "";

/// A job's schedule and the newest request to run it now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct JobOrder {
    pub schedule: Schedule,
    pub run: RunRequest,
}

impl JobOrder {
    /// The request that waits to be carried out by somebody who has carried out those up to `done`.
    pub fn waiting(&self, done: u64) -> Option<u64> {
        (self.run.request > done.max(self.run.canceled)).then_some(self.run.request)
    }
}

struct Orders {
    schedules: BTreeMap<Job, Schedule>,
    /// At most one for each job and channel.
    requests: RunRequests,
    /// How often a schedule was set in this process.
    schedules_set: u64,
    /// About how many channels listen, a power of two: schedules do not change with each that comes or goes.
    crowd: u32,
}

impl Orders {
    /// The schedule of a job as channels are told it: as it was set, or the default for so many of them.
    fn told(&self, job: Job) -> Schedule {
        let schedule = self.schedules.get(&job).copied().unwrap_or(Schedule::default_for(job));
        let each = EACH.iter().find(|(of, _)| *of == job).map(|(_, each)| *each);
        match each.filter(|_| schedule.interval == Schedule::default_for(job).interval) {
            Some(each) => Schedule { interval: schedule.interval.max(each * self.crowd), ..schedule },
            None => schedule,
        }
    }

    /// So many channels listen now; true if that changes schedules.
    fn crowd(&mut self, listening: usize) -> bool {
        let (before, listening) = (self.crowd, u32::try_from(listening).unwrap_or(u32::MAX));
        // Half of it may go before it counts as less.
        if listening >= 2 * self.crowd || listening < self.crowd / 2 {
            self.crowd = listening.checked_ilog2().map_or(1, |power| 1 << power);
        }
        self.crowd != before
    }
}

/// The board. Clones show the same.
#[derive(Clone)]
pub(crate) struct Board {
    orders: Arc<watch::Sender<Orders>>,
    /// Counts changes of the sessions.
    sessions: Arc<watch::Sender<u64>>,
    /// How many streams each channel has open; a channel that has none is not in it.
    listening: Arc<Mutex<HashMap<ChannelId, usize>>>,
}

impl Board {
    pub fn new(schedules: Vec<Schedule>, requests: RunRequests) -> Self {
        let schedules = schedules.into_iter().map(|schedule| (schedule.job, schedule)).collect();
        Self {
            orders: Arc::new(watch::Sender::new(Orders { schedules, requests, schedules_set: 0, crowd: 1 })),
            sessions: Arc::new(watch::Sender::new(0)),
            listening: Arc::default(),
        }
    }

    /// The order for a job, as it is now.
    pub fn order(&self, job: Job, channel: &str) -> JobOrder {
        let orders = self.orders.borrow();
        let place = (job, channel.to_owned());
        let run = orders.requests.get(&place).copied().unwrap_or_default();
        JobOrder { schedule: orders.told(job), run }
    }

    /// The orders for the jobs that a channel runs.
    pub fn orders(&self, channel: &ChannelId) -> Vec<JobOrder> {
        let jobs = Job::ALL.into_iter().filter(|job| *job != Job::CustomerSync);
        jobs.map(|job| self.order(job, channel.as_str())).collect()
    }

    /// All schedules.
    pub fn schedules(&self) -> Vec<Schedule> {
        self.orders.borrow().schedules.values().copied().collect()
    }

    /// Wakes whenever an order changes.
    pub fn watch(&self) -> Changes {
        Changes { orders: self.orders.subscribe() }
    }

    /// How often schedules were set here.
    pub fn schedules_set(&self) -> u64 {
        self.orders.borrow().schedules_set
    }

    /// Takes over what the tables said: other processes may have changed it. An older reading takes nothing back: requests
    /// only grow, and schedules are left alone if one was set here since `schedules_set` was asked for, before the reading.
    pub fn refresh(&self, schedules_set: u64, schedules: Vec<Schedule>, requests: RunRequests) {
        self.orders.send_if_modified(|orders| {
            let mut changed = false;
            let schedules = if orders.schedules_set == schedules_set { schedules } else { Vec::new() };
            for schedule in schedules {
                changed |= orders.schedules.insert(schedule.job, schedule) != Some(schedule);
            }
            for (place, read) in requests {
                let known = orders.requests.entry(place).or_default();
                let newest = RunRequest {
                    request: known.request.max(read.request),
                    canceled: known.canceled.max(read.canceled),
                    canceled_start: known.canceled_start.max(read.canceled_start),
                };
                changed |= std::mem::replace(known, newest) != newest;
            }
            changed
        });
        // Whoever waits for a session looks at the table.
        self.sessions_changed();
    }

    pub fn set_schedule(&self, schedule: Schedule) {
        self.orders.send_modify(|orders| {
            orders.schedules.insert(schedule.job, schedule);
            orders.schedules_set += 1;
        });
    }

    pub fn request(&self, job: Job, requests: &[(String, u64)]) {
        self.orders.send_modify(|orders| {
            for (channel, request) in requests {
                // Two requests may come here in the other order than they were numbered.
                let known = orders.requests.entry((job, channel.clone())).or_default();
                known.request = known.request.max(*request);
            }
        });
    }

    /// Cancels a run: one that was asked for and the requests before it, or a scheduled one.
    pub fn cancel(&self, channel: &str, run: &JobRun) {
        self.orders.send_modify(|orders| {
            let known = orders.requests.entry((run.job, channel.to_owned())).or_default();
            if run.run_request == 0 {
                known.canceled_start = known.canceled_start.max(Some(run.started_at));
            } else {
                known.canceled = known.canceled.max(run.run_request);
            }
        });
        self.sessions_changed();
    }

    /// Says that sessions were kept.
    pub fn sessions_changed(&self) {
        self.sessions.send_modify(|count| *count += 1);
    }

    /// Wakes whenever sessions were kept.
    pub fn watch_sessions(&self) -> watch::Receiver<u64> {
        self.sessions.subscribe()
    }

    /// Counts a channel as connected for as long as the guard lives.
    pub fn listen(&self, channel: ChannelId) -> Listening {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        *listening.entry(channel.clone()).or_default() += 1;
        self.count(listening.len());
        Listening { board: self.clone(), channel }
    }

    fn count(&self, listening: usize) {
        metrics::connected(listening);
        self.orders.send_if_modified(|orders| orders.crowd(listening));
    }

    /// The channels that listen now.
    pub fn connected(&self) -> Vec<ChannelId> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// Wakes on changes of orders.
pub(crate) struct Changes {
    orders: watch::Receiver<Orders>,
}

impl Changes {
    /// Waits for the next change. False: the board is gone.
    pub async fn changed(&mut self) -> bool {
        self.orders.changed().await.is_ok()
    }
}

/// A channel that listens.
pub(crate) struct Listening {
    board: Board,
    channel: ChannelId,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listening = self.board.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = listening.get_mut(&self.channel) {
            *streams -= 1;
            if *streams == 0 {
                listening.remove(&self.channel);
            }
        }
        self.board.count(listening.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x8_many_channels_are_told_longer_intervals_unless_somebody_has_set_them() {
        let default = Schedule::default_for(Job::Customers1010);
        let board = Board::new(vec![default], RunRequests::default());
        let told = |board: &Board| board.order(Job::Customers1010, "s1").schedule.interval;
        let mut listening: Vec<Listening> = Vec::new();
        let mut grow = |count: usize| {
            while listening.len() < count {
                listening.push(board.listen(format!("s{}", listening.len()).parse().unwrap()));
            }
            listening.truncate(count);
            told(&board)
        };
        assert_eq!([grow(1), grow(500)], [default.interval; 2]);
        assert_eq!(grow(5_000), Duration::from_micros(600) * 4_096);
        assert_eq!(grow(2_100), Duration::from_micros(600) * 4_096, "schedules do not follow each that goes");
        assert_eq!(grow(2_000), Duration::from_micros(600) * 1_024);
        assert_eq!(board.order(Job::Upload, "s1").schedule, Schedule::default_for(Job::Upload));
        let set = Schedule { interval: Duration::from_secs(1), ..default };
        board.set_schedule(set);
        assert_eq!([told(&board), grow(1)], [set.interval; 2]);
    }

    #[test]
    fn x8_what_was_read_before_a_schedule_was_set_takes_nothing_back() {
        let free = Schedule::default_for(Job::Upload);
        let held = Schedule { held: true, ..free };
        let board = Board::new(vec![free], RunRequests::default());
        let before = board.schedules_set();
        board.set_schedule(held);
        board.refresh(before, vec![free], RunRequests::default());
        assert_eq!(board.order(Job::Upload, "s1").schedule, held);
        // What another process has set since.
        board.refresh(board.schedules_set(), vec![free], RunRequests::default());
        assert_eq!(board.order(Job::Upload, "s1").schedule, free);
    }
}
