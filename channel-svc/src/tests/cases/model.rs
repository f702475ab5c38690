//! A store and its headquarters as a plain model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// Customers and contents of a case.
pub(super) const GUIDS: u8 = 5;
pub(super) const CONTENTS: u8 = 3;

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A create in the store: new, a repeat, or with other content.
    Create { guid: u8, content: u8 },
    /// An edit in the store, which is logged.
    Edit { guid: u8, content: u8 },
    /// A customer is read.
    Get { guid: u8 },
    /// Everybody of a name is looked for.
    Search { content: u8 },
    /// Another store creates a customer.
    Elsewhere { guid: u8, content: u8 },
    /// Somebody at headquarters edits one.
    EditThere { guid: u8, content: u8 },
    /// The P-job, of whose pages headquarters answers only so many operations at a time.
    Upload { answers: usize },
    /// The customer sync job.
    Convert,
    /// 1010.
    Feed,
    /// What the log holds comes into the tables.
    Follow,
    /// The store ends and starts again.
    Restart,
}

/// A customer as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub guid: u8,
    pub content: u8,
    /// Whether it has its account number.
    pub real: bool,
    /// Edits that headquarters has not told back.
    pub edits: usize,
}

/// What a step shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Nothing,
    Taken,
    Records(Vec<Shown>),
    /// How many operations or records were moved.
    Moved(u64),
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Create(u8),
    Edit(u8),
}

/// A customer at headquarters.
#[derive(Debug, Clone, Copy)]
struct There {
    content: u8,
    version: u64,
    /// Operations of the store up to here are in it.
    included: usize,
}

/// A customer in the store.
#[derive(Debug, Clone)]
struct Known {
    /// What it was created with here; absent: elsewhere.
    created: Option<u8>,
    /// Without the edits that wait.
    base: u8,
    real: bool,
    /// The version that headquarters has told; 0: none.
    version: u64,
    edits: Vec<(usize, u8)>,
}

impl Known {
    fn shown(&self, guid: u8) -> Shown {
        let content = self.edits.last().map_or(self.base, |(_, content)| *content);
        Shown { guid, content, real: self.real, edits: self.edits.len() }
    }
}

/// The model.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    known: BTreeMap<u8, Known>,
    /// The store's operations, in order, and how many of them have been brought.
    log: Vec<(u8, Op)>,
    brought: usize,
    there: BTreeMap<u8, There>,
    /// Headquarters' newest version, and how far 1010 has read.
    head: u64,
    cursor: u64,
    /// Operations that headquarters has converted.
    converted: usize,
}

impl Model {
    /// Whether a step can be.
    fn makes_sense(&self, step: &Step) -> bool {
        match step {
            // Other content under a GUID that the store does not know yet is for headquarters to refuse; that is said
            // in the cases of headquarters.
            Step::Create { guid, .. } => self.known.contains_key(guid) || !self.there.contains_key(guid),
            Step::Elsewhere { guid, .. } => !self.known.contains_key(guid) && !self.there.contains_key(guid),
            // An edit of a customer that headquarters has, and that others edit, is for the cases of headquarters too.
            Step::EditThere { guid, .. } => self.there.contains_key(guid),
            Step::Edit { guid, .. } => self.known.contains_key(guid),
            _ => true,
        }
    }

    /// What brings a case to its end.
    pub fn last_steps() -> Vec<Step> {
        let mut steps = vec![Step::Upload { answers: 1_000 }, Step::Convert, Step::Feed];
        steps.extend((0..GUIDS).map(|guid| Step::Get { guid }));
        steps.extend((0..CONTENTS).map(|content| Step::Search { content }));
        steps
    }

    /// Whether nothing waits and everybody is real.
    pub fn is_level(&self) -> bool {
        let level = |known: &Known| known.real && known.edits.is_empty();
        self.brought == self.log.len() && self.cursor == self.head && self.known.values().all(level)
    }

    /// Carries a step out.
    pub fn step(&mut self, step: &Step) -> Seen {
        match step {
            Step::Create { guid, content } => self.create(*guid, *content),
            Step::Edit { guid, content } => {
                let Some(known) = self.known.get_mut(guid) else { return Seen::Nothing };
                if known.shown(*guid).content != *content {
                    self.log.push((*guid, Op::Edit(*content)));
                    known.edits.push((self.log.len(), *content));
                }
                Seen::Records(vec![known.shown(*guid)])
            }
            Step::Get { guid } => {
                self.known.get(guid).map_or(Seen::Nothing, |known| Seen::Records(vec![known.shown(*guid)]))
            }
            Step::Search { content } => {
                let all = self.known.iter().map(|(guid, known)| known.shown(*guid));
                Seen::Records(all.filter(|shown| shown.content == *content).collect())
            }
            Step::Elsewhere { guid, content } | Step::EditThere { guid, content } => {
                let included = self.there.get(guid).map_or(0, |there| there.included);
                self.save(*guid, *content, included);
                Seen::Nothing
            }
            Step::Upload { .. } => {
                let moved = self.log.len() - self.brought;
                for (guid, _) in &self.log[self.brought..] {
                    if let (Some(known), true) = (self.known.get_mut(guid), self.there.contains_key(guid)) {
                        known.real = true;
                    }
                }
                self.brought = self.log.len();
                Seen::Moved(moved as u64)
            }
            Step::Convert => {
                for place in self.converted..self.brought {
                    match self.log[place] {
                        (guid, Op::Create(content)) if !self.there.contains_key(&guid) => {
                            self.save(guid, content, 0);
                        }
                        (_, Op::Create(_)) => {}
                        (guid, Op::Edit(content)) => self.save(guid, content, place + 1),
                    }
                }
                self.converted = self.brought;
                Seen::Nothing
            }
            Step::Feed => self.feed(),
            Step::Follow | Step::Restart => Seen::Nothing,
        }
    }

    fn create(&mut self, guid: u8, content: u8) -> Seen {
        if let Some(known) = self.known.get(&guid) {
            let shown = known.shown(guid);
            let same = known.created.unwrap_or(shown.content) == content;
            return if same { Seen::Records(vec![shown]) } else { Seen::Taken };
        }
        self.log.push((guid, Op::Create(content)));
        let (created, edits) = (Some(content), Vec::new());
        let known = Known { created, base: content, real: false, version: 0, edits };
        let shown = known.shown(guid);
        self.known.insert(guid, known);
        Seen::Records(vec![shown])
    }

    fn save(&mut self, guid: u8, content: u8, included: usize) {
        self.head += 1;
        self.there.insert(guid, There { content, version: self.head, included });
    }

    fn feed(&mut self) -> Seen {
        let mut moved = 0;
        for (guid, there) in &self.there {
            if there.version <= self.cursor {
                continue;
            }
            moved += 1;
            let fresh = Known { created: None, base: 0, real: true, version: 0, edits: Vec::new() };
            let known = self.known.entry(*guid).or_insert(fresh);
            (known.base, known.real, known.version) = (there.content, true, there.version);
            known.edits.retain(|(place, _)| *place > there.included);
        }
        self.cursor = self.head;
        Seen::Moved(moved)
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let guid = || 0..GUIDS;
        let content = || prop_oneof![3 => Just(0_u8), 1 => 1..CONTENTS];
        prop_oneof![
            18 => (guid(), content()).prop_map(|(guid, content)| Step::Create { guid, content }),
            9 => (guid(), 0..CONTENTS).prop_map(|(guid, content)| Step::Edit { guid, content }),
            6 => guid().prop_map(|guid| Step::Get { guid }),
            3 => (0..CONTENTS).prop_map(|content| Step::Search { content }),
            6 => (guid(), content()).prop_map(|(guid, content)| Step::Elsewhere { guid, content }),
            6 => (guid(), 0..CONTENTS).prop_map(|(guid, content)| Step::EditThere { guid, content }),
            9 => prop_oneof![Just(1_000_usize), 1..3_usize].prop_map(|answers| Step::Upload { answers }),
            9 => Just(Step::Convert),
            9 => Just(Step::Feed),
            3 => Just(Step::Follow),
            1 => Just(Step::Restart),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        state.makes_sense(step)
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.step(step);
        state
    }
}
