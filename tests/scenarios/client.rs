//! What the scenarios do to a running chain, over gRPC and from the outside only.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
    time::Duration,
};

use tillsync_proto::pb::{
    channel::{
        CreateCustomerRequest, CreateCustomerResponse, GetCustomerRequest, GetStatusRequest,
        ListCustomersRequest, customer_service_client::CustomerServiceClient,
        status_service_client::StatusServiceClient,
    },
    common::{
        self, Contact, ContactKind, Customer, FeedCursor, FunctionalityProfile, Job, Person, customer::Party,
    },
    hq::{
        self, GetStatusResponse, ListCustomerChangesRequest, ListSchedulesRequest, RunJobRequest,
        UpdateProfileRequest, UpdateScheduleRequest, admin_service_client::AdminServiceClient,
        data_exchange_service_client::DataExchangeServiceClient,
    },
};
use tokio::time::{sleep, timeout};
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;

/// How long anything may take before a scenario gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A store, as a till sees it.
#[derive(Clone)]
pub struct Store {
    pub id: String,
    pub url: String,
    pub tills: CustomerServiceClient<Channel>,
    status: StatusServiceClient<Channel>,
}

impl Store {
    pub fn new(id: &str, url: &str) -> Self {
        let channel = connect(url);
        Self {
            id: id.to_owned(),
            url: url.to_owned(),
            tills: CustomerServiceClient::new(channel.clone()),
            status: StatusServiceClient::new(channel),
        }
    }

    pub async fn create(&self, id: Uuid, customer: Customer) -> Result<CreateCustomerResponse, Status> {
        let create = CreateCustomerRequest {
            customer: Some(customer),
            customer_id: id.to_string(),
            validate_only: false,
        };
        let mut request = Request::new(create);
        request.set_timeout(Duration::from_secs(10));
        Ok(self.tills.clone().create_customer(request).await?.into_inner())
    }

    pub async fn get(&self, customer: &str) -> Result<Customer, Status> {
        let request = GetCustomerRequest { customer: customer.to_owned(), scope: 0 };
        let answer = self.tills.clone().get_customer(request).await?.into_inner();
        Ok(answer.customer.expect("an answer holds the customer"))
    }

    pub async fn status(&self) -> Result<common::ChannelStatus, Status> {
        let answer = self.status.clone().get_status(GetStatusRequest {}).await?.into_inner();
        Ok(answer.status.expect("an answer holds the status"))
    }

    /// Every customer that this store knows, page by page.
    pub async fn customers(&self) -> Result<Vec<Customer>, Status> {
        let mut tills = self.tills.clone();
        let mut request = ListCustomersRequest { page_size: 1_000, page_token: String::new() };
        let mut customers = Vec::new();
        loop {
            let page = tills.list_customers(request.clone()).await?.into_inner();
            customers.extend(page.customers);
            if page.next_page_token.is_empty() {
                return Ok(customers);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Waits until nothing is pending in this store.
    pub async fn drained(&self) {
        until("nothing is pending", async || {
            self.status().await.is_ok_and(|status| status.pending_customers == 0)
        })
        .await;
    }
}

/// Headquarters, as an administrator and an auditor see it.
#[derive(Clone)]
pub struct Headquarters {
    pub admin: AdminServiceClient<Channel>,
    exchange: DataExchangeServiceClient<Channel>,
}

impl Headquarters {
    pub fn new(url: &str) -> Self {
        let channel = connect(url);
        Self {
            admin: AdminServiceClient::new(channel.clone()),
            exchange: DataExchangeServiceClient::new(channel),
        }
    }

    /// Waits until headquarters, which may have just been started, answers.
    pub async fn answers(&self) {
        until("headquarters answers", async || {
            self.admin.clone().get_status(hq::GetStatusRequest {}).await.is_ok()
        })
        .await;
    }

    /// Sets a store's mode the documented way, and waits until 1070 has brought it there.
    pub async fn set_mode(&self, store: &Store, create_customer_async: bool, async_fallback: bool) {
        let profile = FunctionalityProfile {
            create_customer_async,
            async_fallback,
            rts_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            ..Default::default()
        };
        let request =
            UpdateProfileRequest { channel_id: store.id.clone(), profile: Some(profile), from_version: 0 };
        let version =
            self.admin.clone().update_profile(request).await.expect("a profile").into_inner().version;
        self.run(Job::ChannelConfiguration1070, &store.id).await;
        assert_eq!(store.status().await.expect("a status").profile_version, version);
    }

    /// Runs a job now.
    pub async fn run(&self, job: Job, channel_id: &str) {
        // A store that has just started may not be listening yet.
        until("the job runs", async || {
            let request = RunJobRequest { job: job.into(), channel_id: channel_id.to_owned() };
            let run = self.admin.clone().run_job(request).await;
            run.is_ok_and(|run| {
                run.into_inner().sessions.iter().all(|s| s.run.as_ref().is_some_and(|r| r.error.is_empty()))
            })
        })
        .await;
    }

    /// Holds every job, or lets all run by their schedules again.
    pub async fn hold(&self, held: bool) {
        let schedules = self.admin.clone().list_schedules(ListSchedulesRequest {}).await.expect("schedules");
        for schedule in schedules.into_inner().schedules {
            let request = UpdateScheduleRequest { schedule: Some(common::Schedule { held, ..schedule }) };
            self.admin.clone().update_schedule(request).await.expect("a schedule");
        }
    }

    /// How headquarters is.
    pub async fn status(&self) -> GetStatusResponse {
        self.admin.clone().get_status(hq::GetStatusRequest {}).await.expect("a status").into_inner()
    }

    /// Everything headquarters has, from its feed.
    pub async fn customers(&self) -> Vec<Customer> {
        let mut cursor: Option<FeedCursor> = None;
        let mut customers = Vec::new();
        loop {
            let request = ListCustomerChangesRequest {
                channel_id: "auditor".to_owned(),
                cursor: cursor.clone(),
                page_size: 1_000,
            };
            let page =
                self.exchange.clone().list_customer_changes(request).await.expect("a page").into_inner();
            customers.extend(
                page.records
                    .into_iter()
                    .map(|record| record.read().expect("a record").customer.expect("a customer")),
            );
            let next = page.next_cursor.expect("a cursor");
            if next.version >= page.head_version {
                return customers;
            }
            cursor = Some(next);
        }
    }
}

/// Asserts that every acknowledged create is at headquarters exactly once, under one account number of its own,
/// and that the stores say the same.
pub async fn audit(hq: &Headquarters, stores: &[&Store], acknowledged: &BTreeSet<Uuid>) {
    for store in stores {
        store.drained().await;
    }
    let mut by_id: BTreeMap<String, String> = BTreeMap::new();
    let (mut numbers, mut emails) = (BTreeSet::new(), BTreeSet::new());
    for customer in hq.customers().await {
        assert!(numbers.insert(customer.account_number.clone()), "an account number is used twice");
        assert!(emails.insert(customer.contacts[0].value.clone()), "a customer is there under two GUIDs");
        let twice = by_id.insert(customer.customer_id.clone(), customer.account_number);
        assert!(twice.is_none(), "{} is there twice", customer.customer_id);
    }
    for id in acknowledged {
        let number =
            by_id.get(&id.to_string()).unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
        for store in stores {
            until("1010 brings the customer", async || {
                store.get(&id.to_string()).await.is_ok_and(|known| !known.account_number.is_empty())
            })
            .await;
            assert_eq!(store.get(&id.to_string()).await.expect("known").account_number, *number);
        }
    }
}

/// A customer whose e-mail nobody else has.
pub fn person(token: &str) -> Customer {
    Customer {
        party: Some(Party::Person(Person {
            first_name: "Test".to_owned(),
            last_name: format!("Person {token}"),
            ..Person::default()
        })),
        contacts: vec![Contact {
            kind: ContactKind::Email.into(),
            value: format!("{token}@example.com"),
            primary: true,
            ..Contact::default()
        }],
        ..Customer::default()
    }
}

/// A GUID that is different for every call.
#[expect(clippy::disallowed_methods, reason = "a test mints GUIDs as a till does")]
pub fn mint() -> Uuid {
    Uuid::now_v7()
}

/// Waits for something that nothing announces.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// A number that the long form sets by an environment variable.
pub fn setting<T: FromStr>(name: &str, short: T) -> T {
    std::env::var(name)
        .ok()
        .map_or(short, |text| text.parse().unwrap_or_else(|_| panic!("{name}: not a number")))
}

fn connect(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).expect("a URL").connect_lazy()
}
