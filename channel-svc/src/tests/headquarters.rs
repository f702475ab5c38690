//! A headquarters whose answers a test scripts: both of its services on port 0, everything in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tillsync_proto::pb::{
    common::{
        self, Customer, CustomerRecord, FeedCursor, Job, JobRun, Operation, Schedule, operation::Change,
    },
    hq::{
        data_exchange_service_server::{DataExchangeService, DataExchangeServiceServer},
        real_time_service_server::{RealTimeService, RealTimeServiceServer},
        *,
    },
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{TcpListenerStream, WatchStream},
};
use tonic::{Request, Response, Status, transport::Server};

/// What happens to a call of the real-time service.
#[derive(Clone)]
pub enum Fault {
    /// It is answered so, and nothing is done.
    Answer(Status),
    /// It is never answered, and nothing is done.
    Silence,
    /// It is done, and then answered so.
    Lost(Status),
}

/// A call of the real-time service that came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub channel: String,
    pub timeout: Option<Duration>,
}

pub struct State {
    pub epoch: String,
    pub head: u64,
    pub customers: BTreeMap<String, (Customer, u64)>,
    /// Arrived operations by counter.
    pub arrivals: BTreeMap<u64, Operation>,
    /// How often each counter came.
    pub uploads: Vec<u64>,
    /// Largest page that was uploaded.
    pub largest_page: usize,
    /// Answer only this many operations of a page.
    pub answers: usize,
    /// Every call of the exchange fails so.
    pub exchange_fault: Option<Status>,
    pub fault: Option<Fault>,
    pub calls: Vec<Seen>,
    pub profile: common::FunctionalityProfile,
    pub profile_version: u64,
    pub features: Vec<i32>,
    pub features_version: u64,
    pub status: Option<common::ChannelStatus>,
    pub runs: Vec<JobRun>,
    numbers: u64,
}

#[derive(Clone)]
pub struct FakeHq {
    state: Arc<Mutex<State>>,
    orders: Arc<watch::Sender<Vec<WatchJobsResponse>>>,
    reported: Arc<watch::Sender<u64>>,
    pub address: SocketAddr,
}

fn order(job: Job, held: bool, run_request: u64) -> WatchJobsResponse {
    let interval = Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 });
    let schedule = Schedule { job: job.into(), interval, jitter: 0.1, held };
    WatchJobsResponse { schedule: Some(schedule), run_request }
}

const JOBS: [Job; 4] =
    [Job::Upload, Job::Customers1010, Job::ChannelConfiguration1070, Job::GlobalConfiguration1110];

impl FakeHq {
    /// Starts one whose jobs are all held, with the sync profile.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            epoch: "epoch-1".to_owned(),
            head: 0,
            customers: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            uploads: Vec::new(),
            largest_page: 0,
            answers: usize::MAX,
            exchange_fault: None,
            fault: None,
            calls: Vec::new(),
            profile: profile(false, true),
            profile_version: 1,
            features: Vec::new(),
            features_version: 1,
            status: None,
            runs: Vec::new(),
            numbers: 0,
        };
        let orders = JOBS.map(|job| order(job, true, 0)).to_vec();
        let hq = Self {
            state: Arc::new(Mutex::new(state)),
            orders: Arc::new(watch::channel(orders).0),
            reported: Arc::new(watch::channel(0).0),
            address: listener.local_addr().unwrap(),
        };
        let server = Server::builder()
            .add_service(RealTimeServiceServer::new(hq.clone()))
            .add_service(DataExchangeServiceServer::new(hq.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        hq
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Runs a job at the channel and waits until it has been reported.
    pub async fn run(&self, job: Job) -> JobRun {
        let place = JOBS.iter().position(|known| *known == job).unwrap();
        let mut request = 0;
        self.orders.send_modify(|orders| {
            request = orders[place].run_request + 1;
            orders[place].run_request = request;
        });
        let ended = |state: &State| {
            state.runs.iter().find(|run| run.job() == job && run.run_request == request).cloned()
        };
        self.reported(ended).await.unwrap_or_else(|| panic!("{job:?} was not reported"))
    }

    /// Waits for a report after which something is there.
    async fn reported<T>(&self, there: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut reported = self.reported.subscribe();
        let waiting = async {
            loop {
                let found = there(&self.state());
                if found.is_some() {
                    return found;
                }
                reported.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.ok().flatten()
    }

    /// Lets a job run by its schedule (every 50 ms), or holds it.
    pub fn hold(&self, job: Job, held: bool) {
        self.orders.send_modify(|orders| {
            let order = orders.iter_mut().find(|o| o.schedule.as_ref().unwrap().job() == job).unwrap();
            order.schedule.as_mut().unwrap().held = held;
        });
    }

    /// Waits for a report that fits.
    pub async fn report(&self, fits: impl Fn(&common::ChannelStatus) -> bool) -> common::ChannelStatus {
        let fitting = |state: &State| state.status.clone().filter(|status| fits(status));
        self.reported(fitting).await.expect("a report that fits")
    }

    /// Makes the profile and brings it down.
    pub async fn set_profile(&self, profile: common::FunctionalityProfile) {
        {
            let mut state = self.state();
            state.profile = profile;
            state.profile_version += 1;
        }
        assert_eq!(self.run(Job::ChannelConfiguration1070).await.error, "");
    }

    /// Switches E2 and brings it down.
    pub async fn set_e2(&self, on: bool) {
        {
            let mut state = self.state();
            state.features = if on { vec![common::Feature::EnhancedAsyncCreate.into()] } else { Vec::new() };
            state.features_version += 1;
        }
        assert_eq!(self.run(Job::GlobalConfiguration1110).await.error, "");
    }

    /// The customer sync job: every arrived customer becomes real, unless it is already.
    pub fn convert(&self) {
        let mut state = self.state();
        let arrived: Vec<Operation> = state.arrivals.values().cloned().collect();
        for operation in arrived {
            let Some(Change::Create(customer)) = operation.change else { continue };
            let customer = Customer { create_time: operation.log_time, ..customer };
            state.insert(&operation.customer_id, customer);
        }
    }

    /// Upload, customer sync, 1010 (rule X1).
    pub async fn chain(&self) {
        assert_eq!(self.run(Job::Upload).await.error, "");
        self.convert();
        assert_eq!(self.run(Job::Customers1010).await.error, "");
    }

    /// The whole database is lost, and another one stands in its place.
    pub fn restore(&self, epoch: &str) {
        let mut state = self.state();
        state.epoch = epoch.to_owned();
        state.head = 0;
        state.customers.clear();
        state.arrivals.clear();
        state.numbers += 1_000;
    }
}

/// A profile.
pub fn profile(create_customer_async: bool, async_fallback: bool) -> common::FunctionalityProfile {
    let rts_timeout = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    common::FunctionalityProfile { create_customer_async, async_fallback, rts_timeout }
}

impl State {
    /// Adds a customer under the next account number, unless it is there.
    pub fn insert(&mut self, id: &str, customer: Customer) -> CustomerRecord {
        if !self.customers.contains_key(id) {
            self.numbers += 1;
            let account_number = format!("C-{:06}", self.numbers);
            let customer = Customer { customer_id: id.to_owned(), account_number, ..customer };
            self.save(customer);
        }
        self.record(id).unwrap()
    }

    /// Saves a customer under the next version.
    pub fn save(&mut self, customer: Customer) {
        self.head += 1;
        self.customers.insert(customer.customer_id.clone(), (customer, self.head));
    }

    pub fn record(&self, name: &str) -> Option<CustomerRecord> {
        let found = self.customers.values().find(|(c, _)| c.customer_id == name || c.account_number == name);
        found
            .map(|(customer, version)| CustomerRecord { customer: Some(customer.clone()), version: *version })
    }
}

impl FakeHq {
    /// Notes a call, and does what the script says: before the work, and after it.
    async fn call<T>(
        &self,
        metadata: &tonic::metadata::MetadataMap,
        work: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let channel = metadata.get("x-tillsync-channel").unwrap().to_str().unwrap().to_owned();
        let timeout = service_kit::deadline::parse(&metadata.clone().into_headers());
        let fault = {
            let mut state = self.state();
            state.calls.push(Seen { channel, timeout });
            state.fault.clone()
        };
        match fault {
            None => work(&mut self.state()).map(Response::new),
            Some(Fault::Answer(status)) => Err(status),
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Lost(status)) => {
                let _ = work(&mut self.state());
                Err(status)
            }
        }
    }
}

#[tonic::async_trait]
impl RealTimeService for FakeHq {
    async fn create_customer(
        &self,
        request: Request<CreateCustomerRequest>,
    ) -> Result<Response<CreateCustomerResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let customer = message.customer.unwrap();
            let record = state.insert(&customer.customer_id.clone(), customer);
            Ok(CreateCustomerResponse { record: Some(record), epoch: state.epoch.clone() })
        })
        .await
    }

    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<GetCustomerResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let record = state.record(&message.customer).ok_or_else(|| Status::not_found("nobody"))?;
            Ok(GetCustomerResponse { record: Some(record), epoch: state.epoch.clone() })
        })
        .await
    }

    async fn search_customers(
        &self,
        request: Request<SearchCustomersRequest>,
    ) -> Result<Response<SearchCustomersResponse>, Status> {
        let (metadata, _, _) = request.into_parts();
        self.call(&metadata, |state| {
            let ids: Vec<String> = state.customers.keys().cloned().collect();
            let records = ids.iter().filter_map(|id| state.record(id)).collect();
            Ok(SearchCustomersResponse {
                records,
                next_page_token: String::new(),
                epoch: state.epoch.clone(),
            })
        })
        .await
    }

    async fn update_customer(
        &self,
        request: Request<UpdateCustomerRequest>,
    ) -> Result<Response<UpdateCustomerResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let (mut customer, _) = state.customers[&message.customer].clone();
            // The tests change the tax id only.
            customer.tax_id = message.values.unwrap().tax_id;
            state.save(customer);
            let record = state.record(&message.customer);
            Ok(UpdateCustomerResponse { record, epoch: state.epoch.clone() })
        })
        .await
    }

    async fn save_address(
        &self,
        request: Request<SaveAddressRequest>,
    ) -> Result<Response<SaveAddressResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let (mut customer, _) = state.customers[&message.customer].clone();
            let address = message.address.unwrap();
            customer.addresses.retain(|there| there.address_id != address.address_id);
            customer.addresses.push(address);
            state.save(customer);
            let record = state.record(&message.customer);
            Ok(SaveAddressResponse { record, epoch: state.epoch.clone() })
        })
        .await
    }

    async fn issue_loyalty_card(
        &self,
        request: Request<IssueLoyaltyCardRequest>,
    ) -> Result<Response<IssueLoyaltyCardResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let (mut customer, _) = state.customers[&message.customer].clone();
            customer.loyalty_cards.push(message.card_number.clone());
            state.save(customer);
            let record = state.record(&message.customer);
            let card_number = message.card_number;
            Ok(IssueLoyaltyCardResponse { record, card_number, epoch: state.epoch.clone() })
        })
        .await
    }
}

impl FakeHq {
    fn exchange(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.state();
        match &state.exchange_fault {
            Some(status) => Err(status.clone()),
            None => Ok(state),
        }
    }
}

#[tonic::async_trait]
impl DataExchangeService for FakeHq {
    type WatchJobsStream = Pin<Box<dyn Stream<Item = Result<WatchJobsResponse, Status>> + Send>>;

    async fn upload_operations(
        &self,
        request: Request<UploadOperationsRequest>,
    ) -> Result<Response<UploadOperationsResponse>, Status> {
        let mut state = self.exchange()?;
        let operations = request.into_inner().operations;
        state.largest_page = state.largest_page.max(operations.len());
        let mut outcomes = Vec::new();
        let answers = state.answers;
        for operation in operations.into_iter().take(answers) {
            let counter = operation.counter;
            state.uploads.push(counter);
            let known = state.arrivals.contains_key(&counter);
            let account = state.record(&operation.customer_id).and_then(|record| record.customer);
            state.arrivals.insert(counter, operation);
            let result = if known { OperationResult::Known } else { OperationResult::Arrived };
            outcomes.push(OperationOutcome {
                counter,
                result: result.into(),
                account_number: account.map(|customer| customer.account_number).unwrap_or_default(),
                reason: String::new(),
            });
        }
        Ok(Response::new(UploadOperationsResponse { outcomes, epoch: state.epoch.clone() }))
    }

    async fn list_customer_changes(
        &self,
        request: Request<ListCustomerChangesRequest>,
    ) -> Result<Response<ListCustomerChangesResponse>, Status> {
        let state = self.exchange()?;
        let cursor = request.into_inner().cursor.unwrap_or_default();
        let epoch = state.epoch.clone();
        if !cursor.epoch.is_empty() && (cursor.epoch != epoch || cursor.version > state.head) {
            let resync = Resync {
                reason: ResyncReason::OtherEpoch.into(),
                cursor: Some(FeedCursor { epoch, version: 0 }),
            };
            let head_version = state.head;
            let answer =
                ListCustomerChangesResponse { resync: Some(resync), head_version, ..Default::default() };
            return Ok(Response::new(answer));
        }
        let mut changes: Vec<_> = state.customers.values().filter(|(_, v)| *v > cursor.version).collect();
        changes.sort_by_key(|(_, version)| *version);
        // Small pages, so that tests see several.
        changes.truncate(100);
        let version = changes.last().map_or(cursor.version.max(state.head), |(_, version)| *version);
        let records = changes.into_iter().map(|(customer, version)| CustomerRecord {
            customer: Some(customer.clone()),
            version: *version,
        });
        Ok(Response::new(ListCustomerChangesResponse {
            resync: None,
            records: records.collect(),
            next_cursor: Some(FeedCursor { epoch, version }),
            head_version: state.head,
        }))
    }

    async fn get_configuration(
        &self,
        request: Request<GetConfigurationRequest>,
    ) -> Result<Response<GetConfigurationResponse>, Status> {
        let state = self.exchange()?;
        let answer = match request.into_inner().job() {
            Job::ChannelConfiguration1070 => GetConfigurationResponse {
                version: state.profile_version,
                profile: Some(state.profile),
                features: Vec::new(),
            },
            _ => GetConfigurationResponse {
                version: state.features_version,
                profile: None,
                features: state.features.clone(),
            },
        };
        Ok(Response::new(answer))
    }

    async fn watch_jobs(
        &self,
        _: Request<WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        let orders = WatchStream::new(self.orders.subscribe());
        let told = orders.map(|orders| tokio_stream::iter(orders.into_iter().map(Ok)));
        Ok(Response::new(Box::pin(flatten(told))))
    }

    async fn report_status(
        &self,
        request: Request<ReportStatusRequest>,
    ) -> Result<Response<ReportStatusResponse>, Status> {
        let message = request.into_inner();
        {
            let mut state = self.exchange()?;
            state.status = message.status;
            state.runs.extend(message.ended_runs);
        }
        self.reported.send_modify(|count| *count += 1);
        Ok(Response::new(ReportStatusResponse {}))
    }
}

/// A stream of streams, one after the other.
fn flatten<T: Send + 'static>(
    streams: impl Stream<Item = impl Stream<Item = T> + Send + Unpin + 'static> + Send + 'static,
) -> impl Stream<Item = T> + Send {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        tokio::pin!(streams);
        while let Some(mut stream) = streams.next().await {
            while let Some(item) = stream.next().await {
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

/// GUIDs of everybody at headquarters.
pub fn everybody(hq: &FakeHq) -> BTreeSet<String> {
    hq.state().customers.keys().cloned().collect()
}
