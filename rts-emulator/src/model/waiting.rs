//! The queue: by class of priority, and within a class first come, first served.

use std::collections::VecDeque;

use super::{CallId, calls::Calls};

/// Classes of priority.
pub(super) const CLASSES: usize = 10;

/// Calls that have left without being served stay in their lane until they come up, or until they are more than
/// those that wait and are swept out: at most twice the queue, and [`Waiting::SPARE`].
#[derive(Default)]
pub(super) struct Waiting {
    lanes: [VecDeque<CallId>; CLASSES],
    len: usize,
    gone: usize,
}

impl Waiting {
    const SPARE: usize = 1_024;

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, class: u8, id: CallId) {
        self.lanes[usize::from(class).min(CLASSES - 1)].push_back(id);
        self.len += 1;
    }

    /// The call that is served next.
    pub(super) fn pop(&mut self, calls: &Calls) -> Option<CallId> {
        if self.len == 0 {
            return None;
        }
        for lane in &mut self.lanes {
            while let Some(id) = lane.pop_front() {
                if calls.is_waiting(id) {
                    self.len -= 1;
                    return Some(id);
                }
                self.gone = self.gone.saturating_sub(1);
            }
        }
        None
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// A waiting call has left: it is no longer in the phase of waiting.
    pub(super) fn left(&mut self, calls: &Calls) {
        self.len = self.len.saturating_sub(1);
        self.gone += 1;
        if self.gone > self.len + Self::SPARE {
            for lane in &mut self.lanes {
                lane.retain(|id| calls.is_waiting(*id));
            }
            self.gone = 0;
        }
    }
}
