//! Why a use case refuses. `status.rs` says how each goes out.

use service_kit::{damage::Trouble, door::NotItself, group::GroupError};
use tillsync_proto::{ChannelId, CustomerId, Feature, SessionState, Violations};

use crate::store::StoreError;

/// A refusal. Texts name customers by GUID only (rule Z5).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields break a rule.
    #[error("{0}")]
    Invalid(#[from] Violations),
    /// The caller names another channel than itself (rule Z4).
    #[error(transparent)]
    NotItself(#[from] NotItself),
    /// A page token of another query.
    #[error("page_token is not a page token of this query")]
    BadPageToken,
    /// No such customer.
    #[error("there is no such customer")]
    NoCustomer,
    /// No such channel.
    #[error("the channel {0} has never called")]
    NoChannel(ChannelId),
    /// The customer has been erased.
    #[error("the customer {0} has been erased")]
    Erased(CustomerId),
    /// The GUID is taken by a customer with other content (rule M9).
    #[error("the customer {0} exists with other content")]
    GuidTaken(CustomerId),
    /// The request id of a loyalty card was used for something else.
    #[error("the request id was used for another card")]
    RequestUsed,
    /// The customer changed since the etag was read.
    #[error("the customer {0} has changed since it was read")]
    EtagMismatch(CustomerId),
    /// The customer changed again and again while this call tried to change it.
    #[error("the customer {0} is being changed by others; nothing was done")]
    Contended(CustomerId),
    /// The card belongs to someone else.
    #[error("the loyalty card belongs to another customer")]
    CardTaken,
    /// Flags that this one needs are off, or flags that need it are on (rule F1).
    #[error("{feature} cannot be switched {}: {}", if *.enabled { "on; off are" } else { "off; on and in need of it are" }, join(.others))]
    FlagsInTheWay {
        /// The flag.
        feature: Feature,
        /// On or off.
        enabled: bool,
        /// The others; not empty.
        others: Vec<Feature>,
    },
    /// No such thing.
    #[error("there is no such {0}")]
    Nothing(&'static str),
    /// The profile changed since it was read.
    #[error("the profile of {0} has changed since it was read")]
    ProfileChanged(ChannelId),
    /// The synchronization statuses need flag E4.
    #[error("the synchronization statuses need flag E4, which is off")]
    NeedsAudit,
    /// Only what has failed can be corrected, synchronized, or run again.
    #[error("{0} has not failed")]
    NotFailed(&'static str),
    /// The session cannot be canceled.
    #[error("the session has ended as {}", .0.as_str_name())]
    Ended(SessionState),
    /// An earlier operation of the same customer comes first (rule X5).
    #[error("an earlier operation of the customer {0} has failed and comes first")]
    EarlierFailure(CustomerId),
    /// The run was canceled while it was waited for.
    #[error("the run was canceled")]
    Canceled,
    /// A number sequence is at its end (rule X6).
    #[error("the number sequence has no numbers left")]
    NumbersExhausted,
    /// The queue of creates is full.
    #[error("too many creates are waiting; nothing was done")]
    Overloaded,
    /// There is no room for another channel.
    #[error("there are too many channels; nothing was done")]
    TooManyChannels,
    /// The service is stopping.
    #[error("headquarters is stopping")]
    Stopping,
    /// The caller's time, or our own limit, ran out.
    #[error("the job has not ended in time; it goes on")]
    Deadline,
    /// The database is full, or cannot be reached or used; then what became of the call is not known.
    #[error("{0}")]
    Database(Trouble),
    /// The database was restored, and channels have not brought yet what it has lost.
    #[error("headquarters was restored from a backup and waits for what its channels have; nothing was done")]
    Recovering,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// A task of ours ended before its work did.
    #[error("the service failed")]
    Broken,
}

impl Error {
    /// The same for each of so many callers. Only the first is told all of it.
    pub(crate) fn for_all<T>(self, callers: usize) -> Vec<Result<T>> {
        let other: fn(Option<Trouble>) -> Self = match self {
            Self::Recovering => |_| Self::Recovering,
            _ => |trouble| trouble.map_or(Self::Broken, Self::Database),
        };
        let trouble = if let Self::Database(trouble) = self { Some(trouble) } else { None };
        let mut first = Some(self);
        (0..callers).map(|_| Err(first.take().unwrap_or_else(|| other(trouble)))).collect()
    }
}

/// Flags by name.
pub(crate) fn join(features: &[Feature]) -> String {
    features.iter().map(Feature::to_string).collect::<Vec<_>>().join(", ")
}

/// The result of a use case.
pub type Result<T> = std::result::Result<T, Error>;

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Recovering) {
            return Self::Recovering;
        }
        let Some(trouble) = error.trouble() else { return Self::Store(error) };
        tracing::error!(error = %service_kit::config::Chain(&error), "the database is out");
        Self::Database(trouble)
    }
}

impl From<GroupError> for Error {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Full => Self::Overloaded,
            GroupError::Stopped => Self::Stopping,
        }
    }
}
