//! A headquarters whose answers a test scripts: both of its services on port 0, everything in memory.

mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tillsync_proto::{
    Feature, convert,
    pb::{
        common::{
            self, Customer, CustomerRecord, Job, JobRun, Operation, Schedule, SessionState, operation::Change,
        },
        hq::{
            WatchJobsResponse, data_exchange_service_server::DataExchangeServiceServer,
            real_time_service_server::RealTimeServiceServer,
        },
    },
};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Status, transport::Server};

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
    /// Uploads are not answered.
    pub hang: bool,
    /// Uploads are not answered after this many operations have come.
    pub hang_after: Option<usize>,
    pub fault: Option<Fault>,
    pub calls: Vec<Seen>,
    pub profile: common::FunctionalityProfile,
    pub profile_version: u64,
    pub features: Vec<i32>,
    pub attributes: Vec<common::AttributeDefinition>,
    pub features_version: u64,
    /// Up to which counter edits are in each customer, by GUID.
    pub included: BTreeMap<String, u64>,
    pub status: Option<common::ChannelStatus>,
    pub runs: Vec<JobRun>,
    /// The runs under way, by the newest report.
    pub running: Vec<JobRun>,
    numbers: u64,
}

#[derive(Clone)]
pub struct FakeHq {
    state: Arc<Mutex<State>>,
    orders: Arc<watch::Sender<Vec<WatchJobsResponse>>>,
    reported: Arc<watch::Sender<u64>>,
    /// Uploads that hang.
    hanging: Arc<Notify>,
    /// They are answered, by the database that they came to.
    answered: Arc<Notify>,
    pub address: SocketAddr,
}

fn order(job: Job, held: bool, run_request: u64) -> WatchJobsResponse {
    let interval = Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 });
    let schedule = Schedule { job: job.into(), interval, jitter: 0.1, held };
    WatchJobsResponse {
        schedule: Some(schedule),
        run_request,
        canceled_through: 0,
        canceled_start_time: None,
    }
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
            hang: false,
            hang_after: None,
            fault: None,
            calls: Vec::new(),
            profile: profile(false, true),
            profile_version: 1,
            features: Vec::new(),
            attributes: Vec::new(),
            features_version: 1,
            included: BTreeMap::new(),
            status: None,
            runs: Vec::new(),
            running: Vec::new(),
            numbers: 0,
        };
        let orders = JOBS.map(|job| order(job, true, 0)).to_vec();
        let hq = Self {
            state: Arc::new(Mutex::new(state)),
            orders: Arc::new(watch::channel(orders).0),
            reported: Arc::new(watch::channel(0).0),
            hanging: Arc::default(),
            answered: Arc::default(),
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
        let request = self.order_run(job);
        let ended = |state: &State| {
            state.runs.iter().find(|run| run.job() == job && run.run_request == request).cloned()
        };
        self.reported(ended).await.unwrap_or_else(|| panic!("{job:?} was not reported"))
    }

    /// Asks for a run of a job, and gives the request's number.
    pub fn order_run(&self, job: Job) -> u64 {
        let place = JOBS.iter().position(|known| *known == job).unwrap();
        let mut request = 0;
        self.orders.send_modify(|orders| {
            request = orders[place].run_request + 1;
            orders[place].run_request = request;
        });
        request
    }

    /// Cancels what has been asked for.
    pub fn cancel(&self, job: Job) {
        let place = JOBS.iter().position(|known| *known == job).unwrap();
        self.orders.send_modify(|orders| orders[place].canceled_through = orders[place].run_request);
    }

    /// Cancels a scheduled run.
    pub fn cancel_scheduled(&self, run: &JobRun) {
        let place = JOBS.iter().position(|known| *known == run.job()).unwrap();
        self.orders.send_modify(|orders| orders[place].canceled_start_time = run.start_time);
    }

    /// Waits until a run is reported as being under way in a state.
    pub async fn under_way(&self, job: Job, state: SessionState) -> JobRun {
        let there = |known: &State| {
            known.running.iter().find(|run| run.job() == job && run.state() == state).cloned()
        };
        self.reported(there).await.unwrap_or_else(|| panic!("{job:?} was not reported as {state:?}"))
    }

    /// Waits for an upload that hangs.
    pub async fn hanging(&self) {
        tokio::time::timeout(Duration::from_secs(30), self.hanging.notified()).await.expect("an upload");
    }

    /// Answers an upload that hangs, from the database that was there when it came.
    pub fn answer(&self) {
        self.answered.notify_one();
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
        self.reschedule(job, |schedule| schedule.held = held);
    }

    /// Lets a job run by another schedule.
    pub fn every(&self, job: Job, interval: Duration) {
        self.reschedule(job, |schedule| {
            schedule.interval = Some(interval.try_into().unwrap());
            schedule.held = false;
        });
    }

    fn reschedule(&self, job: Job, change: impl FnOnce(&mut Schedule)) {
        self.orders.send_modify(|orders| {
            let order = orders.iter_mut().find(|o| o.schedule.as_ref().unwrap().job() == job).unwrap();
            change(order.schedule.as_mut().unwrap());
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

    /// Makes flags and definitions of attributes; 1110 has yet to bring them down.
    pub fn configure(&self, flags: &[Feature], attributes: Vec<common::AttributeDefinition>) {
        let mut state = self.state();
        state.features = flags.iter().map(|flag| common::Feature::from(*flag).into()).collect();
        state.attributes = attributes;
        state.features_version += 1;
    }

    /// Switches flags and brings them down.
    pub async fn set_flags(&self, flags: &[Feature]) {
        self.configure(flags, Vec::new());
        assert_eq!(self.run(Job::GlobalConfiguration1110).await.error, "");
    }

    /// The customer sync job: every arrived customer becomes real, unless it is already, and edits are made.
    pub fn convert(&self) {
        let mut state = self.state();
        let arrived: Vec<Operation> = state.arrivals.values().cloned().collect();
        for operation in arrived {
            let (id, counter) = (operation.customer_id.clone(), operation.counter);
            if let Some(Change::Create(customer)) = operation.change {
                state.insert(&id, Customer { create_time: operation.log_time, ..customer });
            } else if state.included.get(&id).is_none_or(|included| *included < counter) {
                let edit = convert::operation(operation).unwrap();
                let (customer, _) = state.customers[&id].clone();
                let mut customer = convert::customer(customer).unwrap();
                edit.change.apply(&mut customer.content);
                state.included.insert(id, counter);
                state.save((&customer).into());
            }
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
        state.included.clear();
        state.numbers += 1_000;
    }
}

/// A profile.
pub fn profile(create_customer_async: bool, async_fallback: bool) -> common::FunctionalityProfile {
    let rts_timeout = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    common::FunctionalityProfile { create_customer_async, async_fallback, rts_timeout, ..Default::default() }
}

impl State {
    /// Whether the next upload is never answered.
    fn hangs(&self) -> bool {
        self.hang || self.hang_after.is_some_and(|most| self.uploads.len() >= most)
    }

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
        found.map(|(customer, version)| CustomerRecord {
            customer: Some(customer.clone()),
            version: *version,
            ..Default::default()
        })
    }
}

/// GUIDs of everybody at headquarters.
pub fn everybody(hq: &FakeHq) -> BTreeSet<String> {
    hq.state().customers.keys().cloned().collect()
}
