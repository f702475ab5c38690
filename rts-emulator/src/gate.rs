//! Runs the model in real time. The model decides in virtual time; timers only deliver, so that a late one
//! delays an answer by its lateness and changes nothing else. The lock is held for a few microseconds and never
//! over an await.
//!
//! tokio's timers wake on whole milliseconds, about one too late. Here a thread of its own waits, which the
//! operating system wakes some tens of microseconds late; it aims earlier by as much as it has been late of late, so
//! that short service times are right on the average.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use service_kit::clock::Clock;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    model::{Call, CallId, Event, Fate, Figures, Model, Nanos, Reason, Rules, Served},
    profile::{GrpcCode, Profile, ProfileError},
    telemetry,
};

/// The most by which the timer aims earlier than what is due.
const MOST_LEAD: Nanos = 1_000_000;
/// How much of the lead the last wake-up decides: one part in so many.
const LEAD_MEMORY: i64 = 16;

/// Calls in, decisions out.
pub(crate) struct Gate {
    clock: Arc<dyn Clock>,
    /// Instant 0 of virtual time.
    origin: Instant,
    state: Mutex<State>,
    /// The timer sleeps for something that is no longer the next.
    sooner: Condvar,
    observer: Option<mpsc::Sender<Served>>,
}

struct State {
    model: Model,
    profile: Profile,
    calls: HashMap<CallId, Signals>,
    /// What the timer sleeps for.
    alarm: Option<Nanos>,
    /// By how much it aims earlier.
    lead: Nanos,
    live: Live,
    closed: bool,
}

/// Figures that only real time has.
#[derive(Debug, Clone, Copy, Default)]
struct Live {
    overruns: u64,
    answers: i64,
    /// Nanoseconds; early ones count against late ones.
    lateness: i64,
}

/// Where a call's decisions go. Dropped when the call leaves.
struct Signals {
    verdict: Option<oneshot::Sender<Verdict>>,
    end: oneshot::Sender<End>,
}

/// Whether a call is served.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// A worker has it. With a fault there is no real work to do.
    Started(Option<GrpcCode>),
    /// It is refused.
    Refused(Reason, Option<Duration>),
}

/// A call has been served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) fate: Fate,
    /// How long it waited for a worker.
    pub(crate) waited: Duration,
    /// When it had one.
    pub(crate) started: Instant,
    /// When the worker was free.
    pub(crate) finished: Instant,
    /// The way back.
    pub(crate) link_back: Duration,
    /// Whether the profile adds nothing to the real work.
    pub(crate) pass_through: bool,
}

/// A call on its way. Each is told at most once; a sender that is dropped means that the call has left.
pub(crate) struct Decisions {
    pub(crate) verdict: oneshot::Receiver<Verdict>,
    pub(crate) end: oneshot::Receiver<End>,
}

/// The caller's hold on a call: dropped while the call waits, the call leaves.
pub(crate) struct Caller {
    gate: Arc<Gate>,
    id: CallId,
    answered: bool,
}

impl Caller {
    /// The answer has come; there is nothing to leave.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if !self.answered {
            self.gate.leave(self.id);
        }
    }
}

impl Gate {
    /// A gate at instant 0.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        profile: Profile,
        seed: u64,
        observer: Option<mpsc::Sender<Served>>,
    ) -> Result<Self, ProfileError> {
        let model = Model::new(Rules::new(&profile)?, seed);
        let (calls, live) = (HashMap::new(), Live::default());
        let state = Mutex::new(State { model, profile, calls, alarm: None, lead: 0, live, closed: false });
        Ok(Self { origin: clock.now(), clock, state, sooner: Condvar::new(), observer })
    }

    /// A call arrives; `None` if the gate is closed.
    pub(crate) fn enter(self: &Arc<Self>, call: Call<'_>) -> Option<(Caller, Decisions)> {
        let (verdict, verdict_told) = oneshot::channel();
        let (end, end_told) = oneshot::channel();
        let id = self.with(|state, now| {
            (!state.closed).then(|| {
                let id = state.model.arrive(now, call);
                state.calls.insert(id, Signals { verdict: Some(verdict), end });
                id
            })
        })?;
        let caller = Caller { gate: Arc::clone(self), id, answered: false };
        Some((caller, Decisions { verdict: verdict_told, end: end_told }))
    }

    fn leave(&self, id: CallId) {
        self.with(|state, now| {
            if state.model.cancel(now, id) {
                telemetry::call("abandoned");
                state.calls.remove(&id);
            }
        });
    }

    /// The profile in force.
    pub(crate) fn profile(&self) -> Profile {
        self.with(|state, _| state.profile.clone())
    }

    /// Another profile.
    pub(crate) fn set_profile(&self, profile: Profile) -> Result<(), ProfileError> {
        let rules = Rules::new(&profile)?;
        self.with(|state, now| {
            state.model.set_rules(now, rules);
            state.profile = profile;
        });
        Ok(())
    }

    /// An outage by command.
    pub(crate) fn start_outage(&self, duration: Option<Duration>) {
        self.with(|state, now| state.model.start_outage(now, duration.map(nanos)));
    }

    /// Its end.
    pub(crate) fn end_outage(&self) {
        self.with(|state, now| state.model.end_outage(now));
    }

    /// The model's figures, overruns, and the mean lateness of answers in nanoseconds.
    pub(crate) fn figures(&self, reset: bool) -> (Figures, u64, i64) {
        self.with(|state, now| {
            let live = state.live;
            if reset {
                state.live = Live::default();
            }
            (state.model.figures(now, reset), live.overruns, live.lateness / live.answers.max(1))
        })
    }

    /// The real headquarters took longer than the model said; gives how often it has.
    pub(crate) fn overrun(&self) -> u64 {
        self.with(|state, _| {
            state.live.overruns += 1;
            state.live.overruns
        })
    }

    /// No more calls; those that are here leave.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.calls.clear();
        self.sooner.notify_one();
    }

    /// Delivers each decision when it is due, until the gate is closed. For a thread of its own.
    pub(crate) fn drive(&self) {
        let mut state = self.state();
        while !state.closed {
            let Some(next) = state.model.next_event() else {
                state.alarm = None;
                state = self.sooner.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (now, aim) = (self.now(), next.saturating_sub(state.lead));
            if aim <= now {
                // What is due within the lead is told now; nobody who arrives in between is told a different story.
                self.tell(&mut state, now, now.max(next));
                continue;
            }
            state.alarm = Some(aim);
            let slept = self.sooner.wait_timeout(state, Duration::from_nanos(aim - now));
            let timed_out;
            (state, timed_out) = slept.unwrap_or_else(PoisonError::into_inner);
            if timed_out.timed_out() {
                let late = i64::try_from(self.now().saturating_sub(aim)).unwrap_or(i64::MAX);
                let lead = state.lead.cast_signed();
                state.lead = (lead + (late - lead) / LEAD_MEMORY).max(0).cast_unsigned().min(MOST_LEAD);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Nanos {
        nanos(self.clock.now().saturating_duration_since(self.origin))
    }

    /// Every use of the state: `act`, then tell what has happened, then wake the timer if it oversleeps.
    fn with<T>(&self, act: impl FnOnce(&mut State, Nanos) -> T) -> T {
        let mut state = self.state();
        // Read under the lock, so that instants come to the model in order.
        let now = self.now();
        self.tell(&mut state, now, now);
        let result = act(&mut state, now);
        self.tell(&mut state, now, now);
        let (waiting, busy) = state.model.load();
        telemetry::load(waiting, busy);
        if let Some(next) = state.model.next_event() {
            let aim = next.saturating_sub(state.lead);
            if state.alarm.is_none_or(|alarm| aim < alarm) {
                state.alarm = Some(aim);
                self.sooner.notify_one();
            }
        }
        result
    }

    /// Tells what has happened until an instant, which may be a little later than now.
    fn tell(&self, state: &mut State, now: Nanos, until: Nanos) {
        for event in state.model.advance(until) {
            if !matches!(event, Event::Started { .. }) {
                state.live.answers = state.live.answers.saturating_add(1);
                state.live.lateness =
                    state.live.lateness.saturating_add(now.cast_signed() - event.at().cast_signed());
                telemetry::lateness(Duration::from_nanos(now.saturating_sub(event.at())));
            }
            // A receiver that is gone has nobody to tell.
            match event {
                Event::Started { id, fault, .. } => {
                    if let Some(verdict) = state.calls.get_mut(&id).and_then(|call| call.verdict.take()) {
                        let _ = verdict.send(Verdict::Started(fault));
                    }
                }
                Event::Refused { id, reason, retry_after, .. } => {
                    telemetry::refused(reason);
                    if let Some(verdict) = state.calls.remove(&id).and_then(|call| call.verdict) {
                        let _ = verdict.send(Verdict::Refused(reason, retry_after.map(Duration::from_nanos)));
                    }
                }
                Event::Finished { id, at, served, fate } => {
                    telemetry::served(&served, fate);
                    if let Some(observer) = &self.observer {
                        let _ = observer.try_send(served);
                    }
                    if let Some(call) = state.calls.remove(&id) {
                        let waited = Duration::from_nanos(served.wait());
                        let started = self.origin + Duration::from_nanos(served.started);
                        let finished = self.origin + Duration::from_nanos(served.finished);
                        let link_back = Duration::from_nanos(at.saturating_sub(served.finished));
                        let pass_through = served.service == 0;
                        let _ =
                            call.end.send(End { fate, waited, started, finished, link_back, pass_through });
                    }
                }
            }
        }
    }
}

/// Saturates after 584 years.
fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
