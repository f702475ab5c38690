//! A channel under test, as a till sees it.

use std::{sync::Arc, time::Duration};

use service_kit::{
    clock::{Clock, Ids, SystemClock},
    database::DatabaseUrl,
    testing::postgres,
};
use tempfile::TempDir;
use tillsync_proto::pb::{
    channel::{
        customer_service_client::CustomerServiceClient, status_service_client::StatusServiceClient, *,
    },
    common::{self, Customer},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use super::headquarters::{FakeHq, profile};
use crate::Config;

/// Where a channel under test keeps its data.
pub struct Place {
    pub database: DatabaseUrl,
    pub folder: Option<TempDir>,
}

impl Place {
    /// A file in a folder of its own.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { database: DatabaseUrl::Sqlite(folder.path().join("store.db")), folder: Some(folder) }
    }

    /// Both databases, or the one that there is.
    pub async fn both(test: &str) -> Vec<Self> {
        let mut places = vec![Self::sqlite()];
        places.extend(postgres(test).await.map(|database| Self { database, folder: None }));
        places
    }
}

pub struct Shop {
    pub url: String,
    pub tills: CustomerServiceClient<Channel>,
    pub status: StatusServiceClient<Channel>,
    pub stop: CancellationToken,
    pub serving: JoinHandle<Result<(), crate::ServeError>>,
}

pub fn ids() -> Ids {
    Ids::from_os(Arc::new(SystemClock))
}

pub fn guid() -> String {
    ids().mint().to_string()
}

impl Shop {
    pub async fn open(place: &Place, rts: &str, hq: &str) -> Self {
        Self::with(Config::new("store-1".parse().unwrap(), place.database.clone(), rts, hq)).await
    }

    pub async fn with(config: Config) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), config).await
    }

    pub async fn on(listener: TcpListener, config: Config) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let channel = crate::open(&config, Arc::clone(&clock), Ids::from_os(clock)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(crate::serve(listener, stop.clone(), channel));
        let connection = Channel::from_shared(url.clone()).unwrap().connect_lazy();
        Self {
            url,
            tills: CustomerServiceClient::new(connection.clone()),
            status: StatusServiceClient::new(connection),
            stop,
            serving,
        }
    }

    /// A channel whose headquarters is the fake one.
    pub async fn at(place: &Place, hq: &FakeHq) -> Self {
        Self::open(place, &hq.url(), &hq.url()).await
    }

    /// The same in async mode.
    pub async fn in_async_mode(place: &Place, hq: &FakeHq) -> Self {
        let shop = Self::at(place, hq).await;
        hq.set_profile(profile(true, true)).await;
        shop
    }

    /// Ends it as a crash does: nothing is drained, nothing is said.
    pub fn kill(&self) {
        self.serving.abort();
    }

    /// The same, and waits until it is gone.
    pub async fn crash(self) {
        self.kill();
        let _ = self.serving.await;
    }

    pub async fn create(&self, id: &str, customer: Customer) -> Result<CreateCustomerResponse, Status> {
        self.create_within(id, customer, Duration::from_secs(20)).await
    }

    pub async fn create_within(
        &self,
        id: &str,
        customer: Customer,
        timeout: Duration,
    ) -> Result<CreateCustomerResponse, Status> {
        let message = CreateCustomerRequest {
            customer: Some(customer),
            customer_id: id.to_owned(),
            validate_only: false,
        };
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        Ok(self.tills.clone().create_customer(request).await?.into_inner())
    }

    pub async fn get(&self, name: &str) -> Result<Customer, Status> {
        let request = GetCustomerRequest { customer: name.to_owned(), scope: 0 };
        Ok(self.tills.clone().get_customer(request).await?.into_inner().customer.unwrap())
    }

    pub async fn search(&self, criterion: search_customers_request::Criterion) -> Vec<Customer> {
        let request = SearchCustomersRequest { criterion: Some(criterion), ..Default::default() };
        self.tills.clone().search_customers(request).await.unwrap().into_inner().customers
    }

    pub async fn list(&self) -> Vec<Customer> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListCustomersRequest { page_size: 300, page_token };
            let page = self.tills.clone().list_customers(request).await.unwrap().into_inner();
            all.extend(page.customers);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }

    pub async fn status(&self) -> common::ChannelStatus {
        let answer = self.status.clone().get_status(GetStatusRequest {}).await.unwrap();
        answer.into_inner().status.unwrap()
    }

    /// Waits for a last run of a job that fits.
    pub async fn ran(&self, job: common::Job, fits: impl Fn(&common::JobRun) -> bool) -> common::JobRun {
        loop {
            let runs = self.status().await.job_runs;
            if let Some(run) = runs.into_iter().find(|run| run.job() == job && fits(run)) {
                return run;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until every acknowledged operation stands in the tables. Nothing announces that.
    pub async fn indexed(&self) -> common::ChannelStatus {
        loop {
            let status = self.status().await;
            if status.indexed_counter == status.logged_counter {
                return status;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A customer who can be found by a token of their own.
pub fn person(token: &str) -> Customer {
    Customer {
        party: Some(common::customer::Party::Person(common::Person {
            first_name: "Zoë".to_owned(),
            last_name: format!("Person{token}"),
            ..Default::default()
        })),
        contacts: vec![common::Contact {
            kind: common::ContactKind::Email.into(),
            value: format!("{token}@example.com"),
            primary: true,
            ..Default::default()
        }],
        addresses: vec![common::Address { street: "Main St 1".to_owned(), ..Default::default() }],
        ..Default::default()
    }
}

/// The reason in a status, which every refusal carries (rule Z1).
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "tillsync");
    info.reason
}

/// The metadata in a status.
pub fn metadata(status: &Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata.get(key).cloned().unwrap_or_default()
}

/// The fields in a status.
pub fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}
