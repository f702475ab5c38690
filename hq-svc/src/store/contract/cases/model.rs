//! Headquarters as a plain model: lists and maps, one thing after the other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use tillsync_proto::pb::hq::ResyncReason;

/// Customers, contents and channels of a case.
pub(super) const GUIDS: u8 = 6;
pub(super) const CONTENTS: u8 = 3;
const CHANNELS: u8 = 2;

/// An operation of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// GUID, content.
    Create(u8, u8),
    /// The same.
    Rename(u8, u8),
}

impl Op {
    fn guid(self) -> u8 {
        match self {
            Self::Create(guid, _) | Self::Rename(guid, _) => guid,
        }
    }
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A create of the real-time service: new, a repeat, or with other content.
    Create { guid: u8, content: u8 },
    /// An edit at headquarters.
    Edit { guid: u8, content: u8 },
    /// A customer is read.
    Get { guid: u8 },
    /// Everybody of a name is looked for.
    Search { content: u8 },
    /// A page of new operations, behind so many that come again.
    Upload { channel: u8, again: usize, new: Vec<Op> },
    /// The customer sync job.
    Convert { batch: usize },
    /// The next page of the feed.
    Feed { channel: u8, limit: u8 },
    /// A cursor that is ahead of this database, or of another.
    LostCursor { channel: u8, ahead: bool },
    /// Headquarters ends and starts again.
    Restart,
}

/// A customer as it is shown; number and version from 1 within a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub guid: u8,
    pub content: u8,
    pub number: u64,
    pub version: u64,
}

/// What a step shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Nothing,
    Records(Vec<Shown>),
    /// Counter, whether it was known, the reason it was set aside for, the account number; of a create that is refused
    /// because the GUID is taken, none.
    Taken(Vec<(u64, bool, String, Option<u64>)>),
    Converted {
        completed: u64,
        set_aside: u64,
    },
    Page {
        records: Vec<(Shown, u64)>,
        next: u64,
        head: u64,
    },
    Resync(Option<i32>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Done,
    /// Tried again.
    NotFound,
    /// Not tried again.
    Taken,
}

#[derive(Debug, Clone)]
struct Arrived {
    channel: u8,
    counter: u64,
    op: Op,
    fate: Fate,
}

#[derive(Debug, Clone)]
struct Known {
    shown: Shown,
    /// What it was created with.
    created: u8,
    /// How far each channel's edits are in it.
    included: [u64; CHANNELS as usize],
}

/// The model.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    customers: BTreeMap<u8, Known>,
    /// In the order of arrival.
    arrivals: Vec<Arrived>,
    version: u64,
    cursors: [u64; CHANNELS as usize],
}

impl Model {
    /// The operations of a page: some that came before, then new ones.
    pub fn page(&self, channel: u8, again: usize, new: &[Op]) -> Vec<(u64, Op)> {
        let of = self.arrivals.iter().filter(|arrived| arrived.channel == channel);
        let old: Vec<_> = of.map(|arrived| (arrived.counter, arrived.op)).collect();
        let next = old.last().map_or(1, |(counter, _)| counter + 1);
        let again = old[old.len().saturating_sub(again)..].to_vec();
        again.into_iter().chain((next..).zip(new.iter().copied())).collect()
    }

    /// Small batches only where they change nothing but the versions in a way that is known: the operations of several
    /// channels take turns, and of one that fails the next batch may know or not.
    pub fn batch(&self, asked: usize) -> usize {
        let open = || self.arrivals.iter().filter(|arrived| arrived.fate != Fate::Done);
        let one = open().all(|arrived| Some(arrived.channel) == open().next().map(|first| first.channel));
        // An edit may fail in a small batch, and not in a large one that holds its customer's create, too.
        let fails = |batch| self.clone().convert(batch).1 > 0;
        let fails = fails(usize::MAX) || fails(asked) || open().any(|arrived| arrived.fate != Fate::Waiting);
        if one && !fails { asked } else { 2_000 }
    }

    pub fn cursor(&self, channel: u8) -> u64 {
        self.cursors[usize::from(channel)]
    }

    /// What brings a case to its end.
    pub fn last_steps(&self) -> Vec<Step> {
        let missing = (0..GUIDS).filter(|guid| !self.customers.contains_key(guid));
        let mut steps: Vec<Step> = missing.map(|guid| Step::Create { guid, content: 0 }).collect();
        steps.push(Step::Convert { batch: 1 });
        steps.extend((0..CHANNELS).map(|channel| Step::Feed { channel, limit: 100 }));
        steps
    }

    /// Carries a step out.
    pub fn step(&mut self, step: &Step) -> Seen {
        match step {
            Step::Create { guid, content } => match self.customers.get(guid) {
                Some(known) if known.created != *content => Seen::Taken(Vec::new()),
                Some(known) => Seen::Records(vec![known.shown]),
                None => Seen::Records(vec![self.insert(*guid, *content, *content)]),
            },
            Step::Edit { guid, content } => match self.customers.get_mut(guid) {
                None => Seen::Nothing,
                Some(known) => {
                    if known.shown.content != *content {
                        self.version += 1;
                        known.shown = Shown { content: *content, version: self.version, ..known.shown };
                    }
                    Seen::Records(vec![known.shown])
                }
            },
            Step::Get { guid } => {
                self.customers.get(guid).map_or(Seen::Nothing, |known| Seen::Records(vec![known.shown]))
            }
            Step::Search { content } => {
                let all = self.customers.values().map(|known| known.shown);
                Seen::Records(all.filter(|shown| shown.content == *content).collect())
            }
            Step::Upload { channel, again, new } => {
                let page = self.page(*channel, *again, new).into_iter();
                Seen::Taken(page.map(|(counter, op)| self.arrive(*channel, counter, op)).collect())
            }
            Step::Convert { batch } => {
                let (completed, set_aside) = self.convert(self.batch(*batch));
                Seen::Converted { completed, set_aside }
            }
            Step::Feed { channel, limit } => {
                let cursor = &mut self.cursors[usize::from(*channel)];
                let all = self.customers.values().filter(|known| known.shown.version > *cursor);
                let mut records: Vec<_> =
                    all.map(|known| (known.shown, known.included[usize::from(*channel)])).collect();
                records.sort_unstable_by_key(|(shown, _)| shown.version);
                records.truncate(usize::from(*limit));
                *cursor = records.last().map_or(*cursor, |(shown, _)| shown.version);
                Seen::Page { records, next: *cursor, head: self.version }
            }
            Step::LostCursor { ahead, .. } => {
                let reason = if *ahead { ResyncReason::Ahead } else { ResyncReason::OtherEpoch };
                Seen::Resync(Some(reason as i32))
            }
            Step::Restart => Seen::Nothing,
        }
    }

    fn insert(&mut self, guid: u8, created: u8, content: u8) -> Shown {
        self.version += 1;
        let number = self.customers.len() as u64 + 1;
        let shown = Shown { guid, content, number, version: self.version };
        self.customers.insert(guid, Known { shown, created, included: [0; CHANNELS as usize] });
        shown
    }

    fn arrive(&mut self, channel: u8, counter: u64, op: Op) -> (u64, bool, String, Option<u64>) {
        let same = |arrived: &&Arrived| (arrived.channel, arrived.counter) == (channel, counter);
        let there = self.arrivals.iter().find(same).map(|arrived| arrived.fate);
        if there.is_none() {
            self.arrivals.push(Arrived { channel, counter, op, fate: Fate::Waiting });
        }
        let reason = match there {
            Some(Fate::NotFound) => "NOT_FOUND",
            Some(Fate::Taken) => "GUID_TAKEN",
            _ => "",
        };
        let number = self.customers.get(&op.guid()).map(|known| known.shown.number);
        (counter, there.is_some(), reason.to_owned(), number)
    }

    /// One run: gives how many were completed and how many set aside.
    fn convert(&mut self, batch: usize) -> (u64, u64) {
        let mut blocked: Vec<u8> = Vec::new();
        let mut due: Vec<usize> = Vec::new();
        for (place, arrived) in self.arrivals.iter().enumerate() {
            let guid = arrived.op.guid();
            match arrived.fate {
                Fate::Done => {}
                Fate::Taken => blocked.push(guid),
                Fate::Waiting | Fate::NotFound if !blocked.contains(&guid) => due.push(place),
                Fate::Waiting | Fate::NotFound => {}
            }
        }
        let (mut completed, mut set_aside) = (0, 0);
        for places in due.chunks(batch.min(due.len().max(1))) {
            let mut order: Vec<u8> = Vec::new();
            for place in places {
                let guid = self.arrivals[*place].op.guid();
                if !order.contains(&guid) {
                    order.push(guid);
                }
            }
            for guid in order.into_iter().filter(|guid| !blocked.contains(guid)).collect::<Vec<_>>() {
                let of = |place: &&usize| self.arrivals[**place].op.guid() == guid;
                let places: Vec<usize> = places.iter().filter(of).copied().collect();
                let (done, fails) = self.convert_one(guid, &places);
                completed += done;
                set_aside += u64::from(fails);
                if fails {
                    blocked.push(guid);
                }
            }
        }
        (completed, set_aside)
    }

    /// The operations of one customer in one batch, up to the first that fails; the create of one who is not there first.
    fn convert_one(&mut self, guid: u8, places: &[usize]) -> (u64, bool) {
        let known = self.customers.get(&guid);
        let mut draft = known.map(|known| (known.created, known.shown.content));
        let mut places = places.to_vec();
        let create = |place: &usize| matches!(self.arrivals[*place].op, Op::Create(..));
        if let Some(create) = places.iter().position(create).filter(|_| draft.is_none()) {
            places[..=create].rotate_right(1);
        }
        let (mut done, mut edits, mut fails) = (0, Vec::new(), false);
        for place in places {
            let Arrived { channel, counter, op, fate } = &mut self.arrivals[place];
            *fate = match (*op, &mut draft) {
                (Op::Create(_, content), None) => {
                    draft = Some((content, content));
                    Fate::Done
                }
                (Op::Create(_, content), Some((created, _))) if content == *created => Fate::Done,
                (Op::Create(..), Some(_)) => Fate::Taken,
                (Op::Rename(..), None) => Fate::NotFound,
                (Op::Rename(_, content), Some((_, now))) => {
                    *now = content;
                    edits.push((*channel, *counter));
                    Fate::Done
                }
            };
            if *fate != Fate::Done {
                fails = true;
                break;
            }
            done += 1;
        }
        if let Some((created, content)) = draft {
            match self.customers.get_mut(&guid) {
                None => {
                    self.insert(guid, created, content);
                }
                Some(known) if !edits.is_empty() || known.shown.content != content => {
                    self.version += 1;
                    known.shown = Shown { content, version: self.version, ..known.shown };
                }
                Some(_) => {}
            }
            if let Some(known) = self.customers.get_mut(&guid) {
                for (channel, counter) in edits {
                    let included = &mut known.included[usize::from(channel)];
                    *included = (*included).max(counter);
                }
            }
        }
        (done, fails)
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        // The first content is the usual one, so that repeats are repeats.
        let (guid, channel) = (|| 0..GUIDS, || 0..CHANNELS);
        let content = || prop_oneof![3 => Just(0_u8), 1 => 1..CONTENTS];
        let op = prop_oneof![
            3 => (guid(), content()).prop_map(|(guid, content)| Op::Create(guid, content)),
            2 => (guid(), 0..CONTENTS).prop_map(|(guid, content)| Op::Rename(guid, content)),
        ];
        let new = prop::collection::vec(op, 0..5);
        prop_oneof![
            12 => (guid(), content()).prop_map(|(guid, content)| Step::Create { guid, content }),
            6 => (guid(), 0..CONTENTS).prop_map(|(guid, content)| Step::Edit { guid, content }),
            3 => guid().prop_map(|guid| Step::Get { guid }),
            3 => (0..CONTENTS).prop_map(|content| Step::Search { content }),
            18 => (channel(), 0..4_usize, new)
                .prop_map(|(channel, again, new)| Step::Upload { channel, again, new }),
            12 => prop_oneof![Just(2_000_usize), 1..4_usize].prop_map(|batch| Step::Convert { batch }),
            12 => (channel(), 1..5_u8).prop_map(|(channel, limit)| Step::Feed { channel, limit }),
            3 => (channel(), any::<bool>()).prop_map(|(channel, ahead)| Step::LostCursor { channel, ahead }),
            1 => Just(Step::Restart),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.step(step);
        state
    }
}
