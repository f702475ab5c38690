//! The serial section: a number sequence that one create at a time can fetch numbers from.

use std::collections::VecDeque;

use super::CallId;

#[derive(Default)]
pub(super) struct Section {
    /// The first is in it, the others wait for it, all holding their workers.
    line: VecDeque<CallId>,
    /// What is left of the block.
    numbers: u32,
}

impl Section {
    /// A create needs a number: true if one is left for it. If not, it gets in line.
    pub(super) fn take(&mut self, id: CallId) -> bool {
        let has_one = self.line.is_empty() && self.numbers > 0;
        if has_one {
            self.numbers -= 1;
        } else {
            self.line.push_back(id);
        }
        has_one
    }

    /// Whether a create that got in line is the only one, so that it enters at once.
    pub(super) fn is_alone(&self) -> bool {
        self.line.len() == 1
    }

    /// The first in line has fetched a block, and takes the first number of it.
    pub(super) fn fetched(&mut self, block: u32) {
        self.line.pop_front();
        self.numbers = block - 1;
    }

    /// The next in line, if there is a number for it.
    pub(super) fn next_served(&mut self) -> Option<CallId> {
        let next = (self.numbers > 0).then(|| self.line.pop_front()).flatten();
        self.numbers -= u32::from(next.is_some());
        next
    }

    /// The next in line, which has to fetch a block.
    pub(super) fn next_to_enter(&self) -> Option<CallId> {
        self.line.front().copied()
    }
}
