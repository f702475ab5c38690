//! A running headquarters and its clients.

use std::{sync::Arc, time::Duration};

use hq_svc::{Config, ServeError, open, serve};
use service_kit::{
    clock::{Clock, Ids, SystemClock},
    database::DatabaseUrl,
    problem::reason,
    testing::postgres,
};
use tempfile::TempDir;
use tillsync_proto::{
    Job, Schedule,
    pb::{
        common::{self, Customer, Operation, Person, customer::Party, operation::Change},
        hq::{
            self, admin_service_client::AdminServiceClient,
            data_exchange_service_client::DataExchangeServiceClient,
            real_time_service_client::RealTimeServiceClient,
        },
    },
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// Longest wait for anything: a test that needs more hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs tests on both databases.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::harness::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(database) = crate::harness::Database::postgres(stringify!($test)).await {
                    super::$test(database).await;
                }
            })*
        }
    };
}
pub(crate) use on_both;

pub struct Database {
    pub url: DatabaseUrl,
    _folder: Option<TempDir>,
}

impl Database {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { url: DatabaseUrl::Sqlite(folder.path().join("hq.db")), _folder: Some(folder) }
    }

    pub async fn postgres(test: &str) -> Option<Self> {
        Some(Self { url: postgres(test).await?, _folder: None })
    }

    /// A configuration in which the customer sync job runs only when it is asked to.
    pub fn config(&self) -> Config {
        let held = Schedule { held: true, ..Schedule::default_for(Job::CustomerSync) };
        Config { schedules: vec![held], ..Config::new(self.url.clone()) }
    }
}

/// Headquarters, and a client of each of its services.
pub struct Hq {
    pub real_time: RealTimeServiceClient<Channel>,
    pub exchange: DataExchangeServiceClient<Channel>,
    pub admin: AdminServiceClient<Channel>,
    pub address: std::net::SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Hq {
    pub async fn start(database: &Database) -> Self {
        Self::with(database.config()).await
    }

    pub async fn with(config: Config) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids = Ids::seeded(Arc::clone(&clock), 11);
        let hq = open(&config, clock, ids).await.expect("headquarters opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its number");
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, shutdown.clone(), hq));
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("a URL");
        let channel = endpoint.connect().await.expect("it listens");
        Self {
            real_time: RealTimeServiceClient::new(channel.clone()),
            exchange: DataExchangeServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel),
            address,
            shutdown,
            serving,
        }
    }

    /// Begins to stop.
    pub fn cancel(&self) {
        self.shutdown.cancel();
    }

    /// Stops, and waits until it has. Clients let go of their connection, as a process that ends does.
    pub async fn stop(self) {
        let Self { real_time, exchange, admin, shutdown, serving, .. } = self;
        drop((real_time, exchange, admin));
        shutdown.cancel();
        let ended = timeout(Duration::from_secs(5), serving).await.expect("serve ends promptly");
        ended.expect("no panic").expect("no error");
    }

    pub async fn create(&self, id: Uuid, first: &str, last: &str) -> Result<common::CustomerRecord, Status> {
        let customer = Some(Customer { customer_id: id.to_string(), ..person(first, last) });
        let request = hq::CreateCustomerRequest { customer, fingerprint: Vec::new() };
        let created = self.real_time.clone().create_customer(request).await?;
        Ok(created.into_inner().record.expect("a record"))
    }

    pub async fn get(&self, customer: impl ToString) -> Result<common::CustomerRecord, Status> {
        let request = hq::GetCustomerRequest { customer: customer.to_string() };
        let got = self.real_time.clone().get_customer(request).await?;
        Ok(got.into_inner().record.expect("a record"))
    }

    pub async fn upload(
        &self,
        channel: &str,
        operations: Vec<Operation>,
    ) -> Result<Vec<hq::OperationOutcome>, Status> {
        let request =
            hq::UploadOperationsRequest { channel_id: channel.to_owned(), operations, ..Default::default() };
        Ok(self.exchange.clone().upload_operations(request).await?.into_inner().outcomes)
    }

    pub async fn run(&self, job: common::Job, channel: &str) -> Result<Vec<hq::Session>, Status> {
        let request = hq::RunJobRequest { job: job.into(), channel_id: channel.to_owned() };
        Ok(self.admin.clone().run_job(request).await?.into_inner().sessions)
    }

    pub async fn set_schedule(&self, schedule: common::Schedule) {
        let request = hq::UpdateScheduleRequest { schedule: Some(schedule) };
        self.admin.clone().update_schedule(request).await.expect("set");
    }

    /// Runs the customer sync job, and gives the rows it moved.
    pub async fn convert(&self) -> u64 {
        let sessions = self.run(common::Job::CustomerSync, "").await.expect("the job runs");
        assert_eq!(sessions.len(), 1);
        let run = sessions[0].run.as_ref().expect("a run");
        assert_eq!(run.error, "");
        run.rows
    }

    pub async fn changes(&self, cursor: Option<common::FeedCursor>) -> hq::ListCustomerChangesResponse {
        let channel_id = "s1".to_owned();
        let request = hq::ListCustomerChangesRequest { channel_id, cursor, page_size: 0 };
        self.exchange.clone().list_customer_changes(request).await.expect("changes").into_inner()
    }

    pub async fn status(&self) -> hq::GetStatusResponse {
        let request = hq::GetStatusRequest {};
        self.admin.clone().get_status(request).await.expect("a status").into_inner()
    }
}

pub fn schedule(job: common::Job, millis: i32, held: bool) -> common::Schedule {
    let interval = prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 };
    common::Schedule { job: job.into(), interval: Some(interval), jitter: 0.0, held }
}

pub fn guid(n: u128) -> Uuid {
    Uuid::from_u128(0x0190_b6c5_7e2b_7c3a_9d6e_0000_0000_0000 + n)
}

pub fn person(first: &str, last: &str) -> Customer {
    let person = Person { first_name: first.to_owned(), last_name: last.to_owned(), ..Person::default() };
    Customer { party: Some(Party::Person(person)), ..Customer::default() }
}

pub fn create(counter: u64, id: Uuid, first: &str, last: &str) -> Operation {
    operation(counter, id, Change::Create(person(first, last)))
}

pub fn operation(counter: u64, id: Uuid, change: Change) -> Operation {
    Operation { counter, customer_id: id.to_string(), change: Some(change), ..Operation::default() }
}

/// Asserts a refusal, and gives the fields it blames.
pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, expected: &str) -> Vec<String> {
    let status = result.expect_err("a refusal");
    assert_eq!((status.code(), reason(&status).as_deref()), (code, Some(expected)), "{status:?}");
    let fields = status.get_details_bad_request().map(|fields| fields.field_violations);
    fields.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

/// The same for the answer of a client.
pub fn refused_call<T: std::fmt::Debug>(
    result: Result<Response<T>, Status>,
    code: Code,
    expected: &str,
) -> Vec<String> {
    refused(result.map(Response::into_inner), code, expected)
}
