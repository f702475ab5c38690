//! The client of headquarters' real-time service: the calls that a customer waits for. Each carries the name
//! of the channel and what remains of its time (rule Z2).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use service_kit::{
    deadline, timing,
    way::{Credentials, Route, Way, WayError},
};
use tillsync_proto::{
    CHANNEL_METADATA, ChannelId, CustomerId, convert,
    pb::{
        common::{Address, Customer, CustomerRecord},
        hq::{self, real_time_service_client::RealTimeServiceClient},
    },
};
use tokio::sync::Semaphore;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
};
use tracing::error;
use uuid::Uuid;

use crate::{
    log::entry::{Origin, Row, Stamp},
    metrics::Metrics,
    status::{classify, describe, gave_up, not_made, ok},
};

/// Connections to the real-time service: a server takes about a hundred calls at a time on each.
const CONNECTIONS: usize = 8;
/// Most calls at a time; more are not made, as if headquarters had refused them for load.
const MAX_CALLS: usize = 4_096;
/// Until a connection is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an open connection is tried while calls wait on it, and how long it may stay silent.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A status of headquarters that is the caller's to see (rule M4).
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.0))]
pub(crate) struct Refusal(pub Box<Status>);

/// What kept a call from its answer. Whether headquarters did what it was asked is not known, save for
/// [`FailureKind::Overloaded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Failure {
    /// What the caller is told.
    pub kind: FailureKind,
    /// The gRPC status name.
    pub cause: &'static str,
    /// When to try again, if headquarters said so.
    pub retry_after: Option<Duration>,
}

/// Where the time of a call went, as headquarters tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// Waiting to be served.
    pub queue: Duration,
    /// Being served.
    pub service: Duration,
}

/// Kinds of communication failure (rule M5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No connection, or it broke.
    Unavailable,
    /// Time ran out.
    Deadline,
    /// Refused for load; nothing was done.
    Overloaded,
}

/// Why a call has no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// A business refusal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A communication failure.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// An answer that cannot be read.
    #[error("headquarters' answer cannot be read")]
    Unreadable,
}

/// A route whose connections notice when the other side is gone.
///
/// # Errors
///
/// The address is none, or a file cannot be used.
pub(crate) fn route(address: &str, credentials: &Credentials) -> Result<Route, WayError> {
    Ok(credentials.route(address)?.with(|endpoint| {
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
        endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE)
    }))
}

/// The client.
#[derive(Clone)]
pub(crate) struct Rts {
    connections: Arc<[RealTimeServiceClient<Way>]>,
    next: Arc<AtomicUsize>,
    calls: Arc<Semaphore>,
    channel: Option<MetadataValue<Ascii>>,
    metrics: Metrics,
}

impl Rts {
    /// A client that connects when it is first used.
    pub fn new(route: &Route, channel: &ChannelId, metrics: Metrics) -> Self {
        let connections =
            (0..CONNECTIONS).map(|_| RealTimeServiceClient::new(route.connect_lazy())).collect();
        Self {
            connections,
            next: Arc::default(),
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            // Every channel id is a metadata value.
            channel: channel.as_str().parse().ok(),
            metrics,
        }
    }

    /// One call, given up after `limit`.
    async fn call<M, A>(
        &self,
        limit: Duration,
        message: M,
        call: impl AsyncFnOnce(RealTimeServiceClient<Way>, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<Response<A>, CallError> {
        let Ok(_permit) = self.calls.try_acquire() else { return Err(not_made().into()) };
        let mut request = Request::new(message);
        if let Some(channel) = &self.channel {
            request.metadata_mut().insert(CHANNEL_METADATA, channel.clone());
        }
        if let Some(remaining) = deadline::header(limit) {
            request.metadata_mut().as_mut().insert("grpc-timeout", remaining);
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let client = self.connections[turn % self.connections.len()].clone();
        let limit = tokio::time::sleep(limit);
        tokio::pin!(limit);
        let answer = tokio::select! {
            answer = call(client, request) => answer,
            () = &mut limit => return Err(self.failed(gave_up().into())),
        };
        match answer {
            Ok(answer) => {
                self.metrics.rts_call(ok());
                Ok(answer)
            }
            // tonic keeps the same time, and names its own timeout otherwise.
            Err(_) if limit.is_elapsed() => Err(self.failed(gave_up().into())),
            Err(status) => Err(self.failed(classify(status))),
        }
    }
}

impl Rts {
    fn failed(&self, error: CallError) -> CallError {
        let code = match &error {
            CallError::Failed(failure) => failure.cause,
            CallError::Refused(Refusal(status)) => service_kit::problem::code_name(status.code()),
            CallError::Unreadable => "UNREADABLE",
        };
        self.metrics.rts_call(code);
        error
    }

    /// Creates a customer for real (rules M1, M6). `fingerprint` is of what the caller asked for. Also gives where
    /// headquarters says that the time went.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn create(
        &self,
        id: CustomerId,
        wire: Customer,
        fingerprint: Uuid,
        limit: Duration,
    ) -> Result<(Row, Option<Spent>), CallError> {
        let fingerprint = fingerprint.into_bytes().to_vec();
        let message = hq::CreateCustomerRequest { customer: Some(wire), fingerprint };
        let answer = self.call(limit, message, async |mut rts, m| rts.create_customer(m).await).await?;
        let told = |part| timing::told(answer.metadata(), part);
        let spent = told("queue").zip(told("service")).map(|(queue, service)| Spent { queue, service });
        let answer = answer.into_inner();
        let row = row(answer.record, &answer.epoch)?;
        // An answer about somebody else is none.
        if row.customer.id == id { Ok((row, spent)) } else { Err(CallError::Unreadable) }
    }

    /// Reads a customer by GUID or account number.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn get(&self, customer: String, limit: Duration) -> Result<Row, CallError> {
        let message = hq::GetCustomerRequest { customer };
        let answer =
            self.call(limit, message, async |mut rts, m| rts.get_customer(m).await).await?.into_inner();
        row(answer.record, &answer.epoch)
    }

    /// Finds customers of all stores. Gives them with the token of the next page.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn search(
        &self,
        message: hq::SearchCustomersRequest,
        limit: Duration,
    ) -> Result<(Vec<Row>, String), CallError> {
        let answer =
            self.call(limit, message, async |mut rts, m| rts.search_customers(m).await).await?.into_inner();
        let rows = answer.records.into_iter().map(|record| row(Some(record), &answer.epoch));
        Ok((rows.collect::<Result<_, _>>()?, answer.next_page_token))
    }

    /// Changes fields of a customer.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn update(
        &self,
        message: hq::UpdateCustomerRequest,
        limit: Duration,
    ) -> Result<Row, CallError> {
        let answer =
            self.call(limit, message, async |mut rts, m| rts.update_customer(m).await).await?.into_inner();
        row(answer.record, &answer.epoch)
    }

    /// Adds, replaces or deactivates an address.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn save_address(
        &self,
        id: CustomerId,
        address: Address,
        limit: Duration,
    ) -> Result<Row, CallError> {
        let message = hq::SaveAddressRequest { customer: id.to_string(), address: Some(address) };
        let answer =
            self.call(limit, message, async |mut rts, m| rts.save_address(m).await).await?.into_inner();
        row(answer.record, &answer.epoch)
    }

    /// Issues a loyalty card; gives the customer and the card's number.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn issue_card(
        &self,
        message: hq::IssueLoyaltyCardRequest,
        limit: Duration,
    ) -> Result<(Row, String), CallError> {
        let answer =
            self.call(limit, message, async |mut rts, m| rts.issue_loyalty_card(m).await).await?.into_inner();
        Ok((row(answer.record, &answer.epoch)?, answer.card_number))
    }
}

/// A record of headquarters, checked: a real customer of a database that has a name.
pub(crate) fn row(record: Option<CustomerRecord>, epoch: &str) -> Result<Row, CallError> {
    let record = record.ok_or(CallError::Unreadable)?;
    let customer = convert::customer(record.customer.ok_or(CallError::Unreadable)?).map_err(|error| {
        error!(%error, "a record of headquarters cannot be read");
        CallError::Unreadable
    })?;
    if customer.is_pending() || epoch.is_empty() {
        return Err(CallError::Unreadable);
    }
    let stamp = Stamp { epoch: epoch.to_owned(), version: record.version };
    let fingerprint = Uuid::from_slice(&record.fingerprint).ok();
    let origin = fingerprint.map(|fingerprint| Origin { fingerprint, path: None });
    Ok(Row { included: record.included_counter, ..Row::new(customer, Some(stamp), origin) })
}
