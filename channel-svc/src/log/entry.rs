//! A customer as this channel keeps it, how two versions of one are put together, and how it is stored: the
//! log and the tables hold the same bytes.

mod operation;

use std::{borrow::Cow, sync::OnceLock};

use prost::Message as _;
use tillsync_proto::{
    Change, Customer, CustomerId, Micros, Operation, Previous, Term, Violations, convert, pb::common, terms,
};
use uuid::Uuid;

use crate::planted::planted;

pub(crate) use operation::{operation, scrubbed};

/// A place in the feed of one headquarters database (rule X7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The database.
    pub epoch: String,
    /// Its version of the customer.
    pub version: u64,
}

/// The way a customer was created (rules M1, M2, M4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CreatePath {
    /// One blocking call to headquarters.
    Sync,
    /// In the log, because the profile says so.
    Async,
    /// In the log, because the call to headquarters failed in communication.
    Fallback {
        /// The gRPC status name of the failed call.
        cause: String,
    },
}

/// What was asked for when the customer was created, so that a repeat is recognised (rule M9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Fingerprint of the content that was asked for.
    pub fingerprint: Uuid,
    /// The way it went; absent if another channel created the customer.
    pub path: Option<CreatePath>,
}

/// An edit that this channel has logged and headquarters has not told back (rule E3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Its place in the log.
    pub seq: u64,
    /// When it was logged.
    pub logged_at: Micros,
    /// What changes.
    pub change: Change,
    /// What was there before.
    pub previous: Previous,
}

/// A customer as this channel keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The customer, with the edits in it.
    pub customer: Customer,
    /// Its place in headquarters' feed; absent for an async create that headquarters has not told back.
    pub stamp: Option<Stamp>,
    /// What was asked for; absent if that is not known.
    pub origin: Option<Origin>,
    /// Edits that headquarters has not told back, by place, at most [`MAX_EDITS`].
    pub edits: Vec<Edit>,
    /// Edits up to this place are in what headquarters has told.
    pub included: u64,
}

/// Most edits of one customer that wait for headquarters; a further one is refused (rule Z3).
pub(crate) const MAX_EDITS: usize = 100;

impl Row {
    /// What headquarters, or a create, says of a customer.
    pub fn new(customer: Customer, stamp: Option<Stamp>, origin: Option<Origin>) -> Self {
        Self { customer, stamp, origin, edits: Vec::new(), included: 0 }
    }

    /// Whether the entry that stands at `seq` is an operation that the P-job has to bring to headquarters.
    /// Anything else is what headquarters itself has told.
    pub fn is_operation(&self, seq: u64) -> bool {
        self.is_create() || self.edits.last().is_some_and(|edit| edit.seq == seq)
    }

    /// Whether it is an async create, alone.
    pub fn is_create(&self) -> bool {
        self.stamp.is_none() && self.edits.is_empty()
    }

    /// Whether a create with this fingerprint under the same GUID asks for the same customer (rule M9).
    pub fn repeats(&self, fingerprint: Uuid) -> bool {
        let known = self.origin.as_ref().map(|origin| origin.fingerprint);
        known.unwrap_or_else(|| self.customer.content.fingerprint()) == fingerprint
    }

    /// The way the customer was created here.
    pub fn path(&self) -> Option<CreatePath> {
        self.origin.as_ref().and_then(|origin| origin.path.clone())
    }

    /// What a till is shown.
    pub fn shown(&self) -> common::Customer {
        let pending_edits = u32::try_from(self.edits.len()).unwrap_or(u32::MAX);
        common::Customer { pending_edits, ..(&self.customer).into() }
    }

    /// The same customer with one more edit.
    pub fn edited(&self, edit: Edit) -> Self {
        let mut row = self.clone();
        edit.change.apply(&mut row.customer.content);
        row.edits.push(edit);
        row
    }

    /// What is left of an erased customer: the row that headquarters has told of it.
    pub fn is_erased(&self) -> bool {
        self.customer.is_erased()
    }

    /// What is there once `incoming` has come in. What headquarters says replaces the customer if it is not older,
    /// that is of another epoch or of no smaller version (rule X7); edits that it does not hold yet are made to it
    /// again, in their order. `None`: nothing changes.
    pub fn merged(&self, incoming: &Self) -> Option<Self> {
        // Nobody who was erased comes back, and nothing stays of who is.
        if self.is_erased() || incoming.is_erased() {
            let newer = incoming.is_erased() && incoming.stamp.is_some() && self.stamp != incoming.stamp;
            let included = incoming.included.max(self.included);
            return newer.then(|| Self { included, edits: Vec::new(), origin: None, ..incoming.clone() });
        }
        let (told, anew) = match (&incoming.stamp, &self.stamp) {
            // An async create never replaces: the row is there because of it, or knows better.
            (None, _) => (false, false),
            (Some(_), None) => (true, false),
            (Some(new), Some(old)) => {
                let newer = new.version >= old.version && !planted("newer rows do not apply");
                (new.epoch != old.epoch || newer, new.epoch != old.epoch)
            }
        };
        let included = match (told, anew) {
            (false, _) => self.included,
            (true, false) => self.included.max(incoming.included),
            (true, true) => incoming.included,
        };
        let edits = together(&self.edits, &incoming.edits, included);
        let origin = better(self.origin.as_ref(), incoming.origin.as_ref());
        let same = !told || (self.stamp == incoming.stamp && self.included == included);
        if same && edits == self.edits && origin == self.origin.as_ref() {
            return None;
        }
        let (source, other) = if told { (incoming, self) } else { (self, incoming) };
        let mut customer = source.customer.clone();
        if source.edits != edits {
            edits.iter().for_each(|edit| edit.change.apply(&mut customer.content));
        }
        if customer.account_number.is_none() {
            customer.account_number.clone_from(&other.customer.account_number);
        }
        Some(Self { customer, stamp: source.stamp.clone(), origin: origin.cloned(), edits, included })
    }

    /// The row with the account number that an upload was answered with. `None`: it has one.
    pub fn with_account(&self, number: &str) -> Option<Self> {
        if !self.customer.is_pending() {
            return None;
        }
        let mut row = self.clone();
        row.customer.account_number = Some(number.to_owned());
        Some(row)
    }

    /// Encodes the row.
    pub fn encode(&self) -> Vec<u8> {
        let (epoch, version) =
            self.stamp.as_ref().map_or_else(Default::default, |s| (s.epoch.clone(), s.version));
        let edits = self.edits.iter().map(|edit| edit.operation(self.customer.id)).collect();
        let stored = Stored::new(convert::stored(&self.customer), self.origin.as_ref());
        Stored { epoch, version, edits, included: self.included, ..stored }.encode_to_vec()
    }

    /// Reads an encoded row.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let stored = Stored::decode(bytes)?;
        let customer = convert::customer(stored.customer.ok_or(EntryError::NoCustomer)?)?;
        let stamp =
            (!stored.epoch.is_empty()).then_some(Stamp { epoch: stored.epoch, version: stored.version });
        let path = match stored.path {
            1 => Some(CreatePath::Sync),
            2 => Some(CreatePath::Async),
            3 => Some(CreatePath::Fallback { cause: stored.cause }),
            _ => None,
        };
        let origin = Uuid::from_slice(&stored.fingerprint).ok();
        let origin = origin.map(|fingerprint| Origin { fingerprint, path });
        let edits = stored.edits.into_iter().map(|edit| Ok(Edit::from(convert::operation(edit)?)));
        let edits = edits.collect::<Result<_, EntryError>>()?;
        Ok(Self { customer, stamp, origin, edits, included: stored.included })
    }
}

/// Edits of both, by place, that headquarters has not told back.
fn together(one: &[Edit], other: &[Edit], included: u64) -> Vec<Edit> {
    let mut edits: Vec<Edit> = one.iter().filter(|edit| edit.seq > included).cloned().collect();
    let missing = |edit: &&Edit| edit.seq > included && one.iter().all(|there| there.seq != edit.seq);
    edits.extend(other.iter().filter(missing).cloned());
    edits.sort_unstable_by_key(|edit| edit.seq);
    edits
}

/// What is known of the create: the one that also knows the way it went.
fn better<'a>(one: Option<&'a Origin>, other: Option<&'a Origin>) -> Option<&'a Origin> {
    match (one, other) {
        (Some(one), _) if one.path.is_some() => Some(one),
        (_, Some(other)) if other.path.is_some() => Some(other),
        (one, other) => one.or(other),
    }
}

impl Edit {
    /// As the P-job brings it.
    fn operation(&self, customer_id: CustomerId) -> common::Operation {
        let (change, previous) = (self.change.clone(), self.previous.clone());
        let (counter, logged_at, fingerprint) = (self.seq, self.logged_at, None);
        (&Operation { counter, customer_id, logged_at, change, previous, fingerprint }).into()
    }
}

impl From<Operation> for Edit {
    fn from(operation: Operation) -> Self {
        let Operation { counter, logged_at, change, previous, .. } = operation;
        Self { seq: counter, logged_at, change, previous }
    }
}

/// The stored form of a row.
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(message, optional, tag = "1")]
    customer: Option<common::Customer>,
    #[prost(string, tag = "2")]
    epoch: String,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bytes = "vec", tag = "4")]
    fingerprint: Vec<u8>,
    #[prost(int32, tag = "5")]
    path: i32,
    #[prost(string, tag = "6")]
    cause: String,
    #[prost(message, repeated, tag = "7")]
    edits: Vec<common::Operation>,
    #[prost(uint64, tag = "8")]
    included: u64,
}

impl Stored {
    /// What was created and how, and nothing that came later.
    fn new(customer: common::Customer, origin: Option<&Origin>) -> Self {
        let (path, cause) = match origin.and_then(|origin| origin.path.as_ref()) {
            None => (0, String::new()),
            Some(CreatePath::Sync) => (1, String::new()),
            Some(CreatePath::Async) => (2, String::new()),
            Some(CreatePath::Fallback { cause }) => (3, cause.clone()),
        };
        let fingerprint = origin.map(|origin| origin.fingerprint.into_bytes().to_vec()).unwrap_or_default();
        Self { customer: Some(customer), fingerprint, path, cause, ..Self::default() }
    }
}

/// Why stored bytes are not a row. Never repeats what they hold (rule Z5).
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// Not protobuf.
    #[error("an entry cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// Nothing in it.
    #[error("an entry holds no customer")]
    NoCustomer,
    /// Not a customer.
    #[error("an entry holds a customer that cannot be read: {0}")]
    Customer(#[from] Violations),
}

/// A customer in the log: the row or its encoded form, and what is made from that at most once.
#[derive(Debug)]
pub(crate) struct Entry {
    id: CustomerId,
    form: Form,
    terms: OnceLock<Vec<Term>>,
}

#[derive(Debug)]
enum Form {
    /// An async create alone, encoded. Under load tens of thousands of them wait for the tables: one piece of memory
    /// each, where a row is made of dozens.
    Create(Vec<u8>),
    /// Anything else.
    Row(Box<Row>, OnceLock<Vec<u8>>),
}

impl Entry {
    /// An entry that is encoded when somebody needs it so.
    pub fn new(row: Row) -> Self {
        Self::of(row.customer.id, Form::Row(Box::new(row), OnceLock::new()))
    }

    /// An async create that is about to be logged, from the wire form of what was entered; and its own wire form, as a till
    /// is shown it.
    pub fn create(
        id: CustomerId,
        content: common::Customer,
        created_at: Micros,
        origin: &Origin,
    ) -> (Self, common::Customer) {
        let wire = convert::pending(id, content, origin.fingerprint, created_at);
        let mut stored = Stored::new(wire, Some(origin));
        let body = stored.encode_to_vec();
        (Self::of(id, Form::Create(body)), stored.customer.take().unwrap_or_default())
    }

    /// An entry from its encoded form.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let row = Row::decode(bytes)?;
        let id = row.customer.id;
        Ok(Self::of(
            id,
            match row.is_create() {
                true => Form::Create(bytes.to_vec()),
                false => Form::Row(Box::new(row), OnceLock::from(bytes.to_vec())),
            },
        ))
    }

    fn of(id: CustomerId, form: Form) -> Self {
        Self { id, form, terms: OnceLock::new() }
    }

    /// Whose entry it is.
    pub fn id(&self) -> CustomerId {
        self.id
    }

    /// The row.
    ///
    /// # Errors
    ///
    /// The encoded form cannot be read; that has been made or read here, so it can.
    pub fn row(&self) -> Result<Cow<'_, Row>, EntryError> {
        Ok(match &self.form {
            Form::Create(body) => Cow::Owned(Row::decode(body)?),
            Form::Row(row, _) => Cow::Borrowed(row),
        })
    }

    /// See [`Row::stamp`].
    pub fn stamp(&self) -> Option<&Stamp> {
        match &self.form {
            Form::Create(_) => None,
            Form::Row(row, _) => row.stamp.as_ref(),
        }
    }

    /// The encoded form.
    pub fn body(&self) -> &[u8] {
        match &self.form {
            Form::Create(body) => body,
            Form::Row(row, body) => body.get_or_init(|| row.encode()),
        }
    }

    /// Makes at once what [`Entry::body`] and [`Entry::terms`] give.
    pub fn prepare(&self) {
        self.body();
        // What cannot be read is said to who asks.
        let _ = self.terms();
    }

    /// Everything the customer can be found by (rule C3).
    ///
    /// # Errors
    ///
    /// As [`Entry::row`].
    pub fn terms(&self) -> Result<&[Term], EntryError> {
        if self.terms.get().is_none() {
            let found = terms(&self.row()?.customer);
            let _ = self.terms.set(found);
        }
        Ok(self.terms.get().map(Vec::as_slice).unwrap_or_default())
    }

    /// The same, if it was asked for before.
    pub fn known_terms(&self) -> Option<&[Term]> {
        self.terms.get().map(Vec::as_slice)
    }

    /// Whether it is an async create, alone.
    pub fn is_create(&self) -> bool {
        match &self.form {
            Form::Create(_) => true,
            Form::Row(row, _) => row.is_create(),
        }
    }

    /// See [`Row::is_operation`].
    pub fn is_operation(&self, seq: u64) -> bool {
        match &self.form {
            Form::Create(_) => true,
            Form::Row(row, _) => row.is_operation(seq),
        }
    }

    /// The account number; a create alone has none.
    pub fn account_number(&self) -> Option<&str> {
        match &self.form {
            Form::Create(_) => None,
            Form::Row(row, _) => row.customer.account_number.as_deref(),
        }
    }

    /// What is there once another entry of the same customer has come in; nothing if that changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Entry::row`].
    pub fn merged(&self, incoming: &Self) -> Result<Option<Self>, EntryError> {
        Ok(self.row()?.merged(&*incoming.row()?).map(Self::new))
    }
}
