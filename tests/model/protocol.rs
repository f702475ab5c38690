//! Who keeps what, and what is under way. The steps stand in the rooms below: each is one transaction, or one message,
//! of the real code, and names it. A step that would do nothing is not possible.

mod headquarters;
mod store;
mod whole;

use crate::bugs::Bug;

/// Stores.
pub const CHANNELS: usize = 2;
/// Three customers, and the twin that only a planted bug makes of the second.
pub const GUIDS: usize = 4;
/// That twin.
pub const TWIN: u8 = 3;
/// Processes of headquarters on one database.
pub const PROCESSES: usize = 2;
/// Which store may be asked to create which customer. The last is brought to both.
pub const ASKED: [(u8, u8); 4] = [(0, 0), (1, 1), (0, 2), (1, 2)];

/// A customer in a store's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// The account number; 0 while it is pending.
    pub number: u8,
    /// The version in headquarters' feed; 0 while only the store's own log knows of it.
    pub version: u8,
}

/// An entry of a store's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// An async create: an operation.
    Create { guid: u8, content: u8 },
    /// A sync create, as headquarters has told it.
    Told { guid: u8, row: Row },
}

impl Entry {
    pub fn guid(self) -> u8 {
        match self {
            Self::Create { guid, .. } | Self::Told { guid, .. } => guid,
        }
    }
}

/// The file that can be built again: `synchronous=NORMAL`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tables {
    /// Entries of the log that stand here.
    pub applied: u8,
    /// The version of the feed up to which it was read.
    pub cursor: u8,
    pub rows: [Option<Row>; GUIDS],
}

impl Tables {
    /// `channel-svc/src/log/entry.rs`, `Row::merged`: what headquarters says replaces unless it is older.
    fn merge(&mut self, guid: u8, row: Row, older_too: bool) {
        let place = &mut self.rows[usize::from(guid)];
        match place {
            None => *place = Some(row),
            // An async create never replaces.
            Some(_) if row.version == 0 => {}
            Some(known) if row.version >= known.version || older_too => *known = row,
            Some(_) => {}
        }
    }
}

/// A store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Channel {
    /// Durable: `synchronous=FULL`.
    pub log: Vec<Entry>,
    /// Durable, in the log's file: entries up to here have been answered.
    pub uploaded: u8,
    /// As reads see them.
    pub tables: Tables,
    /// As they would be after a power cut.
    pub synced: Tables,
    /// In memory: an upload was answered up to here, the numbers in it are applied, the log does not know.
    pub answered: u8,
    /// In memory: what a planted bug has acknowledged too early.
    pub queued: Vec<Entry>,
}

impl Channel {
    /// Whether anything is known of a customer: `find.rs`, the tail first, then the tables.
    pub fn knows(&self, guid: u8) -> bool {
        self.tables.rows[usize::from(guid)].is_some()
            || self.log.iter().chain(&self.queued).any(|entry| entry.guid() == guid)
    }

    fn follow(&mut self, bug: Option<Bug>) {
        for entry in &self.log[usize::from(self.tables.applied)..] {
            let row = match entry {
                Entry::Create { .. } => Row { number: 0, version: 0 },
                Entry::Told { row, .. } => *row,
            };
            self.tables.merge(entry.guid(), row, bug == Some(Bug::OlderRowApplies));
        }
        self.tables.applied = count(self.log.len());
    }

    /// The oldest operations that have not been answered, as the numbers of the first and the last.
    fn page(&self, size: u8) -> Option<(u8, u8)> {
        let operation = |at: &u8| matches!(self.log[usize::from(*at) - 1], Entry::Create { .. });
        let mut page = (self.uploaded + 1..=self.tables.applied).filter(operation).take(usize::from(size));
        let first = page.next()?;
        Some((first, page.last().unwrap_or(first)))
    }

    /// How many operations a page would have.
    pub fn page_len(&self, size: u8) -> u8 {
        let last = usize::from(self.tables.applied);
        let open = self.log.get(usize::from(self.uploaded)..last).unwrap_or_default();
        count(open.iter().filter(|entry| matches!(entry, Entry::Create { .. })).count()).min(size)
    }
}

/// A customer at headquarters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Customer {
    pub number: u8,
    pub version: u8,
    pub content: u8,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    Waiting,
    /// `online_operation_completed = 1`.
    Completed,
    /// The GUID is taken by a customer with other content.
    SetAside,
}

/// An operation that a channel has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arrival {
    pub channel: u8,
    pub counter: u8,
    pub guid: u8,
    pub content: u8,
    pub fate: Fate,
}

/// What a process has worked out for an arrival, from what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Planned {
    pub arrival: u8,
    pub insert: bool,
    pub fate: Fate,
    /// The version, where a planted bug takes it too early.
    pub stamp: u8,
}

/// A process of headquarters. All of it is in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Process {
    /// The token of the lease that it believes to hold.
    pub token: u8,
    pub plan: Vec<Planned>,
    /// Account numbers that it has reserved: from, to before.
    pub block: (u8, u8),
}

/// Headquarters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Headquarters {
    pub arrivals: Vec<Arrival>,
    pub customers: [Option<Customer>; GUIDS],
    /// The next number of the sequence.
    pub next: u8,
    /// The newest version of the feed.
    pub head: u8,
    /// The newest token of the lease.
    pub lease: u8,
    pub processes: [Process; PROCESSES],
    /// In memory: arrivals that a planted bug has answered too early.
    pub unsaved: Vec<Arrival>,
    /// For the properties: every number that was ever given out, and to whom.
    pub spent: Vec<(u8, u8)>,
    /// For the properties: something was committed under a lease that was lost.
    pub unfenced: bool,
}

/// A message that is under way. What is never delivered is lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// `CreateCustomer` of the real-time service, and its answer.
    Call {
        channel: u8,
        guid: u8,
    },
    Told {
        channel: u8,
        guid: u8,
        row: Row,
    },
    /// `UploadOperations`: entries from first to last.
    Upload {
        channel: u8,
        first: u8,
        last: u8,
    },
    /// Its answer: how far the page was taken, and the numbers of customers that are real already.
    Uploaded {
        channel: u8,
        first: u8,
        last: u8,
        through: u8,
        numbers: Vec<(u8, u8)>,
    },
    /// `ListCustomerChanges`, answered. The request needs no place of its own: it changes nothing at headquarters, and
    /// one that is delayed is one that is made later.
    Page {
        channel: u8,
        after: u8,
        next: u8,
        head: u8,
        records: Vec<(u8, Row)>,
    },
}

impl Message {
    /// The store that waits for this answer.
    fn answers(&self) -> Option<u8> {
        match self {
            Self::Call { .. } | Self::Upload { .. } => None,
            Self::Told { channel, .. } | Self::Uploaded { channel, .. } | Self::Page { channel, .. } => {
                Some(*channel)
            }
        }
    }
}

/// How large the world is. All bounds of the check stand here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    /// The bug that was planted.
    pub bug: Option<Bug>,
    /// The first and the last customer there is, of 0 to 2.
    pub customers: (u8, u8),
    /// Whether the two stores bring the last customer with different content.
    pub conflict: bool,
    /// Whether stores call headquarters before they log.
    pub sync: bool,
    /// How often something crashes.
    pub crashes: u8,
    /// How often the network repeats a message.
    pub repeats: u8,
    /// Pages of uploads of a store that are under way at a time: the one that it waits for, and late ones.
    pub late: u8,
    /// How often a store syncs its tables.
    pub checkpoints: u8,
    /// How often the lease passes to the other process.
    pub steals: u8,
    /// How often headquarters edits a customer.
    pub edits: u8,
    /// Account numbers in a block; 0: one at a time, without gaps.
    pub block: u8,
    /// Operations in a page of an upload, arrivals in a batch, records in a page of the feed.
    pub page: u8,
    /// What is walked through message by message.
    pub fine: Fine,
}

/// What other steps may come in between. What is not fine is one step from its first message to its last, with every
/// place where it may be cut off. All of it at once is too much for three customers, so each world takes some apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fine {
    pub calls: bool,
    pub uploads: bool,
    pub conversions: bool,
    pub feeds: bool,
}

/// How far something came that is one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// To headquarters; the answer was lost.
    There,
    /// Back, and a part of what follows was done: of an upload, the numbers are applied and nothing is cleared.
    Back,
    /// To its end.
    Through,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub channels: [Channel; CHANNELS],
    pub hq: Headquarters,
    /// In order, each once.
    pub network: Vec<Message>,
    /// For the properties: which creates were acknowledged, by store and customer.
    pub acknowledged: [[bool; GUIDS]; CHANNELS],
    pub crashes: u8,
    pub repeats: u8,
    pub checkpoints: u8,
    pub edits: u8,
}

pub fn count(len: usize) -> u8 {
    u8::try_from(len).expect("a small world")
}

impl World {
    pub fn start(&self) -> State {
        let holder = Process { token: 1, ..Process::default() };
        State {
            channels: Default::default(),
            hq: Headquarters {
                arrivals: Vec::new(),
                customers: [None; GUIDS],
                next: 1,
                head: 0,
                lease: 1,
                processes: [holder, Process::default()],
                unsaved: Vec::new(),
                spent: Vec::new(),
                unfenced: false,
            },
            network: Vec::new(),
            acknowledged: [[false; GUIDS]; CHANNELS],
            crashes: 0,
            repeats: 0,
            checkpoints: 0,
            edits: 0,
        }
    }

    pub fn asked(&self) -> impl Iterator<Item = (u8, u8)> {
        let (first, last) = self.customers;
        ASKED.into_iter().filter(move |(_, guid)| (first..=last).contains(guid))
    }

    pub fn content(&self, channel: u8, guid: u8) -> u8 {
        if self.conflict && guid == 2 { channel } else { 0 }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

impl State {
    pub fn channel(&mut self, channel: u8) -> &mut Channel {
        &mut self.channels[usize::from(channel)]
    }

    fn post(&mut self, message: Message) -> Option<()> {
        let place = self.network.binary_search(&message).err()?;
        self.network.insert(place, message);
        Some(())
    }

    fn take(&mut self, message: &Message, repeat: bool) -> Option<()> {
        let place = self.network.binary_search(message).ok()?;
        if repeat {
            self.repeats += 1;
        } else {
            self.network.remove(place);
        }
        Some(())
    }
}
