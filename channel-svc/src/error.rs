//! Why a use case refused or failed. `status.rs` makes gRPC statuses of it.

use std::time::Duration;

use service_kit::{config::Chain, damage::Trouble, door::NotItself};
use tillsync_proto::{CustomerId, Feature, Violations};
use tracing::error;

use crate::{
    log::LogError,
    rts::{Failure, Refusal},
    store::StoreError,
    watchers::TooMany,
};

/// How long a caller is asked to wait where a bound was reached.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The same for something that takes longer: a restart, a database that is out.
pub(crate) const AWAY_RETRY: Duration = Duration::from_secs(1);

/// Why a use case refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields break rules (rules C2, Z1).
    #[error("the request breaks rules: {0}")]
    Invalid(#[from] Violations),
    /// The caller names another terminal than itself (rule Z4).
    #[error(transparent)]
    NotItself(#[from] NotItself),
    /// The page token is not of this query.
    #[error("page_token is not a token of this query")]
    BadPageToken,
    /// No such thing.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The GUID is taken by other content (rule M9).
    #[error("{0} names something with other content")]
    GuidTaken(String),
    /// The customer has been erased.
    #[error("customer {0} has been erased")]
    Erased(CustomerId),
    /// The customer has no account number yet (rules L1, L2, L4); with the flag it would not be needed.
    #[error("customer {0} has no account number yet")]
    Pending(CustomerId, Option<Feature>),
    /// An async create with fields that need flag E2 (rule L4).
    #[error("the create carries fields that travel on an async create only with flag E2")]
    NeedsEnhanced {
        /// Their paths.
        fields: Vec<String>,
        /// Why the create would be async, if the profile does not say so: the failed call's code.
        cause: Option<&'static str>,
    },
    /// The customer changed since the caller read it.
    #[error("customer {0} changed since the etag was read")]
    EtagMismatch(CustomerId),
    /// Headquarters' feed, which a terminal asked its store for, is not to be had.
    #[error("headquarters' changes are not to be had at present")]
    NoFeed,
    /// The terminal is offline, and this needs its store (rule L5).
    #[error("this terminal is offline, and what was asked needs its store")]
    Offline,
    /// The terminal is offline, and its store keeps shared customer data off it (rule O3).
    #[error("no customer can be created offline: shared customer data tables are filtered")]
    SharedDataFiltered,
    /// Headquarters refused: the answer is passed on as it is (rule M4).
    #[error("headquarters refused")]
    Refused(#[from] Refusal),
    /// Headquarters could not be reached (rule M5).
    #[error("headquarters could not be reached")]
    Unreached(#[from] Failure),
    /// A bound was reached; nothing was done.
    #[error("{0}")]
    Overloaded(String),
    /// The service stops.
    #[error("the service is stopping")]
    Stopping,
    /// Something failed that the caller cannot mend. The log has the cause.
    #[error("the service failed")]
    Internal,
    /// The database is full, or cannot be reached or used; then what became of the call is not known.
    #[error("{0}")]
    Database(Trouble),
    /// The database failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let Some(trouble) = error.trouble() else { return Self::Store(error) };
        error!(error = %Chain(&error), "the database is out");
        Self::Database(trouble)
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full => Self::Overloaded(error.to_string()),
            LogError::Stopped => Self::Stopping,
            LogError::Failed => Self::Internal,
            LogError::Database(trouble) => Self::Database(trouble),
        }
    }
}

impl From<TooMany> for Error {
    fn from(error: TooMany) -> Self {
        Self::Overloaded(error.to_string())
    }
}

impl Error {
    /// A task of ours ended without an answer.
    pub fn lost(error: &tokio::task::JoinError) -> Self {
        error!(%error, "a task ended without an answer");
        Self::Internal
    }
}
