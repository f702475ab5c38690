//! The contention model: headquarters as workers, a queue, service times, a serial section, a link, limits,
//! faults and outages (rule R2), as plain logic in virtual time (rule R4). No clock, socket or thread: time is
//! a parameter, and departures follow from arrival instants and drawn service times alone. Whoever advances it
//! late learns late, and never changes who waits for whom.
//!
//! A call's way: link out, admission (outage, rate limits, throttle, then a free worker or a place in the
//! queue), the queue, a worker (the serial section comes last), link back. At one instant, outages and batches
//! that begin or end come first, then what frees a worker, then waits that end, then arrivals; and calls of the
//! same kind in the order of their keys, so that the order in which simultaneous calls are handed in does not
//! matter (rule R3).
//!
//! | module | what it has |
//! |---|---|
//! | `rules` | a checked profile in integers |
//! | `engine` | the calls' way, event by event |
//! | `calls`, `agenda`, `waiting`, `pace` | the calls; what happens when; the queue; work done, at the pace of the moment |
//! | `section` | the number sequence |
//! | `timeline` | outages, batches, the slow start |
//! | `limits`, `throttle` | who is let in |
//! | `draw`, `sampler` | chance |
//! | `figures` | what is counted |
//! | [`theory`] | formulas to check it against |
//!
//! Bounds (rule Z3): the queue by the profile, calls in service by the workers, calls on the link by whoever
//! hands them in; the rest where it stands.

mod agenda;
mod calls;
mod draw;
mod engine;
mod figures;
mod limits;
mod pace;
mod rules;
mod sampler;
mod section;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_parts;
#[cfg(test)]
mod tests_queueing;
pub mod theory;
mod throttle;
mod timeline;
mod waiting;

pub use calls::CallId;
pub use engine::Model;
pub use figures::Figures;
pub use rules::{MAX_MS, Rules};

use crate::profile::{GrpcCode, Method};

/// Virtual time: nanoseconds since the model's start, or a duration. 584 years fit.
pub type Nanos = u64;

/// A call as the model sees it. The three together are the stable name that chance is keyed by (rule R3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// The channel that calls; has its own limits.
    pub channel: &'a str,
    /// The method.
    pub method: Method,
    /// What it is about: a customer's GUID, an account number, a search text. Only hashed.
    pub subject: &'a [u8],
}

/// Something that has happened to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A worker has taken it; the real work begins. Follows by exactly one `Finished`.
    Started {
        /// The call.
        id: CallId,
        /// When.
        at: Nanos,
        /// It will fail with this code: there is no real work to do.
        fault: Option<GrpcCode>,
    },
    /// It will not be served. Nothing follows.
    Refused {
        /// The call.
        id: CallId,
        /// When the caller hears of it.
        at: Nanos,
        /// Why.
        reason: Reason,
        /// When a next try may pass; unknown for an outage.
        retry_after: Option<Nanos>,
    },
    /// It has been served. Nothing follows.
    Finished {
        /// The call.
        id: CallId,
        /// When the caller hears of it: the way back included.
        at: Nanos,
        /// When it was where.
        served: Served,
        /// What the caller hears.
        fate: Fate,
    },
}

impl Event {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Started { at, .. } | Self::Refused { at, .. } | Self::Finished { at, .. } => *at,
        }
    }
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The queue was full.
    QueueFull,
    /// It had waited as long as calls may.
    LongestWait,
    /// It came too fast.
    RateLimit,
    /// Its channel has used too much, or headquarters is too busy for its class.
    Throttle(Throttled),
    /// Headquarters is out.
    Outage,
}

/// What a call was throttled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Throttled {
    /// Its channel's calls in the window.
    Requests,
    /// The time that workers have spent on its channel's calls in the window.
    Execution,
    /// Its channel's calls that are under way.
    Concurrent,
    /// The workers that are busy, at its class of priority.
    Priority,
}

/// What becomes of the answer of a call that has been served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It reaches the caller.
    Answered,
    /// The profile made the call fail.
    Failed(GrpcCode),
    /// Headquarters has done it, but an outage keeps the answer from the caller.
    Lost,
}

/// The instants of a call that has been served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// At headquarters: the way out is over.
    pub arrived: Nanos,
    /// At a worker.
    pub started: Nanos,
    /// Done; the worker is free.
    pub finished: Nanos,
    /// Its class of priority.
    pub class: u8,
    /// The drawn service time: how long the worker would be held if the call were alone. More if it waits for the
    /// serial section, or others slow it down; less if it needs no number of its own.
    pub service: Nanos,
}

impl Served {
    /// How long it waited for a worker.
    #[must_use]
    pub fn wait(&self) -> Nanos {
        self.started.saturating_sub(self.arrived)
    }

    /// How long its worker was held.
    #[must_use]
    pub fn held(&self) -> Nanos {
        self.finished.saturating_sub(self.started)
    }
}
