//! The server over real connections. Nothing sleeps to wait: tests are told by the fake headquarters, or ask
//! for the figures until they show it.

use std::{sync::Arc, time::Duration};

use service_kit::{
    clock::SystemClock,
    door::{Access, DoorConfig},
    problem,
};
use tillsync_proto::{
    CHANNEL_METADATA,
    pb::{
        common,
        emulator::{
            EndOutageRequest, GetFiguresRequest, GetFiguresResponse, GetProfileRequest, StartOutageRequest,
            UpdateProfileRequest, emulator_service_client::EmulatorServiceClient,
        },
        hq::{self, real_time_service_server::RealTimeService},
    },
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::*;
use crate::profile::{Distribution, RateLimit, RateLimits, ServiceTime};

/// Longest a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A headquarters that tells what it sees. The customer it is asked for says what it does.
struct FakeHq {
    seen: mpsc::UnboundedSender<(String, MetadataMap)>,
    done: mpsc::UnboundedSender<String>,
    /// Calls for "slow" wait for a permit.
    release: Arc<Semaphore>,
}

#[tonic::async_trait]
impl RealTimeService for FakeHq {
    async fn get_customer(
        &self,
        request: Request<hq::GetCustomerRequest>,
    ) -> Result<Response<hq::GetCustomerResponse>, Status> {
        let name = request.get_ref().customer.clone();
        let _ = self.seen.send((name.clone(), request.metadata().clone()));
        match name.as_str() {
            "slow" => self.release.acquire().await.unwrap().forget(),
            "refused" => {
                let mut status = Status::with_details(
                    Code::FailedPrecondition,
                    "not so",
                    b"\x08\x09details".to_vec().into(),
                );
                status.metadata_mut().insert("grpc-retry-pushback-ms", "77".parse().unwrap());
                status.metadata_mut().insert("x-own", "kept".parse().unwrap());
                return Err(status);
            }
            _ => {}
        }
        let _ = self.done.send(name);
        let mut answer = Response::new(hq::GetCustomerResponse { record: None, epoch: "fake".to_owned() });
        answer.metadata_mut().insert("x-own", "kept".parse().unwrap());
        Ok(answer)
    }

    async fn create_customer(
        &self,
        _: Request<hq::CreateCustomerRequest>,
    ) -> Result<Response<hq::CreateCustomerResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn search_customers(
        &self,
        _: Request<hq::SearchCustomersRequest>,
    ) -> Result<Response<hq::SearchCustomersResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn update_customer(
        &self,
        _: Request<hq::UpdateCustomerRequest>,
    ) -> Result<Response<hq::UpdateCustomerResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn save_address(
        &self,
        _: Request<hq::SaveAddressRequest>,
    ) -> Result<Response<hq::SaveAddressResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn issue_loyalty_card(
        &self,
        _: Request<hq::IssueLoyaltyCardRequest>,
    ) -> Result<Response<hq::IssueLoyaltyCardResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

/// A running emulator.
struct Running {
    rts: RealTimeServiceClient<Channel>,
    control: EmulatorServiceClient<Channel>,
    stop: CancellationToken,
    server: JoinHandle<Result<(), EmulatorError>>,
}

impl Running {
    async fn start(deps: Deps) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let channel = Endpoint::try_from(format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let channel = channel.connect_lazy();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, stop.clone(), deps));
        let (rts, control) =
            (RealTimeServiceClient::new(channel.clone()), EmulatorServiceClient::new(channel));
        Self { rts, control, stop, server }
    }

    async fn alone(profile: Profile) -> Self {
        Self::start(Deps::alone(profile, Arc::new(SystemClock))).await
    }

    /// Before a fake headquarters: what it sees, what it has done, and the permits for slow calls.
    async fn forwarding(profile: Profile) -> (Self, Fake) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, seen_told) = mpsc::unbounded_channel();
        let (done, done_told) = mpsc::unbounded_channel();
        let release = Arc::new(Semaphore::new(0));
        let fake = FakeHq { seen, done, release: Arc::clone(&release) };
        let server = Server {
            routes: Routes::new(RealTimeServiceServer::new(fake)),
            names: &[],
            descriptors: pb::DESCRIPTORS,
            web: Vec::new(),
            door: DoorConfig::default(),
            access: Access::default(),
            clock: Arc::new(SystemClock),
        };
        tokio::spawn(server.serve(listener, CancellationToken::new()));
        let running = Self::start(Deps::forwarding(profile, &url, Arc::new(SystemClock))).await;
        (running, Fake { seen: seen_told, done: done_told, release })
    }

    async fn get(&self, customer: &str) -> Result<Response<hq::GetCustomerResponse>, Status> {
        self.rts.clone().get_customer(get(customer)).await
    }

    /// A call that somebody else makes.
    fn spawn_get(&self, customer: &str) -> JoinHandle<Result<Response<hq::GetCustomerResponse>, Status>> {
        let (mut rts, request) = (self.rts.clone(), get(customer));
        tokio::spawn(async move { rts.get_customer(request).await })
    }

    /// The figures, as soon as they are so.
    async fn figures(&self, so: impl Fn(&GetFiguresResponse) -> bool) -> GetFiguresResponse {
        let asked = async {
            loop {
                let request = GetFiguresRequest { reset: false };
                let figures = self.control.clone().get_figures(request).await.unwrap().into_inner();
                if so(&figures) {
                    return figures;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the figures never showed it")
    }

    async fn update(&self, profile: &Profile) {
        let profile_toml = profile.to_toml().unwrap();
        self.control.clone().update_profile(UpdateProfileRequest { profile_toml }).await.unwrap();
    }

    async fn stop(self) {
        self.stop.cancel();
        drop((self.rts, self.control));
        timeout(PATIENCE, self.server).await.unwrap().unwrap().unwrap();
    }
}

struct Fake {
    seen: mpsc::UnboundedReceiver<(String, MetadataMap)>,
    done: mpsc::UnboundedReceiver<String>,
    release: Arc<Semaphore>,
}

fn get(customer: &str) -> Request<hq::GetCustomerRequest> {
    let mut request = Request::new(hq::GetCustomerRequest { customer: customer.to_owned() });
    request.metadata_mut().insert(CHANNEL_METADATA, "store-1".parse().unwrap());
    request
}

fn constant(mean_ms: f64) -> ServiceTime {
    ServiceTime::new(Distribution::Constant, mean_ms)
}

fn idle() -> Profile {
    Profile::preset("idle").unwrap()
}

/// One worker that a call holds for a minute.
fn stuck() -> Profile {
    Profile {
        workers: 1,
        queue_capacity: 1,
        longest_wait_ms: 60_000.0,
        service: constant(60_000.0),
        ..idle()
    }
}

fn refusal(result: Result<Response<hq::GetCustomerResponse>, Status>) -> (Code, String, Status) {
    let status = result.expect_err("refused");
    (status.code(), problem::reason(&status).unwrap_or_default(), status)
}

#[tokio::test]
async fn r1_alone_it_gives_account_numbers() {
    let running = Running::alone(idle()).await;
    let organization = common::Organization { name: "Bakery".to_owned() };
    let customer = common::Customer {
        customer_id: "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c01".to_owned(),
        party: Some(common::customer::Party::Organization(organization)),
        ..common::Customer::default()
    };
    let create = |customer: &common::Customer| hq::CreateCustomerRequest {
        customer: Some(customer.clone()),
        ..Default::default()
    };
    let answer = running.rts.clone().create_customer(create(&customer)).await.unwrap().into_inner();
    let number = answer.record.unwrap().customer.unwrap().account_number;
    assert_eq!(number, "C-00000001");
    assert!(running.get(&number).await.is_ok());
    let other = common::Customer { tax_id: "1".to_owned(), ..customer };
    let status = running.rts.clone().create_customer(create(&other)).await.unwrap_err();
    assert_eq!(
        (status.code(), problem::reason(&status).as_deref()),
        (Code::AlreadyExists, Some("GUID_TAKEN"))
    );
    running.stop().await;
}

#[tokio::test]
async fn requests_answers_and_errors_pass_unchanged() {
    let (running, mut fake) = Running::forwarding(idle()).await;
    let mut request = get("anyone");
    request.set_timeout(Duration::from_secs(9));
    let answer = running.rts.clone().get_customer(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-own").unwrap(), "kept");
    assert_eq!(answer.into_inner().epoch, "fake");
    let (_, metadata) = fake.seen.recv().await.unwrap();
    assert_eq!(metadata.get(CHANNEL_METADATA).unwrap(), "store-1");
    let left =
        service_kit::deadline::parse(&metadata.into_headers()).expect("Z2: what remains of the deadline");
    assert!(left < Duration::from_secs(9) && left > Duration::from_secs(1), "{left:?}");

    let status = running.get("refused").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "not so"));
    assert_eq!(status.details(), b"\x08\x09details");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "77");
    assert_eq!(status.metadata().get("x-own").unwrap(), "kept");
    running.stop().await;
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_never_reaches_headquarters() {
    let (running, mut fake) = Running::forwarding(stuck()).await;
    let first = running.spawn_get("first");
    assert_eq!(fake.seen.recv().await.unwrap().0, "first");
    let mut request = get("second");
    request.set_timeout(Duration::from_millis(30));
    let status = running.rts.clone().get_customer(request).await.unwrap_err();
    // The server's answer and tonic's own timeout race; either is the end of the call.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    let figures = running.figures(|figures| figures.abandoned == 1).await;
    assert_eq!((figures.queue_now, figures.busy_now, figures.arrived), (0, 1, 2));
    assert!(fake.seen.try_recv().is_err());
    first.abort();
    running.stop().await;
}

#[tokio::test]
async fn m6_a_call_whose_caller_goes_away_after_its_start_is_done_by_headquarters() {
    let (running, mut fake) = Running::forwarding(stuck()).await;
    let call = running.spawn_get("slow");
    assert_eq!(fake.seen.recv().await.unwrap().0, "slow");
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // The connection has told the emulator by the time it answers this.
    let figures = running.figures(|figures| figures.arrived == 1).await;
    assert_eq!((figures.abandoned, figures.busy_now), (0, 1));
    fake.release.add_permits(1);
    assert_eq!(timeout(PATIENCE, fake.done.recv()).await.unwrap().unwrap(), "slow");
    running.stop().await;
}

#[tokio::test]
async fn an_answer_comes_when_the_model_says_or_later_if_headquarters_is_slower() {
    let profile = Profile { service: constant(30.0), ..idle() };
    let (running, mut fake) = Running::forwarding(profile).await;
    let clock = SystemClock;
    let begun = clock.now();
    running.get("anyone").await.unwrap();
    assert!(clock.now() - begun >= Duration::from_millis(30));
    assert_eq!(running.figures(|_| true).await.overruns, 0);

    let call = running.spawn_get("slow");
    running.figures(|figures| figures.completed == 2).await;
    assert!(!call.is_finished(), "the worker is free, the answer is not there");
    fake.release.add_permits(1);
    call.await.unwrap().unwrap();
    assert_eq!(running.figures(|_| true).await.overruns, 1);
    assert_eq!(fake.done.recv().await.unwrap(), "anyone");
    running.stop().await;
}

#[tokio::test]
async fn refusals_say_why_and_when_to_come_again() {
    let limit = Some(RateLimit { per_s: 0.1, burst: 1 });
    let cases = [
        (Profile { queue_capacity: 0, ..stuck() }, Code::ResourceExhausted, "OVERLOADED", true),
        (Profile { longest_wait_ms: 1.0, ..stuck() }, Code::ResourceExhausted, "OVERLOADED", true),
        (
            Profile { rate_limits: RateLimits { per_channel: limit, overall: None }, ..stuck() },
            Code::ResourceExhausted,
            "OVERLOADED",
            true,
        ),
    ];
    for (profile, code, reason, hint) in cases {
        let running = Running::alone(profile).await;
        let first = running.spawn_get("a");
        running.figures(|figures| figures.busy_now == 1).await;
        let told = refusal(running.get("b").await);
        assert_eq!((told.0, told.1.as_str()), (code, reason));
        let status = told.2;
        assert_eq!(status.get_details_retry_info().is_some(), hint);
        assert_eq!(status.metadata().contains_key("grpc-retry-pushback-ms"), hint);
        first.abort();
        running.stop().await;
    }
    let errors = [(crate::profile::GrpcCode::Aborted, 1.0)].into();
    let running = Running::alone(Profile { errors, ..idle() }).await;
    let (code, reason, _) = refusal(running.get("a").await);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "INJECTED"));
    running.stop().await;
}

#[tokio::test]
async fn r6_profile_and_outage_change_while_traffic_flows() {
    let (running, _fake) = Running::forwarding(idle()).await;
    let mut control = running.control.clone();
    let stop = CancellationToken::new();
    // Traffic: every outcome is counted by its reason.
    let traffic = tokio::spawn({
        let (rts, stop) = (running.rts.clone(), stop.clone());
        async move {
            let mut outcomes = std::collections::BTreeMap::<String, u64>::new();
            while !stop.is_cancelled() {
                let outcome = match rts.clone().get_customer(get("anyone")).await {
                    Ok(_) => "OK".to_owned(),
                    Err(status) => {
                        format!("{:?} {}", status.code(), problem::reason(&status).unwrap_or_default())
                    }
                };
                *outcomes.entry(outcome).or_default() += 1;
            }
            outcomes
        }
    });
    running.figures(|figures| figures.completed > 20).await;
    control.start_outage(StartOutageRequest { duration: None }).await.unwrap();
    let out = running.figures(|figures| figures.refused_outage > 20).await;
    assert!(out.outage);
    control.end_outage(EndOutageRequest {}).await.unwrap();
    running.figures(|figures| figures.completed > out.completed + 20).await;

    running.update(&Profile { service: constant(5.0), workers: 3, ..idle() }).await;
    let request = GetProfileRequest {};
    let told = control.get_profile(request).await.unwrap().into_inner().profile_toml;
    assert_eq!(Profile::parse(&told).unwrap().workers, 3);
    control.get_figures(GetFiguresRequest { reset: true }).await.unwrap();
    let slow = running.figures(|figures| figures.completed > 20).await;
    assert_eq!(slow.workers, 3);
    assert_eq!(slow.mean_service.unwrap().nanos, 5_000_000);
    stop.cancel();
    let outcomes = timeout(PATIENCE, traffic).await.unwrap().unwrap();
    let kinds: Vec<&str> = outcomes.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["OK", "Unavailable OUTAGE"]);
    running.stop().await;
}

#[tokio::test]
async fn z1_a_bad_profile_or_outage_is_refused_by_name_and_changes_nothing() {
    let running = Running::alone(Profile::default()).await;
    let mut control = running.control.clone();
    let bad = UpdateProfileRequest { profile_toml: "workers = 0".to_owned() };
    let status = control.update_profile(bad).await.unwrap_err();
    assert_eq!(
        (status.code(), problem::reason(&status).as_deref()),
        (Code::InvalidArgument, Some("BAD_PROFILE"))
    );
    assert!(status.message().contains("missing field `queue_capacity`"), "{status:?}");
    for (seconds, nanos) in [(-1, 0), (0, 0), (i64::MAX, 0)] {
        let duration = Some(prost_types::Duration { seconds, nanos });
        let status = control.start_outage(StartOutageRequest { duration }).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "duration");
    }
    let figures = running.figures(|_| true).await;
    assert_eq!((figures.workers, figures.outage), (4, false));
    running.stop().await;
}

#[tokio::test]
async fn z3_a_message_beyond_the_limit_is_refused_clearly() {
    let running = Running::alone(idle()).await;
    let (code, reason, status) = refusal(running.get(&"x".repeat(5 * 1024 * 1024)).await);
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "MESSAGE_TOO_LARGE"));
    assert!(status.message().contains("4194304 bytes"), "{status:?}");
    assert!(running.get("C-1").await.is_err_and(|status| status.code() == Code::NotFound), "and goes on");
    running.stop().await;
}

#[tokio::test]
async fn m5_a_headquarters_that_is_not_there_is_a_communication_failure() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let running =
        Running::start(Deps::forwarding(idle(), &format!("http://{port}"), Arc::new(SystemClock))).await;
    let (code, reason, _) = refusal(running.get("a").await);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "HQ_UNREACHABLE"));
    running.stop().await;
}

#[tokio::test]
async fn what_it_cannot_run_on_is_said_at_once() {
    let serve_with = async |profile: Profile, url: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let deps = Deps::forwarding(profile, url, Arc::new(SystemClock));
        serve(listener, CancellationToken::new(), deps).await.unwrap_err().to_string()
    };
    let error = serve_with(idle(), "127.0.0.1:7200").await;
    assert_eq!(error, "headquarters: 127.0.0.1:7200 is not an address such as http://127.0.0.1:7100");
    let error = serve_with(Profile { workers: 0, ..idle() }, "http://127.0.0.1:7200").await;
    assert_eq!(error, "the profile is not valid: workers is 0, less than 1");
}

#[tokio::test]
async fn calls_that_are_here_when_it_stops_end() {
    let running = Running::alone(Profile { service: constant(200.0), workers: 1, ..idle() }).await;
    let call = running.spawn_get("C-1");
    running.figures(|figures| figures.busy_now == 1).await;
    running.stop.cancel();
    let (code, ..) = refusal(timeout(PATIENCE, call).await.unwrap().unwrap());
    assert_eq!(code, Code::NotFound, "it is served to its end");
    running.stop().await;
}
