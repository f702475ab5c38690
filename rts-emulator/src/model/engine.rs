//! The event-driven core. Every call has at most one entry in the agenda: what becomes of it next.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque, vec_deque};

use super::{
    Call, CallId, Event, Fate, Figures, Nanos, Reason, Rules, Served,
    draw::{Draw, Key, Keys},
    figures::Tally,
    in_flight::{InFlight, Phase},
    limits::Limits,
    outage::Outages,
    rules::nanos,
};
use crate::profile::Method;

/// Shortest retry hint.
const LEAST_HINT: Nanos = 1_000_000;

/// The emulated headquarters. Instants that go backwards count as the latest one given.
pub struct Model {
    rules: Rules,
    keys: Keys,
    limits: Limits,
    outages: Outages,
    tally: Tally,
    /// Everything that was due up to here has happened.
    now: Nanos,
    calls: HashMap<CallId, InFlight>,
    next_id: u64,
    agenda: BTreeSet<Entry>,
    /// By the order in which they came to the queue.
    waiting: BTreeMap<u64, CallId>,
    next_turn: u64,
    busy: u32,
    /// The serial section: the first is in it, the others wait for it, all holding their workers.
    section: VecDeque<CallId>,
    /// Happened, but not yet told.
    events: VecDeque<Event>,
}

/// When, what kind of thing (see [`Phase::rank`]), and to which call.
type Entry = (Nanos, u8, Key, CallId);

impl Model {
    /// An idle headquarters at instant 0.
    #[must_use]
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            keys: Keys::new(seed),
            limits: Limits::new(rules.quotas, 0),
            outages: Outages::new(rules.outages.clone()),
            rules,
            tally: Tally::default(),
            now: 0,
            calls: HashMap::new(),
            next_id: 0,
            agenda: BTreeSet::new(),
            waiting: BTreeMap::new(),
            next_turn: 0,
            busy: 0,
            section: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A channel sends a call. What becomes of it, [`Model::advance`] tells. Everything that chance decides
    /// about it is drawn here, by the rules in force now.
    pub fn arrive(&mut self, now: Nanos, call: Call<'_>) -> CallId {
        let now = now.max(self.now);
        let key = self.keys.next(&call);
        let id = CallId(self.next_id);
        self.next_id += 1;
        let service = self.rules.service(call.method).draw(|| key.rng(Draw::ServiceTime));
        let share = if call.method == Method::Create { self.rules.serial_share } else { 0.0 };
        let link = |way| match self.rules.link_jitter {
            0 => self.rules.link_latency,
            jitter => self.rules.link_latency + nanos(key.fraction(way) * jitter as f64),
        };
        let in_flight = InFlight {
            key,
            channel: call.channel.into(),
            phase: Phase::LinkOut,
            due: now,
            serial: nanos(service as f64 * share).min(service),
            link_back: link(Draw::LinkBack),
            fault: self.rules.fault(|| key.fraction(Draw::Fault)),
            served: Served { service, ..Served::default() },
        };
        let due = now.saturating_add(link(Draw::LinkOut));
        self.calls.insert(id, in_flight);
        self.tally.figures.arrived += 1;
        self.enter(id, Phase::LinkOut, due);
        id
    }

    /// The caller goes away. True if the call leaves without having been started; once started it runs on, and
    /// its events follow.
    pub fn cancel(&mut self, now: Nanos, id: CallId) -> bool {
        self.run_to(now);
        let Some(call) = self.calls.get(&id) else { return false };
        match call.phase {
            Phase::LinkOut => {}
            Phase::Waiting { turn, .. } => drop(self.waiting.remove(&turn)),
            Phase::Working | Phase::BeforeSection | Phase::InSection | Phase::LinkBack(_) => return false,
        }
        self.agenda.remove(&(call.due, call.phase.rank(), call.key, id));
        self.calls.remove(&id);
        self.tally.figures.abandoned += 1;
        true
    }

    /// Lets virtual time pass and tells what has happened, in order, each with its exact instant.
    pub fn advance(&mut self, now: Nanos) -> vec_deque::Drain<'_, Event> {
        self.run_to(now);
        self.events.drain(..)
    }

    /// When [`Model::advance`] will next have something to do; in the past if it has something to tell.
    #[must_use]
    pub fn next_event(&self) -> Option<Nanos> {
        let told = self.events.front().map(Event::at);
        told.or_else(|| self.agenda.first().map(|(at, ..)| *at))
    }

    /// Another profile from now on. Calls that wait or run keep what they were given; rate limits start full;
    /// an outage by command goes on.
    pub fn set_rules(&mut self, now: Nanos, rules: Rules) {
        self.run_to(now);
        self.limits = Limits::new(rules.quotas, self.now);
        self.outages.reschedule(rules.outages.clone(), self.now);
        self.rules = rules;
        if self.outages.ongoing(self.now) {
            self.empty_queue();
        }
        self.start_waiting();
    }

    /// An outage begins, for so long or until [`Model::end_outage`]. It replaces one that was begun before.
    pub fn start_outage(&mut self, now: Nanos, duration: Option<Nanos>) {
        self.run_to(now);
        self.outages.command_until(duration.map_or(Nanos::MAX, |duration| self.now.saturating_add(duration)));
        if self.outages.ongoing(self.now) {
            self.empty_queue();
        }
    }

    /// The outage by command ends. A scheduled one goes on.
    pub fn end_outage(&mut self, now: Nanos) {
        self.run_to(now);
        self.outages.command_until(0);
    }

    /// The figures up to now; with `reset` counting begins anew.
    pub fn figures(&mut self, now: Nanos, reset: bool) -> Figures {
        self.run_to(now);
        let queue_now = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let figures = Figures {
            queue_now,
            busy_now: self.busy,
            workers: self.rules.workers,
            outage: self.outages.ongoing(self.now),
            ..self.tally.read(self.now)
        };
        if reset {
            self.tally = Tally::at(self.now);
            self.tally.figures.queue_max = queue_now;
        }
        figures
    }

    /// How many calls wait, and how many workers are busy.
    #[must_use]
    pub fn load(&self) -> (usize, u32) {
        (self.waiting.len(), self.busy)
    }

    fn run_to(&mut self, now: Nanos) {
        while let Some(&(at, .., id)) = self.agenda.first()
            && at <= now
        {
            self.agenda.pop_first();
            self.pass_to(at);
            self.step(id);
        }
        self.pass_to(now);
    }

    fn pass_to(&mut self, at: Nanos) {
        self.now = self.now.max(at);
        self.tally.tick(self.now, self.busy, self.rules.workers);
    }

    /// The phase of a call has ended.
    fn step(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        match call.phase {
            Phase::LinkOut => self.admit(id),
            Phase::Waiting { turn, or } => {
                self.waiting.remove(&turn);
                self.refuse(id, or, Some(self.hint()));
            }
            Phase::Working if call.serial > 0 => {
                self.section.push_back(id);
                if self.section.len() == 1 {
                    self.enter_section(id);
                } else {
                    self.set_phase(id, Phase::BeforeSection);
                }
            }
            Phase::InSection => {
                self.section.pop_front();
                if let Some(&next) = self.section.front() {
                    self.enter_section(next);
                }
                self.finish(id);
            }
            Phase::Working | Phase::BeforeSection => self.finish(id),
            Phase::LinkBack(event) => {
                self.calls.remove(&id);
                self.events.push_back(event);
            }
        }
    }

    fn admit(&mut self, id: CallId) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.served.arrived = now;
        if self.outages.ongoing(now) {
            self.refuse(id, Reason::Outage, None);
        } else if let Err(wait) = self.limits.check(now, &call.channel) {
            self.refuse(id, Reason::RateLimit, Some(wait));
        } else if self.busy < self.rules.workers {
            self.start(id);
        } else if self.waiting.len() >= self.rules.queue_capacity {
            self.refuse(id, Reason::QueueFull, Some(self.hint()));
        } else {
            let turn = self.next_turn;
            self.next_turn += 1;
            self.waiting.insert(turn, id);
            let longest =
                self.tally.figures.queue_max.max(u32::try_from(self.waiting.len()).unwrap_or(u32::MAX));
            self.tally.figures.queue_max = longest;
            let gives_up = now.saturating_add(self.rules.longest_wait);
            let (until, or) = match self.outages.next_start(now) {
                Some(outage) if outage < gives_up => (outage, Reason::Outage),
                _ => (gives_up, Reason::LongestWait),
            };
            self.enter(id, Phase::Waiting { turn, or }, until);
        }
    }

    fn start(&mut self, id: CallId) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.served.started = now;
        let (fault, until) = (call.fault, now.saturating_add(call.served.service - call.serial));
        self.busy += 1;
        self.events.push_back(Event::Started { id, at: now, fault });
        self.enter(id, Phase::Working, until);
    }

    fn start_waiting(&mut self) {
        while self.busy < self.rules.workers
            && let Some((_, id)) = self.waiting.pop_first()
        {
            self.leave_agenda(id);
            self.start(id);
        }
    }

    fn enter_section(&mut self, id: CallId) {
        let until = self.calls.get(&id).map_or(self.now, |call| self.now.saturating_add(call.serial));
        self.enter(id, Phase::InSection, until);
    }

    fn finish(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.served.finished = self.now;
        let (served, at) = (call.served, self.now.saturating_add(call.link_back));
        let fate = match call.fault {
            _ if self.outages.ongoing(self.now) => Fate::Lost,
            Some(code) => Fate::Failed(code),
            None => Fate::Answered,
        };
        self.tally.served(&served, call.fault.is_some());
        self.busy = self.busy.saturating_sub(1);
        self.answer(id, Event::Finished { id, at, served, fate });
        self.start_waiting();
    }

    fn refuse(&mut self, id: CallId, reason: Reason, retry_after: Option<Nanos>) {
        self.tally.refused(reason);
        let retry_after = retry_after.filter(|_| reason != Reason::Outage).map(|hint| hint.max(LEAST_HINT));
        let link_back = self.calls.get(&id).map_or(0, |call| call.link_back);
        let at = self.now.saturating_add(link_back);
        self.answer(id, Event::Refused { id, at, reason, retry_after });
    }

    /// Every waiting call is refused, because an outage begins.
    fn empty_queue(&mut self) {
        while let Some((_, id)) = self.waiting.pop_first() {
            self.leave_agenda(id);
            self.refuse(id, Reason::Outage, None);
        }
    }

    /// The last event of a call goes back over the link.
    fn answer(&mut self, id: CallId, event: Event) {
        if event.at() > self.now {
            self.enter(id, Phase::LinkBack(event), event.at());
        } else {
            self.calls.remove(&id);
            self.events.push_back(event);
        }
    }

    /// About how long the queue takes to empty: workers at their mean pace.
    fn hint(&self) -> Nanos {
        let mean = self.rules.service(Method::Create).mean();
        let calls = Nanos::try_from(self.waiting.len()).unwrap_or(Nanos::MAX).saturating_add(1);
        (mean.saturating_mul(calls) / Nanos::from(self.rules.workers)).min(self.rules.longest_wait)
    }

    fn enter(&mut self, id: CallId, phase: Phase, until: Nanos) {
        if let Some(call) = self.calls.get_mut(&id) {
            (call.phase, call.due) = (phase, until);
            self.agenda.insert((until, phase.rank(), call.key, id));
        }
    }

    fn set_phase(&mut self, id: CallId, phase: Phase) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.phase = phase;
        }
    }

    fn leave_agenda(&mut self, id: CallId) {
        if let Some(call) = self.calls.get(&id) {
            self.agenda.remove(&(call.due, call.phase.rank(), call.key, id));
        }
    }
}
