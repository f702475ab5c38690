//! One run of a plan: creates at stores, headquarters as the emulator's model, the jobs, all in virtual time.

use std::{cmp::Reverse, collections::BinaryHeap, collections::VecDeque, time::Duration};

use rand::{SeedableRng as _, rngs::SmallRng};
use rts_emulator::{
    model::{Call, CallId, Event, Fate, Model, Reason, Rules, Served},
    profile::{GrpcCode, Method, ProfileError},
};
use uuid::Uuid;

use super::{
    jobs::{Chain, Nanos, Step},
    scenario::{Names, Scenario},
    tally::{Created, Tally},
};
use crate::{
    arrivals::Arrival,
    counts::{Spent, Window},
    customers::create_of,
    measured::Measured,
    result::{Hq, Mode},
    run::{CALL_DEADLINE, DRAIN_LIMIT, PROBE_CHANNEL},
};

/// How often the queue is looked at.
const LOOKS: u64 = 200;
/// The end of time.
const NEVER: Nanos = Nanos::MAX;
const UNAVAILABLE: &str = "UNAVAILABLE";
const RESOURCE_EXHAUSTED: &str = "RESOURCE_EXHAUSTED";
const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";

/// Something that will happen; of the same instant in the order in which it was planned.
type Planned = Reverse<(Nanos, u64, What)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A create's call leaves its store.
    Leaves(Create),
    Probe(u64),
    Job(Step),
    Look(u64),
    /// Measuring begins.
    Begin,
}

/// A create under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Create {
    due: Nanos,
    index: u64,
    store: u32,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy)]
enum Caller {
    /// With the instant of the call.
    Create(Create, Nanos),
    Probe(Nanos),
}

struct Sim<'a> {
    scenario: &'a Scenario,
    stores: Vec<String>,
    probe_subject: Vec<u8>,
    model: Model,
    chain: Chain<Create>,
    tally: Tally,
    planned: BinaryHeap<Planned>,
    count: u64,
    /// Calls to headquarters in the order in which their callers give up: those of stores, and probes.
    patience: [VecDeque<(Nanos, CallId)>; 2],
    /// By [`CallId::slot`].
    callers: Vec<Option<(CallId, Caller)>>,
    hq: Hq,
    end: Nanos,
    rng: SmallRng,
}

/// Simulates a run.
///
/// # Errors
///
/// [`ProfileError`].
pub fn simulate(
    scenario: &Scenario,
    mode: Mode,
    offered_per_s: f64,
    arrivals: impl Iterator<Item = Arrival>,
) -> Result<Measured, ProfileError> {
    let mut sim = Sim::new(scenario)?;
    let mut arrivals = arrivals.peekable();
    loop {
        let arrival = arrivals.peek().map(|arrival| nanos(arrival.due));
        let Some(now) = sim.next(arrival) else { break };
        sim.take_events(now);
        while let Some(id) = sim.gives_up(now) {
            sim.give_up(now, id);
        }
        while let Some(Reverse((_, _, what))) = sim.planned.peek().filter(|Reverse((at, ..))| *at <= now) {
            let what = *what;
            sim.planned.pop();
            sim.happens(now, what);
        }
        if arrival == Some(now)
            && let Some(Arrival { due, channel }) = arrivals.next()
        {
            sim.create(nanos(due), channel);
        }
    }
    Ok(sim.finish(mode, offered_per_s))
}

impl<'a> Sim<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, ProfileError> {
        let window = Window { start: scenario.warmup, end: scenario.warmup + scenario.measured };
        let (start, end) = (nanos(window.start), nanos(window.end));
        let probe_subject = match scenario.names {
            Names::Numbers => b"probe".to_vec(),
            Names::Session { epoch_micros, .. } => {
                let (id, _) = create_of(scenario.seed, u64::MAX, 0, epoch_micros, Duration::ZERO);
                id.to_string().into_bytes()
            }
        };
        let mut sim = Self {
            scenario,
            stores: (1..=scenario.modes.len()).map(|number| format!("store-{number}")).collect(),
            probe_subject,
            model: Model::new(Rules::new(&scenario.profile)?, scenario.seed),
            chain: Chain::new(scenario.jobs, scenario.modes.len(), scenario.seed),
            tally: Tally::new(window, scenario.goal),
            planned: BinaryHeap::new(),
            count: 0,
            patience: Default::default(),
            callers: Vec::new(),
            hq: Hq::default(),
            end,
            rng: SmallRng::seed_from_u64(scenario.seed),
        };
        sim.plan(start, What::Begin);
        sim.plan(start, What::Look(0));
        if scenario.probe_per_s > 0.0 {
            sim.plan(sim.probe_due(0), What::Probe(0));
        }
        Ok(sim)
    }

    /// The next instant at which something happens; nothing once all has.
    fn next(&mut self, arrival: Option<Nanos>) -> Option<Nanos> {
        let mut next = arrival.unwrap_or(NEVER);
        if let Some(Reverse((at, ..))) = self.planned.peek() {
            next = next.min(*at);
        }
        for calls in &mut self.patience {
            // Calls that have been answered wait for nothing.
            while calls.front().is_some_and(|(_, id)| !is_here(&self.callers, *id)) {
                calls.pop_front();
            }
            next = next.min(calls.front().map_or(NEVER, |(at, _)| *at));
        }
        // The model alone is no reason to go on: it may have a schedule of outages, which never ends.
        (next < NEVER).then(|| next.min(self.model.next_event().unwrap_or(NEVER)))
    }

    fn plan(&mut self, at: Nanos, what: What) {
        self.count += 1;
        self.planned.push(Reverse((at, self.count, what)));
    }

    /// A create falls due.
    fn create(&mut self, due: Nanos, channel: usize) {
        let index = self.tally.begun();
        let create = Create { due, index, store: u32::try_from(channel).unwrap_or(u32::MAX) };
        match self.scenario.modes[channel] {
            Mode::Async => {
                let took = self.scenario.overhead.of_async(&mut self.rng);
                self.log(due + took, create, Created::Async);
            }
            Mode::Sync | Mode::SyncFallback => match self.scenario.overhead.of_sync(&mut self.rng) / 2 {
                0 => self.call(due, create),
                before => self.plan(due + before, What::Leaves(create)),
            },
        }
    }

    fn happens(&mut self, now: Nanos, what: What) {
        match what {
            What::Leaves(create) => self.call(now, create),
            What::Probe(number) => {
                let call = Call { channel: PROBE_CHANNEL, method: Method::Get, subject: &self.probe_subject };
                let id = self.model.arrive(now, call);
                self.called(now, id, Caller::Probe(now), CALL_DEADLINE);
                let next = self.probe_due(number + 1);
                if next < self.end {
                    self.plan(next, What::Probe(number + 1));
                }
            }
            What::Job(step) => self.step(now, step),
            What::Begin => {
                self.model.figures(now, true);
            }
            What::Look(number) => self.look(now, number),
        }
    }

    fn call(&mut self, now: Nanos, create: Create) {
        let channel = self.stores[create.store as usize].as_str();
        let named = |subject: &[u8], model: &mut Model| {
            model.arrive_once(now, Call { channel, method: Method::Create, subject })
        };
        let id = match self.scenario.names {
            Names::Numbers => named(&create.index.to_le_bytes(), &mut self.model),
            Names::Session { run, epoch_micros } => {
                let due = Duration::from_nanos(create.due);
                let (guid, _) = create_of(self.scenario.seed, run, create.index, epoch_micros, due);
                let mut text = Uuid::encode_buffer();
                named(guid.hyphenated().encode_lower(&mut text).as_bytes(), &mut self.model)
            }
        };
        self.called(now, id, Caller::Create(create, now), self.scenario.rts_timeout);
    }

    fn called(&mut self, now: Nanos, id: CallId, caller: Caller, patience: Duration) {
        if self.callers.len() <= id.slot() {
            self.callers.resize(id.slot() + 1, None);
        }
        self.callers[id.slot()] = Some((id, caller));
        let kind = usize::from(matches!(caller, Caller::Probe(_)));
        self.patience[kind].push_back((now + nanos(patience.min(CALL_DEADLINE)), id));
        self.take_events(now);
    }

    /// A call whose caller's patience ends now, if it is still under way.
    fn gives_up(&mut self, now: Nanos) -> Option<CallId> {
        for calls in &mut self.patience {
            while let Some((at, id)) = calls.front().copied() {
                if at > now {
                    break;
                }
                calls.pop_front();
                if is_here(&self.callers, id) {
                    return Some(id);
                }
            }
        }
        None
    }

    fn give_up(&mut self, now: Nanos, id: CallId) {
        self.model.cancel(now, id);
        if let Some((_, caller)) = self.callers[id.slot()].take() {
            self.told(now, caller, Err(DEADLINE_EXCEEDED), true);
        }
        self.take_events(now);
    }

    /// What the model has to tell.
    fn take_events(&mut self, now: Nanos) {
        while let Some(event) = self.model.poll(now) {
            let (id, outcome, is_communication) = match event {
                Event::Started { .. } => continue,
                Event::Refused { id, reason: Reason::Outage, .. } => (id, Err(UNAVAILABLE), true),
                Event::Refused { id, .. } => (id, Err(RESOURCE_EXHAUSTED), true),
                Event::Finished { id, served, fate: Fate::Answered, .. } => (id, Ok(served), true),
                Event::Finished { id, fate: Fate::Lost, .. } => (id, Err(UNAVAILABLE), true),
                Event::Finished { id, fate: Fate::Failed(code), .. } => {
                    use GrpcCode::{DeadlineExceeded, ResourceExhausted, Unavailable};
                    let communication = matches!(code, Unavailable | DeadlineExceeded | ResourceExhausted);
                    (id, Err(code.name()), communication)
                }
            };
            let at = event.at();
            let place =
                self.callers.get_mut(id.slot()).and_then(|place| place.take_if(|(here, _)| *here == id));
            // Whoever has given up is told nothing.
            if let Some((_, caller)) = place {
                self.told(at, caller, outcome, is_communication);
            }
        }
    }

    /// A caller is told what became of its call.
    fn told(
        &mut self,
        at: Nanos,
        caller: Caller,
        outcome: Result<Served, &'static str>,
        is_communication: bool,
    ) {
        let (create, called) = match caller {
            Caller::Probe(due) => return self.tally.probe(due, at, outcome.map(drop)),
            Caller::Create(create, called) => (create, called),
        };
        match outcome {
            Ok(served) => {
                let answered = at + self.scenario.overhead.of_sync(&mut self.rng) / 2;
                self.tally.created(create.due, answered, Ok(Created::Sync));
                self.tally.spent(create.due, answered, spent(called, at, served));
                self.tally.real(create.due, answered);
                if self.is_followed(create) {
                    self.tally.findable(create.due, answered);
                }
            }
            Err(code) => {
                let falls_back = self.scenario.modes[create.store as usize] == Mode::SyncFallback;
                let answered = at + self.scenario.overhead.of_async(&mut self.rng);
                if falls_back && is_communication && answered - create.due < nanos(CALL_DEADLINE) {
                    self.log(answered, create, Created::Fallback(code));
                } else {
                    self.tally.created(create.due, at, Err(code));
                }
            }
        }
    }

    /// A store has logged a create, and answers.
    fn log(&mut self, at: Nanos, create: Create, created: Created) {
        self.tally.created(create.due, at, Ok(created));
        if let Some((run, step)) = self.chain.logged(at, create.store as usize, create) {
            self.plan(run, What::Job(step));
        }
    }

    fn step(&mut self, now: Nanos, step: Step) {
        if self.scenario.conversion_workers > 0 {
            match step {
                Step::Convert => self.model.occupy(now, self.scenario.conversion_workers),
                Step::Converted => self.model.occupy(now, 0),
                Step::Upload(_) => {}
            }
        }
        let mut real = Vec::new();
        let next = self.chain.step(now, step, |pending| real.push(pending));
        for pending in real {
            let create = pending.of;
            let known = self.chain.fed(now, pending.store);
            self.tally.real(create.due, known);
            if self.is_followed(create) {
                let everywhere = self.chain.fed_everywhere(now);
                self.tally.findable(create.due, everywhere);
            }
        }
        if let Some((at, step)) = next {
            self.plan(at, What::Job(step));
        }
    }

    fn is_followed(&self, create: Create) -> bool {
        (create.index + 1).is_multiple_of(self.scenario.follow_every)
    }

    fn look(&mut self, now: Nanos, number: u64) {
        let figures = self.model.figures(now, false);
        if number == LOOKS {
            let ms = |nanos: Nanos| nanos as f64 / 1e6;
            self.hq = Hq {
                utilization: figures.utilization,
                queue_max: figures.queue_max,
                arrived: figures.arrived,
                completed: figures.completed,
                refused: figures.refused(),
                mean_wait_ms: ms(figures.mean_wait),
                queue: std::mem::take(&mut self.hq.queue),
                busy: Vec::new(),
            };
            return;
        }
        let start = nanos(self.scenario.warmup);
        self.hq.queue.push(((now - start) as f64 / 1e9, figures.queue_now));
        let measured = nanos(self.scenario.measured);
        self.plan(start + measured / LOOKS * (number + 1), What::Look(number + 1));
    }

    /// At equal distances, the first after half of one.
    fn probe_due(&self, number: u64) -> Nanos {
        nanos(Duration::from_secs_f64((number as f64 + 0.5) / self.scenario.probe_per_s))
    }

    fn finish(self, mode: Mode, offered_per_s: f64) -> Measured {
        self.tally.measured(mode, offered_per_s, self.scenario.repeat, self.hq, DRAIN_LIMIT)
    }
}

/// Where the time of a call went from `called` to `answered`: what was neither waiting nor service was the way.
fn spent(called: Nanos, answered: Nanos, served: Served) -> Spent {
    let (queue, service) = (served.wait(), served.held());
    let link = answered.saturating_sub(called + queue + service);
    Spent {
        queue: Duration::from_nanos(queue),
        service: Duration::from_nanos(service),
        link: Duration::from_nanos(link),
    }
}

/// Whether a call is still under way.
fn is_here(callers: &[Option<(CallId, Caller)>], id: CallId) -> bool {
    matches!(callers.get(id.slot()), Some(Some((here, _))) if *here == id)
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
