//! A customer as this channel keeps it, how two versions of one are put together, and how it is stored: the
//! log and the tables hold the same bytes.

use std::sync::OnceLock;

use prost::Message as _;
use tillsync_proto::{
    Change, Content, Customer, CustomerId, Micros, Operation, Previous, Term, Violations, convert,
    pb::common, terms,
};
use uuid::Uuid;

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

    /// What is there once `incoming` has come in. What headquarters says replaces the customer if it is not older,
    /// that is of another epoch or of no smaller version (rule X7); edits that it does not hold yet are made to it
    /// again, in their order. `None`: nothing changes.
    pub fn merged(&self, incoming: &Self) -> Option<Self> {
        let (told, anew) = match (&incoming.stamp, &self.stamp) {
            // An async create never replaces: the row is there because of it, or knows better.
            (None, _) => (false, false),
            (Some(_), None) => (true, false),
            (Some(new), Some(old)) => {
                (new.epoch != old.epoch || new.version >= old.version, new.epoch != old.epoch)
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

    /// Encodes the row. Takes its customer in wire form, if that has been made already, and gives it back.
    pub fn encode(&self, wire: common::Customer) -> (Vec<u8>, common::Customer) {
        let (epoch, version) =
            self.stamp.as_ref().map_or_else(Default::default, |s| (s.epoch.clone(), s.version));
        let fingerprint = self.origin.as_ref().map(|origin| origin.fingerprint.into_bytes().to_vec());
        let (path, cause) = match self.origin.as_ref().and_then(|origin| origin.path.as_ref()) {
            None => (0, String::new()),
            Some(CreatePath::Sync) => (1, String::new()),
            Some(CreatePath::Async) => (2, String::new()),
            Some(CreatePath::Fallback { cause }) => (3, cause.clone()),
        };
        let edits = self.edits.iter().map(|edit| edit.operation(self.customer.id)).collect();
        let (fingerprint, included) = (fingerprint.unwrap_or_default(), self.included);
        let stored =
            Stored { customer: Some(wire), epoch, version, fingerprint, path, cause, edits, included };
        let bytes = stored.encode_to_vec();
        (bytes, stored.customer.unwrap_or_default())
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

/// The operation that the P-job brings for an encoded row, numbered `seq`: the create as it was logged, only
/// with what was entered, or the edit. `None`: the row is what headquarters itself has told.
///
/// # Errors
///
/// What cannot be read.
pub(crate) fn operation(seq: u64, bytes: &[u8]) -> Result<Option<common::Operation>, EntryError> {
    let stored = Stored::decode(bytes)?;
    let create = stored.epoch.is_empty() && stored.edits.is_empty();
    if let Some(edit) = stored.edits.into_iter().next_back().filter(|edit| edit.counter == seq) {
        return Ok(Some(edit));
    }
    if !create {
        return Ok(None);
    }
    let logged = stored.customer.ok_or(EntryError::NoCustomer)?;
    let entered = common::Customer {
        customer_id: String::new(),
        account_number: String::new(),
        account_display: String::new(),
        sync_state: 0,
        etag: String::new(),
        loyalty_cards: Vec::new(),
        create_time: None,
        ..logged
    };
    Ok(Some(common::Operation {
        counter: seq,
        customer_id: logged.customer_id,
        log_time: logged.create_time,
        change: Some(common::operation::Change::Create(entered)),
        fingerprint: stored.fingerprint,
        ..common::Operation::default()
    }))
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

/// A row with what is made from it at most once.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The row.
    pub row: Row,
    body: OnceLock<Vec<u8>>,
    terms: OnceLock<Vec<Term>>,
}

impl Entry {
    /// An entry that is encoded when somebody needs it so.
    pub fn new(row: Row) -> Self {
        Self { row, body: OnceLock::new(), terms: OnceLock::new() }
    }

    /// An entry with its encoded form.
    pub fn encoded(row: Row, body: Vec<u8>) -> Self {
        Self { row, body: OnceLock::from(body), terms: OnceLock::new() }
    }

    /// Whose entry it is.
    pub fn id(&self) -> CustomerId {
        self.row.customer.id
    }

    /// The encoded form.
    pub fn body(&self) -> &[u8] {
        self.body.get_or_init(|| self.row.encode((&self.row.customer).into()).0)
    }

    /// Everything the customer can be found by (rule C3).
    pub fn terms(&self) -> &[Term] {
        self.terms.get_or_init(|| terms(&self.row.customer))
    }
}

/// A pending customer that is about to be logged, and its wire form.
pub(crate) fn pending(
    id: CustomerId,
    content: Content,
    wire: common::Customer,
    created_at: Micros,
    origin: Origin,
) -> (Row, common::Customer) {
    let customer = Customer { id, account_number: None, content, loyalty_cards: Vec::new(), created_at };
    let wire = customer.complete(wire, origin.fingerprint);
    (Row::new(customer, None, Some(origin)), wire)
}
