//! What happens to calls at which instant, but for work, which [`super::pace`] has.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    CallId, Nanos,
    calls::{Calls, Phase},
    draw::Key,
};

/// What is due. Of what is due at one instant, in the order that the variants stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The call has waited as long as calls may.
    LongestWait,
    /// The call arrives.
    Arrival,
    /// The caller hears the answer.
    Answer,
}

/// When, what, and to which call; the key decides between calls to which the same happens at the same instant.
type Entry = (Nanos, Due, Key, CallId);

/// A heap. Entries of calls that have moved on in the meantime stay in it until they come up, or until they are
/// more than the others and are swept out: at most twice the calls that have an entry, and [`Agenda::SPARE`].
#[derive(Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    gone: usize,
}

impl Agenda {
    const SPARE: usize = 1_024;

    pub(super) fn add(&mut self, at: Nanos, due: Due, key: Key, id: CallId) {
        self.heap.push(Reverse((at, due, key, id)));
    }

    /// The next instant at which something is due. Never of a call that has moved on.
    pub(super) fn next(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn pop(&mut self, calls: &Calls) -> Option<(Due, CallId)> {
        let Reverse((_, due, _, id)) = self.heap.pop()?;
        self.drop_gone(calls);
        Some((due, id))
    }

    /// A call that has an entry has moved on.
    pub(super) fn moved_on(&mut self, calls: &Calls) {
        self.gone += 1;
        self.drop_gone(calls);
        if self.gone > self.heap.len() / 2 + Self::SPARE {
            self.heap.retain(|Reverse((_, due, _, id))| is_due(calls, *due, *id));
            self.gone = 0;
        }
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.heap.len()
    }

    fn drop_gone(&mut self, calls: &Calls) {
        while let Some(Reverse((_, due, _, id))) = self.heap.peek()
            && !is_due(calls, *due, *id)
        {
            self.heap.pop();
            self.gone = self.gone.saturating_sub(1);
        }
    }
}

fn is_due(calls: &Calls, due: Due, id: CallId) -> bool {
    let Some(call) = calls.get(id) else { return false };
    match due {
        Due::LongestWait => matches!(call.phase, Phase::Waiting),
        Due::Arrival => matches!(call.phase, Phase::LinkOut),
        Due::Answer => matches!(call.phase, Phase::LinkBack(_)),
    }
}
