//! A customer as this channel keeps it, how two versions of one are put together, and how it is stored: the
//! log and the tables hold the same bytes.

use std::sync::OnceLock;

use prost::Message as _;
use tillsync_proto::{Content, Customer, CustomerId, Micros, Term, Violations, convert, pb::common, terms};
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

/// What this channel was asked when it created a customer, so that a repeat is recognised (rule M9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Fingerprint of the content that was asked for.
    pub fingerprint: Uuid,
    /// The way it went.
    pub path: CreatePath,
}

/// A customer as this channel keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The customer.
    pub customer: Customer,
    /// Its place in headquarters' feed; absent for an async create that headquarters has not told back.
    pub stamp: Option<Stamp>,
    /// Absent if this channel did not create it.
    pub origin: Option<Origin>,
}

impl Row {
    /// Whether the entry is an operation that the P-job has to bring to headquarters. Anything else is what
    /// headquarters itself has told.
    pub fn is_operation(&self) -> bool {
        self.stamp.is_none()
    }

    /// Whether a create with this fingerprint under the same GUID asks for the same customer (rule M9).
    /// One that another channel created is known by its content only.
    pub fn repeats(&self, fingerprint: Uuid) -> bool {
        let known = self.origin.as_ref().map(|origin| origin.fingerprint);
        known.unwrap_or_else(|| self.customer.content.fingerprint()) == fingerprint
    }

    /// What is there once `incoming` has come in: it replaces the customer only if it is newer, that is of
    /// another epoch or of a greater version (rule X7). `None`: nothing changes.
    pub fn merged(&self, incoming: &Self) -> Option<Self> {
        let newer = match (&incoming.stamp, &self.stamp) {
            // An async create never replaces: the row is there because of it, or knows better.
            (None, _) => false,
            (Some(_), None) => true,
            (Some(new), Some(old)) => new.epoch != old.epoch || new.version > old.version,
        };
        let named = self.origin.is_none() && incoming.origin.is_some();
        if !newer && !named {
            return None;
        }
        let source = if newer { incoming } else { self };
        Some(Self {
            customer: source.customer.clone(),
            stamp: source.stamp.clone(),
            origin: self.origin.clone().or_else(|| incoming.origin.clone()),
        })
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
        let (fingerprint, path, cause) = match &self.origin {
            None => (Vec::new(), 0, String::new()),
            Some(origin) => {
                let (path, cause) = match &origin.path {
                    CreatePath::Sync => (1, String::new()),
                    CreatePath::Async => (2, String::new()),
                    CreatePath::Fallback { cause } => (3, cause.clone()),
                };
                (origin.fingerprint.into_bytes().to_vec(), path, cause)
            }
        };
        let stored = Stored { customer: Some(wire), epoch, version, fingerprint, path, cause };
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
        let origin = match (path, Uuid::from_slice(&stored.fingerprint)) {
            (Some(path), Ok(fingerprint)) => Some(Origin { fingerprint, path }),
            _ => None,
        };
        Ok(Self { customer, stamp, origin })
    }
}

/// The operation that the P-job brings for an encoded row, numbered `seq`: the create as it was logged, only
/// with what was entered. `None`: the row is what headquarters itself has told.
///
/// # Errors
///
/// What cannot be read.
pub(crate) fn operation(seq: u64, bytes: &[u8]) -> Result<Option<common::Operation>, EntryError> {
    let stored = Stored::decode(bytes)?;
    if !stored.epoch.is_empty() {
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
    (Row { customer, stamp: None, origin: Some(origin) }, wire)
}
