//! What a seed draws: how large the chain is, what is asked of it, and what goes wrong when.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tillsync_proto::{Job, Schedule};

use crate::network::Fate;

/// Headquarters, as a host.
pub const HQ: usize = 0;
/// What an hour is to a clock.
const HOUR: i64 = 3_600_000_000;
/// Faults begin once everybody has been told how to work.
const CALM: u64 = 60;

/// How large a seed may be.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Creates of all tills.
    pub creates: usize,
    /// Most stores; at least 10.
    pub stores: usize,
    /// Longest time that tills and faults take, in minutes; at least 5.
    pub minutes: usize,
}

/// How a store creates customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Async,
    Sync,
    Fallback,
}

/// What happens to the chain.
#[derive(Debug, Clone)]
pub enum Event {
    /// Nothing arrives any more over these links.
    Hold(Vec<(usize, usize)>),
    /// It does again.
    Release(Vec<(usize, usize)>, Fate),
    /// Connections break.
    Reset(Vec<(usize, usize)>),
    /// A process is killed: what it has written is there.
    Kill(usize),
    /// The power fails: a store's tables may fall back to what they were.
    PowerCut(usize),
    /// A process ends as it is asked to.
    Stop(usize),
    /// It is started.
    Start(usize),
    /// A clock is set, by so many microseconds.
    Jump(usize, i64),
    /// Every transaction of a host takes up to so many milliseconds more.
    Slow(usize, u64),
    /// A store's tables are remembered as they are: a power cut may bring that back.
    Remember(usize),
    /// Headquarters' database is copied.
    BackUp,
    /// Headquarters is lost, and the copy is brought back.
    Restore,
}

/// What a seed draws.
pub struct Plan {
    pub modes: Vec<Mode>,
    /// Tills of each store.
    pub tills: usize,
    /// Creates of each till.
    pub creates: usize,
    /// How long they take for it.
    pub load: Duration,
    pub schedules: Vec<Schedule>,
    /// Whether customers are edited.
    pub edits: bool,
    /// In the order of time.
    pub events: Vec<(Duration, Event)>,
}

impl Plan {
    pub fn of(seed: u64, size: Size) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        // Mostly few stores, because each customer goes to each, and mostly short.
        let mut mostly_least = |least: usize, most: usize| {
            least + ((most - least) as f64 * chance.random::<f64>().powi(4)).round() as usize
        };
        let stores = mostly_least(10, size.stores);
        let load = Duration::from_secs(60 * mostly_least(5, size.minutes) as u64);
        let modes = (0..stores).map(|_| match chance.random_range(0..10) {
            0..5 => Mode::Async,
            5..8 => Mode::Fallback,
            _ => Mode::Sync,
        });
        let modes: Vec<Mode> = modes.collect();
        let tills = chance.random_range(1..=3);
        let creates = size.creates.div_ceil(stores * tills);
        let mut pace = |job, shortest: f64, longest: f64| {
            let interval = shortest * (longest / shortest).powf(chance.random());
            Schedule { job, interval: Duration::from_secs_f64(interval), jitter: 0.2, held: false }
        };
        let schedules = vec![
            pace(Job::Upload, 2.0, 60.0),
            pace(Job::CustomerSync, 0.5, 30.0),
            pace(Job::Customers1010, 3.0, 60.0),
            pace(Job::ChannelConfiguration1070, 20.0, 300.0),
            pace(Job::GlobalConfiguration1110, 20.0, 300.0),
        ];
        let edits = chance.random_bool(0.5);
        let events = events(&mut chance, stores, load);
        Self { modes, tills, creates, load, schedules, edits, events }
    }

    pub fn stores(&self) -> usize {
        self.modes.len()
    }

    /// Whether a number that was told can be lost: the store that knows it loses what it did not sync, and headquarters is
    /// brought back from before it gave it.
    pub fn loses_twice(&self) -> bool {
        let has = |wanted: fn(&Event) -> bool| self.events.iter().any(|(_, event)| wanted(event));
        has(|event| matches!(event, Event::PowerCut(_))) && has(|event| matches!(event, Event::Restore))
    }
}

/// The tills of a store, as a host.
pub fn tills_of(store: usize, stores: usize) -> usize {
    stores + store
}

/// Who looks on, as a host.
pub fn office(stores: usize) -> usize {
    2 * stores + 1
}

fn events(chance: &mut StdRng, stores: usize, load: Duration) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    let end = load.as_secs();
    // A restored headquarters waits for every store: others fail meanwhile, too.
    if chance.random_bool(0.3) {
        let back_up = chance.random_range(CALM..end / 2);
        events.push((Duration::from_secs(back_up), Event::BackUp));
        events.push((seconds(chance, back_up, end), Event::Restore));
    }
    for store in 1..=stores {
        for _ in 0..chance.random_range(0..6) {
            events.push((seconds(chance, CALM, end), Event::Remember(store)));
        }
    }
    for _ in 0..chance.random_range(4..=6 + stores) {
        let at = seconds(chance, CALM, end);
        let lasts = Duration::from_secs_f64(2.0 * 300_f64.powf(chance.random()));
        fault(chance, stores, (at, at + lasts), &mut events);
    }
    // What begins at the same time stays in its order.
    events.sort_by_key(|(at, _)| *at);
    events
}

fn seconds(chance: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(chance.random_range(from * 1_000..to * 1_000))
}

/// One fault and its end.
fn fault(
    chance: &mut StdRng,
    stores: usize,
    (at, until): (Duration, Duration),
    events: &mut Vec<(Duration, Event)>,
) {
    // Headquarters every third time.
    let host = if chance.random_bool(0.33) { HQ } else { chance.random_range(1..=stores) };
    match chance.random_range(0..10) {
        0..3 => {
            let links = links(chance, stores);
            let fate = [Fate::Outlive, Fate::Reset, Fate::Vanish][chance.random_range(0..3)];
            events.push((at, Event::Hold(links.clone())));
            events.push((until, Event::Release(links, fate)));
        }
        3 => events.push((at, Event::Reset(links(chance, stores)))),
        4 => events.extend([(at, Event::Kill(host)), (until, Event::Start(host))]),
        5 | 6 => events.extend([(at, Event::PowerCut(host)), (until, Event::Start(host))]),
        7 => events.extend([(at, Event::Stop(host)), (until, Event::Start(host))]),
        8 => {
            let by = if chance.random_bool(0.5) { HOUR } else { -HOUR };
            events.push((at, Event::Jump(host, by)));
        }
        _ => {
            let slow = [50, 500, 5_000][chance.random_range(0..3)];
            events.extend([(at, Event::Slow(host, slow)), (until, Event::Slow(host, 0))]);
        }
    }
}

/// Links that fail together: between headquarters and some stores, or between a store and its tills; one way or both.
fn links(chance: &mut StdRng, stores: usize) -> Vec<(usize, usize)> {
    let store = chance.random_range(1..=stores);
    let pairs: Vec<(usize, usize)> = match chance.random_range(0..4) {
        0 => vec![(tills_of(store, stores), store)],
        1 => (1..=stores).map(|store| (store, HQ)).collect(),
        _ => {
            (1..=stores).filter(|other| *other == store || chance.random_bool(0.2)).map(|s| (s, HQ)).collect()
        }
    };
    let (there, back) = [(true, true), (true, false), (false, true)][chance.random_range(0..3)];
    let both = pairs.into_iter().flat_map(|(one, other)| [(there, (one, other)), (back, (other, one))]);
    both.filter(|(fails, _)| *fails).map(|(_, link)| link).collect()
}
