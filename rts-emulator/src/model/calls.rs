//! The calls between arrival and answer, in slots that are used again.

use super::{
    Event, Nanos, Served,
    draw::{ChannelKey, Key},
};
use crate::profile::GrpcCode;

/// A call in the model. Ordered by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// Never the same again.
    number: u64,
    slot: u32,
}

impl CallId {
    /// A small number for what is kept about the call outside the model: the least that no call in the model has.
    /// Another call may have it once this one's last event has been told.
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

#[cfg(test)]
impl CallId {
    /// The how manieth call it is, from 0.
    pub(super) fn number(self) -> u64 {
        self.number
    }

    /// One that is in no model.
    pub(super) fn nth(number: u64) -> Self {
        Self { number, slot: 0 }
    }
}

pub(super) struct InFlight {
    pub(super) key: Key,
    pub(super) channel: ChannelKey,
    pub(super) phase: Phase,
    /// Service time inside the serial section.
    pub(super) serial: Nanos,
    pub(super) link_back: Nanos,
    pub(super) fault: Option<GrpcCode>,
    pub(super) served: Served,
}

/// Where a call is. It comes through each at most once.
pub(super) enum Phase {
    LinkOut,
    Waiting,
    Working,
    /// Holds a worker and waits for the serial section.
    BeforeSection,
    InSection,
    /// With what the caller will hear. Apart, because it is large and only there if there is a way back.
    LinkBack(Box<Event>),
}

#[derive(Default)]
pub(super) struct Calls {
    slots: Vec<Option<(u64, InFlight)>>,
    free: Vec<u32>,
    next: u64,
}

impl Calls {
    pub(super) fn insert(&mut self, call: InFlight) -> CallId {
        let number = self.next;
        self.next += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[slot as usize] = Some((number, call));
        CallId { number, slot }
    }

    pub(super) fn get(&self, id: CallId) -> Option<&InFlight> {
        match self.slots.get(id.slot as usize) {
            Some(Some((number, call))) if *number == id.number => Some(call),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut InFlight> {
        match self.slots.get_mut(id.slot as usize) {
            Some(Some((number, call))) if *number == id.number => Some(call),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, id: CallId) {
        if self.get(id).is_some() {
            self.slots[id.slot as usize] = None;
            self.free.push(id.slot);
        }
    }

    pub(super) fn is_waiting(&self, id: CallId) -> bool {
        self.get(id).is_some_and(|call| matches!(call.phase, Phase::Waiting))
    }
}
