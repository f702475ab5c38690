//! A call between its arrival and its answer.

use super::{Event, Nanos, Reason, Served, draw::Key};
use crate::profile::GrpcCode;

pub(super) struct InFlight {
    pub(super) key: Key,
    pub(super) channel: Box<str>,
    pub(super) phase: Phase,
    /// End of the phase.
    pub(super) due: Nanos,
    /// Service time inside the serial section.
    pub(super) serial: Nanos,
    pub(super) link_back: Nanos,
    pub(super) fault: Option<GrpcCode>,
    pub(super) served: Served,
}

#[derive(Clone, Copy)]
pub(super) enum Phase {
    LinkOut,
    /// In the queue, which it leaves for the given reason if no worker takes it before.
    Waiting {
        turn: u64,
        or: Reason,
    },
    Working,
    /// Holds a worker and waits for the serial section; has no entry in the agenda.
    BeforeSection,
    InSection,
    LinkBack(Event),
}

impl Phase {
    /// Which of the phases that end at one instant ends first.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Working | Self::BeforeSection | Self::InSection => 0,
            Self::Waiting { .. } => 1,
            Self::LinkOut => 2,
            Self::LinkBack(_) => 3,
        }
    }
}
