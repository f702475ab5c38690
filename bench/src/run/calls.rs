//! The calls of a run: creates as tills make them, and the probe of other work at headquarters.

use std::{sync::Arc, time::Duration};

use service_kit::{clock::Clock, problem::code_name, timing};
use tillsync_proto::{
    CHANNEL_METADATA, CustomerId, convert,
    pb::{
        channel::{CreateCustomerRequest, CreateCustomerResponse, CreatePath, PingRequest},
        common::Customer,
        hq::{self, GetCustomerRequest},
    },
};
use tokio::time::{Instant, timeout};
use tonic::{
    Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
};
use uuid::Uuid;

use super::{
    follow::{Arrived, Followed},
    recorder::Recorder,
};
use crate::{
    acknowledged::Acknowledged,
    counts::{Path, Spent, Window},
    customers::{create_of, customer},
    error::Error,
    services::Fleet,
};

/// How long a till waits for its channel, and the probe for headquarters.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// What the deadline of the harness's own timer adds: normally the service or its client answers first.
const GRACE: Duration = Duration::from_millis(100);
/// Most creates under way at once, about 4 KiB each. Beyond it an arrival is not sent and counts as failed.
const MAX_IN_FLIGHT: u64 = 20_000;
/// The name under which such failures are counted.
const OVERFLOW: &str = "GENERATOR_OVERFLOW";
/// The channel that the probe says it is.
pub const PROBE_CHANNEL: &str = "tillsync-probe";

/// What the calls of a run share.
pub struct Calls {
    pub clock: Arc<dyn Clock>,
    pub fleet: Fleet,
    pub acknowledged: Arc<Acknowledged>,
    pub recorder: Arc<Recorder>,
    pub followed: Arc<Followed>,
    pub seed: u64,
    /// Wall time, in microseconds, at which GUIDs count the run's start; and the start.
    pub epoch_micros: i64,
    pub start: Instant,
    pub run: u64,
    pub probe_customer: Uuid,
    pub window: Window,
    pub follow_every: u64,
}

impl Calls {
    /// One create, due at `due`.
    pub async fn create(self: Arc<Self>, index: u64, channel: usize, due: Instant) {
        if !self.recorder.begin(MAX_IN_FLIGHT) {
            self.recorder.create(self.after(due), self.after(self.clock.now()), Err(OVERFLOW), None);
            return;
        }
        let (id, mut rng) = create_of(self.seed, self.run, index, self.epoch_micros, due - self.start);
        let create = CreateCustomerRequest {
            customer: Some(customer(id, &mut rng)),
            customer_id: id.to_string(),
            validate_only: false,
        };
        let store = &self.fleet.stores[channel];
        let mut till = store.till(usize::try_from(index).unwrap_or_default());
        let mut request = Request::new(create);
        request.set_timeout(CALL_DEADLINE);
        let sent = self.clock.now();
        self.recorder.left(self.after(due), self.after(sent));
        let answer = timeout(CALL_DEADLINE + GRACE, till.create_customer(request)).await;
        let now = self.clock.now();
        let (at, ended) = (self.after(due), self.after(now));
        match outcome(answer, now.saturating_duration_since(sent)) {
            Ok(response) => {
                self.acknowledged.add(id);
                let (spent, response) = (spent(response.metadata()), response.into_inner());
                let path = response.path();
                self.recorder.create(at, ended, Ok(path_of(&response)), spent);
                if self.window.holds(at) && (index + 1).is_multiple_of(self.follow_every) {
                    Followed::follow(&self.followed, Arrived { id, channel, due, acknowledged: now, path });
                }
            }
            Err(code) => self.recorder.create(at, ended, Err(code), None),
        }
        self.recorder.end();
    }

    /// One read of a known customer at headquarters, due at `due`.
    pub async fn probe(self: Arc<Self>, due: Instant) {
        let sent = self.clock.now();
        self.recorder.left(self.after(due), self.after(sent));
        let Ok(hq) = self.fleet.hq() else { return };
        let get = GetCustomerRequest { customer: self.probe_customer.to_string() };
        let answer = timeout(CALL_DEADLINE + GRACE, hq.rts.clone().get_customer(as_probe(get))).await;
        let now = self.clock.now();
        let outcome = outcome(answer, now.saturating_duration_since(sent));
        self.recorder.probe(self.after(due), self.after(now), outcome.map(drop));
    }

    /// One empty call to the first store, due at `due`. A server that does not know it is no yardstick.
    pub async fn yardstick(self: Arc<Self>, due: Instant) {
        let Some(store) = self.fleet.stores.first() else { return };
        let answer = timeout(CALL_DEADLINE, store.status.clone().ping(PingRequest {})).await;
        if matches!(answer, Ok(Ok(_))) {
            self.recorder.yardstick(self.after(due), self.after(self.clock.now()));
        }
    }

    /// An instant, counted from the start of the load.
    fn after(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }
}

/// Which way a create went.
fn path_of(response: &CreateCustomerResponse) -> Path<'_> {
    match response.path() {
        CreatePath::Sync => Path::Sync,
        CreatePath::Async => Path::Async,
        CreatePath::AsyncFallback => Path::Fallback(&response.fallback_cause),
        CreatePath::Unspecified => Path::Other,
    }
}

/// Where the time of a create went, if channel and headquarters say so.
fn spent(metadata: &MetadataMap) -> Option<Spent> {
    let told = |part| timing::told(metadata, part);
    let (queue, service, rts) = (told("queue")?, told("service")?, told("rts")?);
    Some(Spent { queue, service, link: rts.saturating_sub(queue + service) })
}

/// Makes the customer that the probe reads, by a create at headquarters, and gives its GUID.
///
/// # Errors
///
/// [`Error::Service`].
pub async fn known_customer(fleet: &Fleet, epoch_micros: i64, seed: u64) -> Result<Uuid, Error> {
    let (id, mut rng) = create_of(seed, u64::MAX, 0, epoch_micros, Duration::ZERO);
    // Checked here as a channel would: headquarters expects the ids of the parts.
    let content = convert::content(CustomerId(id), customer(id, &mut rng));
    let content = content.map_err(|violations| Error::Usage(violations.to_string()))?;
    let customer = Customer { customer_id: id.to_string(), ..Customer::from(&content) };
    let create = hq::CreateCustomerRequest { customer: Some(customer), fingerprint: Vec::new() };
    let created = fleet.hq()?.rts.clone().create_customer(as_probe(create)).await;
    created.map_err(|status| Error::service("headquarters", status))?;
    Ok(id)
}

fn as_probe<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request.metadata_mut().insert(CHANNEL_METADATA, MetadataValue::from_static(PROBE_CHANNEL));
    request
}

/// The answer, or the name of the status. tonic's client ends a call at its deadline with CANCELLED: that is
/// told as what it is.
fn outcome<T>(
    answer: Result<Result<Response<T>, Status>, tokio::time::error::Elapsed>,
    took: Duration,
) -> Result<Response<T>, &'static str> {
    const EXCEEDED: &str = "DEADLINE_EXCEEDED";
    match answer {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) if took >= CALL_DEADLINE => Err(EXCEEDED),
        Ok(Err(status)) => Err(code_name(status.code())),
        Err(_) => Err(EXCEEDED),
    }
}
