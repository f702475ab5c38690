//! The real-time service: every call goes through the gate, then to headquarters.

use std::sync::Arc;

use service_kit::{
    clock::Clock,
    deadline::{self, Deadline},
    timing,
    way::Way,
};
use tillsync_proto::{CHANNEL_METADATA, ChannelId, pb::hq};
use tokio::{
    sync::Semaphore,
    time::{Duration, sleep_until},
};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use tracing::warn;

use crate::{
    alone::MemoryHq,
    gate::{Decisions, Gate, Verdict},
    model::{Call, Fate},
    profile::Method,
    status, telemetry,
};
use hq::{
    real_time_service_client::RealTimeServiceClient, real_time_service_server::RealTimeService,
    search_customers_request::Criterion,
};

/// Most calls held at once: waiting, in service, and real calls that outlast their virtual service. Beyond it
/// calls are refused as overloaded.
const MAX_CALLS: usize = 65_536;
/// How long a real call may take if its caller named no deadline.
const LONGEST_REAL_CALL: Duration = Duration::from_secs(60);
/// Overruns are logged when their number is a multiple of this, and the first.
const LOG_EVERY: u64 = 1_000;

/// Where real work is done.
#[derive(Clone)]
pub(crate) enum Headquarters {
    Remote(RealTimeServiceClient<Way>),
    Memory(Arc<MemoryHq>),
}

/// The service.
pub(crate) struct Rts {
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    headquarters: Headquarters,
    permits: Arc<Semaphore>,
}

impl Rts {
    pub(crate) fn new(gate: Arc<Gate>, clock: Arc<dyn Clock>, headquarters: Headquarters) -> Self {
        Self { gate, clock, headquarters, permits: Arc::new(Semaphore::new(MAX_CALLS)) }
    }

    /// Takes a call through the gate. It has a task of its own: once a worker has taken it, it runs to its end
    /// even if the caller goes away, as it would at a real headquarters.
    async fn pass<R, W>(&self, call: Call<'_>, work: W) -> Result<Response<R>, Status>
    where
        R: Send + 'static,
        W: Future<Output = Result<Response<R>, Status>> + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            telemetry::call("too_many");
            return Err(status::too_many());
        };
        let Some((caller, decisions)) = self.gate.enter(call) else { return Err(status::stopping()) };
        let (gate, clock) = (Arc::clone(&self.gate), Arc::clone(&self.clock));
        let task = tokio::spawn(async move {
            let _permit = permit;
            carry(&gate, &*clock, decisions, work).await
        });
        let answer = task.await;
        caller.answered();
        answer.ok().flatten().unwrap_or_else(|| Err(status::stopping()))
    }
}

/// From the verdict to the answer, which tells how long it waited and was served; `None` if the call has left.
async fn carry<R>(
    gate: &Gate,
    clock: &dyn Clock,
    decisions: Decisions,
    work: impl Future<Output = Result<Response<R>, Status>>,
) -> Option<Result<Response<R>, Status>> {
    let mut answer = match decisions.verdict.await.ok()? {
        Verdict::Refused(reason, retry_after) => return Some(Err(status::refused(reason, retry_after))),
        Verdict::Started(Some(code)) => Err(status::injected(code)),
        Verdict::Started(None) => work.await,
    };
    let done = clock.now();
    let end = decisions.end.await.ok()?;
    if done > end.finished {
        if !end.pass_through {
            overrun(gate);
        }
        if !end.link_back.is_zero() {
            sleep_until(done + end.link_back).await;
        }
    }
    if let Ok(answer) = &mut answer {
        let service = done.max(end.finished).saturating_duration_since(end.started);
        timing::tell(answer.metadata_mut(), &[("queue", end.waited), ("service", service)]);
    }
    Some(if end.fate == Fate::Lost { Err(status::outage()) } else { answer })
}

fn overrun(gate: &Gate) {
    telemetry::overrun();
    let overruns = gate.overrun();
    if overruns == 1 || overruns.is_multiple_of(LOG_EVERY) {
        warn!(overruns, "headquarters takes longer than the profile says: its own time shows through");
    }
}

/// A request as headquarters gets it: the metadata as it came, and what remains of the deadline.
fn onward<T>(mut request: Request<T>, clock: &dyn Clock) -> Request<T> {
    let remaining = deadline::remaining_or(Deadline::of(&request), clock.now(), LONGEST_REAL_CALL);
    status::strip_framing(request.metadata_mut());
    request.set_timeout(remaining);
    request
}

/// The channel that calls; empty if it is not named by the rules, which is for headquarters to refuse.
fn channel(metadata: &MetadataMap) -> &str {
    let name = metadata.get(CHANNEL_METADATA).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if name.parse::<ChannelId>().is_ok() { name } else { "" }
}

fn search_text(request: &hq::SearchCustomersRequest) -> &str {
    match &request.criterion {
        Some(
            Criterion::Name(text)
            | Criterion::Email(text)
            | Criterion::Phone(text)
            | Criterion::AccountNumber(text)
            | Criterion::LoyaltyCard(text),
        ) => text,
        None => "",
    }
}

macro_rules! methods {
    ($($name:ident($request:ident) -> $response:ident, $method:ident of $subject:expr;)*) => {
        #[tonic::async_trait]
        impl RealTimeService for Rts {
            $(
                async fn $name(
                    &self,
                    request: Request<hq::$request>,
                ) -> Result<Response<hq::$response>, Status> {
                    let subject: fn(&hq::$request) -> &str = $subject;
                    // The call's name is needed for a moment only, but the request moves on.
                    let channel = channel(request.metadata()).to_owned();
                    let subject = subject(request.get_ref()).to_owned();
                    let (headquarters, clock) = (self.headquarters.clone(), Arc::clone(&self.clock));
                    let work = async move {
                        let request = onward(request, &*clock);
                        let mut answer = match headquarters {
                            Headquarters::Remote(mut client) => {
                                client.$name(request).await.map_err(status::from_headquarters)
                            }
                            Headquarters::Memory(memory) => RealTimeService::$name(&*memory, request).await,
                        }?;
                        status::strip_framing(answer.metadata_mut());
                        Ok(answer)
                    };
                    let call = Call { channel: &channel, method: Method::$method, subject: subject.as_bytes() };
                    self.pass(call, work).await
                }
            )*
        }
    };
}

methods! {
    create_customer(CreateCustomerRequest) -> CreateCustomerResponse,
        Create of |request| request.customer.as_ref().map_or("", |customer| &customer.customer_id);
    get_customer(GetCustomerRequest) -> GetCustomerResponse, Get of |request| &request.customer;
    search_customers(SearchCustomersRequest) -> SearchCustomersResponse, Search of search_text;
    update_customer(UpdateCustomerRequest) -> UpdateCustomerResponse, Update of |request| &request.customer;
    save_address(SaveAddressRequest) -> SaveAddressResponse, SaveAddress of |request| &request.customer;
    issue_loyalty_card(IssueLoyaltyCardRequest) -> IssueLoyaltyCardResponse,
        IssueLoyaltyCard of |request| &request.customer;
}
