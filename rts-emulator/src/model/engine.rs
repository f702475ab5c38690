//! The event-driven core: `arrive`, `advance`, `next_event`.

use std::collections::{VecDeque, vec_deque};

use super::{
    Call, CallId, Event, Fate, Figures, Nanos, Reason, Rules, Served,
    agenda::{Agenda, Due},
    calls::{Calls, InFlight, Phase},
    draw::{ChannelKey, Draw, Key, Keys},
    figures::Tally,
    limits::Limits,
    pace::Pace,
    rules::nanos,
    section::Section,
    throttle::Throttle,
    timeline::Timeline,
    waiting::Waiting,
};
use crate::profile::Method;

/// Shortest retry hint.
const LEAST_HINT: Nanos = 1_000_000;

/// The emulated headquarters. Instants that go backwards count as the latest one given.
pub struct Model {
    rules: Rules,
    keys: Keys,
    limits: Limits,
    throttle: Option<Throttle>,
    timeline: Timeline,
    tally: Tally,
    /// Everything that was due up to here has happened.
    now: Nanos,
    calls: Calls,
    agenda: Agenda,
    waiting: Waiting,
    pace: Pace,
    busy: u32,
    section: Section,
    /// Happened, but not yet told.
    events: VecDeque<Event>,
}

/// What happens next.
enum Next {
    Change,
    WorkEnds,
    Due,
}

impl Model {
    /// An idle headquarters at instant 0.
    #[must_use]
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            keys: Keys::new(seed),
            limits: Limits::new(rules.quotas, 0),
            throttle: rules.throttle.map(Throttle::new),
            timeline: Timeline::new(rules.plan.clone()),
            rules,
            tally: Tally::default(),
            now: 0,
            calls: Calls::default(),
            agenda: Agenda::default(),
            waiting: Waiting::default(),
            pace: Pace::new(),
            busy: 0,
            section: Section::default(),
            events: VecDeque::new(),
        }
    }

    /// A channel sends a call. What becomes of it, [`Model::advance`] tells. Everything that chance decides
    /// about it is drawn here, by the rules in force now.
    pub fn arrive(&mut self, now: Nanos, call: Call<'_>) -> CallId {
        let key = self.keys.next(&call);
        self.insert(now, &call, key)
    }

    /// The same for a call of a name that has never come before and never comes again, which is not remembered:
    /// its draws are those of a first time.
    pub fn arrive_once(&mut self, now: Nanos, call: Call<'_>) -> CallId {
        let key = self.keys.once(&call);
        self.insert(now, &call, key)
    }

    fn insert(&mut self, now: Nanos, call: &Call<'_>, key: Key) -> CallId {
        let now = now.max(self.now);
        let channel = ChannelKey::of(call.channel);
        let service = self.rules.service(call.method).draw(|| key.rng(Draw::ServiceTime));
        let share = if call.method == Method::Create { self.rules.serial_share } else { 0.0 };
        let way = |jitter, loss| self.rules.link.time(|| key.fraction(jitter), || key.fraction(loss));
        let due = now.saturating_add(way(Draw::LinkOut, Draw::LossOut));
        let id = self.calls.insert(InFlight {
            key,
            channel,
            phase: Phase::LinkOut,
            serial: nanos(service as f64 * share).min(service),
            link_back: way(Draw::LinkBack, Draw::LossBack),
            fault: self.rules.fault(|| key.fraction(Draw::Fault)),
            served: Served { service, class: self.rules.class(call, channel), ..Served::default() },
        });
        self.tally.figures.arrived += 1;
        self.agenda.add(due, Due::Arrival, key, id);
        id
    }

    /// The caller goes away. True if the call leaves without having been started; once started it runs on, and
    /// its events follow.
    pub fn cancel(&mut self, now: Nanos, id: CallId) -> bool {
        self.run_to(now);
        let Some(call) = self.calls.get(id) else { return false };
        match call.phase {
            Phase::LinkOut => {
                self.calls.remove(id);
                self.agenda.moved_on(&self.calls);
            }
            Phase::Waiting => {
                self.let_out(id, 0);
                self.calls.remove(id);
                self.waiting.left(&self.calls);
                self.agenda.moved_on(&self.calls);
            }
            Phase::Working | Phase::BeforeSection | Phase::InSection | Phase::LinkBack(_) => return false,
        }
        self.tally.figures.abandoned += 1;
        true
    }

    /// Lets virtual time pass and tells what has happened, in order, each with its exact instant.
    pub fn advance(&mut self, now: Nanos) -> vec_deque::Drain<'_, Event> {
        self.run_to(now);
        self.events.drain(..)
    }

    /// Lets virtual time pass, and tells the next thing that has happened; nothing once all has been told.
    #[inline]
    pub fn poll(&mut self, now: Nanos) -> Option<Event> {
        if self.events.is_empty() {
            self.run_to(now);
        }
        self.events.pop_front()
    }

    /// When [`Model::advance`] will next have something to do; in the past if it has something to tell.
    #[must_use]
    #[inline]
    pub fn next_event(&self) -> Option<Nanos> {
        let told = self.events.front().map(Event::at);
        told.or_else(|| self.next().map(|(at, _)| at))
    }

    /// Another profile from now on. Calls that wait or run keep what they were given; limits and throttle start
    /// anew, and so does the schedule of outages and batches; what was commanded goes on.
    pub fn set_rules(&mut self, now: Nanos, rules: Rules) {
        self.run_to(now);
        self.limits = Limits::new(rules.quotas, self.now);
        self.throttle = rules.throttle.map(Throttle::new);
        self.timeline.replan(rules.plan.clone(), self.now);
        self.rules = rules;
        self.changed();
    }

    /// An outage begins, for so long or until [`Model::end_outage`]. It replaces one that was begun before.
    pub fn start_outage(&mut self, now: Nanos, duration: Option<Nanos>) {
        self.run_to(now);
        let until = duration.map_or(Nanos::MAX, |duration| self.now.saturating_add(duration));
        self.timeline.command_outage(until, self.now);
        self.changed();
    }

    /// The outage by command ends. A scheduled one goes on.
    pub fn end_outage(&mut self, now: Nanos) {
        self.run_to(now);
        self.timeline.command_outage(0, self.now);
        self.changed();
    }

    /// So many workers serve no calls, until another number is given: batch work that is not on the profile's
    /// schedule, such as a customer sync job.
    pub fn occupy(&mut self, now: Nanos, workers: u32) {
        self.run_to(now);
        self.timeline.occupy(workers, self.now);
        self.changed();
    }

    /// The figures up to now; with `reset` counting begins anew.
    pub fn figures(&mut self, now: Nanos, reset: bool) -> Figures {
        self.run_to(now);
        let queue_now = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let figures = Figures {
            queue_now,
            busy_now: self.busy,
            workers: self.rules.workers,
            batch_now: self.timeline.taken(),
            slowness: self.slowness(),
            outage: self.timeline.is_out(),
            ..self.tally.read(self.now)
        };
        if reset {
            self.tally = Tally::at(self.now);
            self.tally.figures.queue_max = queue_now;
        }
        figures
    }

    /// How many calls wait, and how many workers are busy with calls.
    #[must_use]
    pub fn load(&self) -> (usize, u32) {
        (self.waiting.len(), self.busy)
    }

    /// Entries of queue and agenda, those of calls that have left included.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.agenda.entries() + self.waiting.entries()
    }

    fn run_to(&mut self, now: Nanos) {
        while let Some((at, next)) = self.next().filter(|(at, _)| *at <= now) {
            self.pass_to(at);
            match next {
                Next::Change => {
                    self.timeline.pass(self.now);
                    self.changed();
                }
                Next::WorkEnds => {
                    if let Some(id) = self.pace.pop() {
                        self.work_ends(id);
                    }
                }
                Next::Due => match self.agenda.pop(&self.calls) {
                    Some((Due::Arrival, id)) => self.admit(id),
                    Some((Due::LongestWait, id)) => {
                        self.let_out(id, 0);
                        self.refuse(id, Reason::LongestWait, Some(self.hint()));
                        self.waiting.left(&self.calls);
                    }
                    Some((Due::Answer, id)) => self.answer(id),
                    None => {}
                },
            }
        }
        self.pass_to(now);
    }

    #[inline]
    fn next(&self) -> Option<(Nanos, Next)> {
        // What never happens is at the end of time.
        let change = self.timeline.next_change().unwrap_or(Nanos::MAX);
        let work = self.pace.next().unwrap_or(Nanos::MAX);
        let due = self.agenda.next().unwrap_or(Nanos::MAX);
        // Of what is next at the same instant the first one counts.
        let next = match change.min(work).min(due) {
            Nanos::MAX => return None,
            at if at == change => (at, Next::Change),
            at if at == work => (at, Next::WorkEnds),
            at => (at, Next::Due),
        };
        Some(next)
    }

    fn pass_to(&mut self, at: Nanos) {
        self.now = self.now.max(at);
        self.tally.tick(self.now, self.busy, self.timeline.taken(), self.rules.workers);
    }

    /// Rules or timeline are others than before.
    fn changed(&mut self) {
        if self.timeline.is_out() {
            self.empty_queue();
        }
        self.pace.set(self.now, self.slowness());
        self.start_waiting();
    }

    fn slowness(&self) -> f64 {
        let crowded = self.rules.scalability.map_or(1.0, |law| law.slowness(self.busy));
        crowded * self.timeline.slowness()
    }

    /// More workers or fewer are busy with calls.
    fn set_busy(&mut self, busy: u32) {
        self.busy = busy;
        if self.rules.scalability.is_some() {
            self.pace.set(self.now, self.slowness());
        }
    }

    fn has_free_worker(&self) -> bool {
        self.busy < self.rules.workers.saturating_sub(self.timeline.taken())
    }

    fn admit(&mut self, id: CallId) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(id) else { return };
        call.served.arrived = now;
        let (channel, class) = (call.channel, call.served.class);
        if self.timeline.is_out() {
            return self.refuse(id, Reason::Outage, None);
        }
        if let Err(wait) = self.limits.check(now, channel) {
            return self.refuse(id, Reason::RateLimit, Some(wait));
        }
        if let Some(throttle) = &mut self.throttle {
            let used = self.busy.saturating_add(self.timeline.taken());
            let busy = f64::from(used.min(self.rules.workers)) / f64::from(self.rules.workers);
            if let Err((because, wait)) = throttle.check(now, channel, class, busy) {
                return self.refuse(id, Reason::Throttle(because), Some(wait));
            }
        }
        if self.has_free_worker() {
            self.start(id);
        } else if self.waiting.len() >= self.rules.queue_capacity {
            self.let_out(id, 0);
            self.refuse(id, Reason::QueueFull, Some(self.hint()));
        } else {
            self.waiting.push(class, id);
            let longest = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
            self.tally.figures.queue_max = self.tally.figures.queue_max.max(longest);
            if let Some(call) = self.calls.get_mut(id) {
                call.phase = Phase::Waiting;
                self.agenda.add(now.saturating_add(self.rules.longest_wait), Due::LongestWait, call.key, id);
            }
        }
    }

    fn start(&mut self, id: CallId) {
        let now = self.now;
        self.set_busy(self.busy + 1);
        let Some(call) = self.calls.get_mut(id) else { return };
        (call.served.started, call.phase) = (now, Phase::Working);
        self.events.push_back(Event::Started { id, at: now, fault: call.fault });
        self.pace.begin(now, call.served.service - call.serial, call.key, id);
    }

    fn start_waiting(&mut self) {
        while self.has_free_worker()
            && let Some(id) = self.waiting.pop(&self.calls)
        {
            self.start(id);
            self.agenda.moved_on(&self.calls);
        }
    }

    /// Some work on a call has ended: that before the serial section, or that in it.
    fn work_ends(&mut self, id: CallId) {
        match self.calls.get(id).map(|call| (&call.phase, call.serial)) {
            Some((Phase::Working, 1..)) if !self.section.take(id) => {
                if let Some(call) = self.calls.get_mut(id) {
                    call.phase = Phase::BeforeSection;
                }
                if self.section.is_alone() {
                    self.enter_section(id);
                }
            }
            Some((Phase::Working, _)) => self.finish(id),
            Some((Phase::InSection, _)) => {
                self.section.fetched(self.rules.block);
                self.finish(id);
                while let Some(served) = self.section.next_served() {
                    self.finish(served);
                }
                if let Some(next) = self.section.next_to_enter() {
                    self.enter_section(next);
                }
            }
            _ => {}
        }
    }

    fn enter_section(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(id) {
            call.phase = Phase::InSection;
            self.pace.begin(self.now, call.serial, call.key, id);
        }
    }

    fn finish(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.served.finished = self.now;
        let (served, at) = (call.served, self.now.saturating_add(call.link_back));
        let fate = match call.fault {
            _ if self.timeline.is_out() => Fate::Lost,
            Some(code) => Fate::Failed(code),
            None => Fate::Answered,
        };
        self.tally.served(&served, call.fault.is_some());
        self.let_out(id, served.held());
        self.send_back(id, Event::Finished { id, at, served, fate });
        self.set_busy(self.busy.saturating_sub(1));
        self.start_waiting();
    }

    fn refuse(&mut self, id: CallId, reason: Reason, retry_after: Option<Nanos>) {
        self.tally.refused(reason);
        let retry_after = retry_after.filter(|_| reason != Reason::Outage).map(|hint| hint.max(LEAST_HINT));
        let link_back = self.calls.get(id).map_or(0, |call| call.link_back);
        let at = self.now.saturating_add(link_back);
        self.send_back(id, Event::Refused { id, at, reason, retry_after });
    }

    /// Every waiting call is refused, because headquarters is out.
    fn empty_queue(&mut self) {
        while let Some(id) = self.waiting.pop(&self.calls) {
            self.let_out(id, 0);
            self.refuse(id, Reason::Outage, None);
            self.agenda.moved_on(&self.calls);
        }
    }

    /// A call that the throttle has let in ends, after so much worker time.
    fn let_out(&mut self, id: CallId, execution: Nanos) {
        if let (Some(throttle), Some(call)) = (&mut self.throttle, self.calls.get(id)) {
            throttle.ended(self.now, call.channel, execution);
        }
    }

    /// The last event of a call goes back over the link.
    fn send_back(&mut self, id: CallId, event: Event) {
        if event.at() <= self.now {
            self.calls.remove(id);
            self.events.push_back(event);
        } else if let Some(call) = self.calls.get_mut(id) {
            call.phase = Phase::LinkBack(Box::new(event));
            self.agenda.add(event.at(), Due::Answer, call.key, id);
        }
    }

    fn answer(&mut self, id: CallId) {
        if let Some(Phase::LinkBack(event)) = self.calls.get(id).map(|call| &call.phase) {
            self.events.push_back(**event);
            self.calls.remove(id);
        }
    }

    /// About how long the queue takes to empty: workers at their mean pace.
    fn hint(&self) -> Nanos {
        let mean = self.rules.service(Method::Create).mean();
        let calls = Nanos::try_from(self.waiting.len()).unwrap_or(Nanos::MAX).saturating_add(1);
        (mean.saturating_mul(calls) / Nanos::from(self.rules.workers)).min(self.rules.longest_wait)
    }
}
