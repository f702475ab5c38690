//! What goes into a store and comes out of it: customers, plans, cards and pairs here, the rest in rooms of their own.

#![expect(clippy::large_enum_variant, reason = "the large variant is the common one; boxes would cost more")]

mod arrivals;
mod settings;

use tillsync_proto::{ChannelId, Content, Customer, CustomerId, Micros, Reason};
use uuid::Uuid;

pub use arrivals::{
    Arrival, ArrivalCounts, Arrived, Due, OperationRow, Payload, SetAside, StatusFilter, StoredPayload,
    SyncStatus,
};
pub use settings::{
    ChannelRow, GlobalConfiguration, Reconfigure, Reconfigured, RunRequest, RunRequests, SequenceState,
    Session,
};

/// What the database is and what it has given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Identity of the database (rule X7).
    pub epoch: Uuid,
    /// The newest version of the feed; 0 when there is none.
    pub version: u64,
    /// Customers.
    pub customers: u64,
    /// Arrivals that have been processed.
    pub arrivals_completed: u64,
    /// Channels that have not brought yet what was lost in a restore; while there are any, nothing changes.
    pub awaited: u64,
}

/// A customer and its place in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The customer; its account number is there.
    pub customer: Customer,
    /// The version, from 1.
    pub version: u64,
}

/// A record, and what the customer was created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Fingerprint of what was asked for when the customer was created (rule M9).
    pub fingerprint: Uuid,
}

/// A record of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRecord {
    /// The record.
    pub stored: Stored,
    /// How far the edits of channels are in it.
    pub included: Included,
}

/// Up to which counter the edits of each channel are in a record, of channels that have made some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Included(pub Vec<(String, u64)>);

impl Included {
    /// Edits that this channel logged up to this counter are in it.
    pub fn of(&self, channel: &str) -> u64 {
        self.0.iter().find(|(of, _)| of == channel).map_or(0, |(_, counter)| *counter)
    }
}

/// What a channel says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The channel.
    pub channel: ChannelId,
    /// Its status, encoded.
    pub status: Vec<u8>,
    /// Runs that have ended, and those under way.
    pub runs: Vec<Session>,
}

/// Who asked for an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Who called, by the role and the name that its credential shows; empty where none has to be shown.
    pub caller: String,
    /// Who asked for it, as the caller says; may be empty if the caller is known.
    pub requested_by: String,
}

/// That a customer was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its place on the list.
    pub seq: i64,
    /// The customer.
    pub customer: CustomerId,
    /// Who asked for it.
    pub asker: Asker,
    /// When.
    pub erased_at: Micros,
    /// The channels that have erased it since, and when that was heard.
    pub confirmed: Vec<(String, Micros)>,
    /// The channels that have not told so.
    pub awaited: Vec<String>,
}

/// A customer that was lost in a restore, as a channel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The customer with its account number.
    pub customer: Customer,
    /// The version that headquarters had told of it; 0 if only the account number was told.
    pub version: u64,
    /// Fingerprint of what was asked for when it was created.
    pub fingerprint: Uuid,
    /// The channel's own edits up to this counter are in it.
    pub included: u64,
}

/// A customer to insert.
#[derive(Debug, Clone)]
pub struct NewCustomer {
    /// The GUID.
    pub id: CustomerId,
    /// Fingerprint of what was asked for.
    pub fingerprint: Uuid,
    /// The content to insert; later operations of the same batch are in it.
    pub content: Content,
    /// When it was created, by the clock of the channel that took it.
    pub created_at: Micros,
}

/// What happens to a customer, and to the arrivals that wanted it. Whole or not at all.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The change of the customer.
    pub write: Write,
    /// What becomes of arrivals. Not carried out if the change is not.
    pub verdicts: Vec<Verdict>,
    /// The edits among them that are in the change; the newest of each channel counts.
    pub edits: Vec<AppliedEdit>,
}

impl Plan {
    /// A change that no arrival has asked for.
    #[must_use]
    pub fn of(write: Write) -> Self {
        Self { write, verdicts: Vec::new(), edits: Vec::new() }
    }
}

/// A change of a customer.
#[derive(Debug, Clone)]
pub enum Write {
    /// None.
    Nothing,
    /// A new customer, if the GUID is free.
    Insert(NewCustomer),
    /// A customer in place of the record it was made from, if that is still the newest.
    Replace {
        /// What the change was made from.
        before: Record,
        /// The customer now.
        after: Customer,
    },
}

/// What becomes of one arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The arrival.
    pub seq: i64,
    /// Its fate.
    pub fate: Fate,
}

/// An edit of a channel that a plan brings into its customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedEdit {
    /// The customer.
    pub customer: CustomerId,
    /// The channel that logged it.
    pub channel: String,
    /// Its place in the channel's log.
    pub counter: u64,
}

/// A value that somebody had written and that an arrival has replaced (rule X11).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Overwritten {
    /// The field, as an update mask names it, or "address".
    pub field: String,
    /// The value.
    pub value: serde_json::Value,
}

/// The fate of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Processed: `online_operation_completed = 1` (rule X2).
    Completed {
        /// Values of others that it has replaced.
        overwritten: Vec<Overwritten>,
    },
    /// Its customer has been erased: nothing of it stays.
    Erased(CustomerId),
    /// Set aside (rule X5).
    SetAside {
        /// Why.
        reason: Reason,
        /// In words, without personal data.
        message: String,
        /// When to try again, in wall-clock micros; `None`: not by itself.
        next_attempt_at: Option<i64>,
    },
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Done, without a change of the customer.
    Done,
    /// Done; the customer as it is now.
    Written(Record),
    /// Not done: the GUID is taken, or the record is not the newest any more.
    Conflict(Stored),
    /// Not done: there is no such customer.
    Gone,
    /// Not done: the number sequence has no numbers left (rule X6).
    Exhausted,
}

/// A loyalty card to issue.
#[derive(Debug, Clone)]
pub struct CardRequest {
    /// To whom.
    pub customer: CustomerId,
    /// The number; `None` takes the next of the number sequence.
    pub number: Option<String>,
    /// Makes a repeat free of effect.
    pub request_id: Uuid,
}

/// What became of a card request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issued {
    /// Issued, now or by the same request before.
    Card {
        /// The customer now.
        record: Record,
        /// The card's number.
        number: String,
    },
    /// There is no such customer.
    NoCustomer,
    /// The number belongs to someone else.
    Taken,
    /// The request id was used for something else.
    RequestUsed,
    /// The customer has [`super::MAX_CARDS`] cards.
    TooMany,
    /// The number sequence has no numbers left.
    Exhausted,
}

/// A customer that a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The customer.
    pub id: CustomerId,
    /// Points, as `Criterion::rank` gives them.
    pub points: i64,
}

/// What two customers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// An e-mail.
    Email = 1,
    /// A phone and the name.
    PhoneAndName = 2,
}

/// Two customers that may be the same person (rule C5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The later one.
    pub customer: CustomerId,
    /// The earlier one.
    pub other: CustomerId,
    /// What they share.
    pub likeness: Likeness,
}

/// A pair on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticedPair {
    /// Its place on the list.
    pub seq: i64,
    /// The pair.
    pub pair: Pair,
    /// When it was noticed.
    pub noticed_at: Micros,
}
