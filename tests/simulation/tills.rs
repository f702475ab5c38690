//! Tills: they create customers, send again what has no answer under the same GUID, look up what was acknowledged, and edit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use service_kit::{
    clock::Ids,
    network::Network,
    way::{Credentials, Way},
};
use tillsync_proto::pb::{
    channel::{
        CreateCustomerRequest, GetCustomerRequest, SearchCustomersRequest, UpdateCustomerRequest,
        customer_service_client::CustomerServiceClient, search_customers_request::Criterion,
    },
    common::{Contact, ContactKind, Customer, Person, customer::Party},
};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::trace::{HostClock, Trace};

/// After so many failures in a row a till connects anew.
const FAILURES: u32 = 3;

/// What was said to tills. Clones are the same.
#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<SaidInner>>);

#[derive(Default)]
pub struct SaidInner {
    /// Every customer that was acknowledged, with the account number if that was told.
    pub created: BTreeMap<Uuid, Option<String>>,
    /// Tax ids that may be there in the end: of the last edit that was acknowledged, and of one that has no answer.
    pub edited: BTreeMap<Uuid, Vec<String>>,
    /// What should not have been said.
    pub wrong: Vec<String>,
}

impl Said {
    pub fn lock(&self) -> MutexGuard<'_, SaidInner> {
        self.0.lock().expect("nobody panics")
    }
}

/// A connection to a service of the chain.
pub fn way(network: &Network, host: &str) -> Way {
    let route = Credentials::default().route(&format!("http://{host}:1")).expect("an address");
    let alive = Duration::from_secs(10);
    let route = route.with(|endpoint| endpoint.http2_keep_alive_interval(alive).keep_alive_timeout(alive));
    route.over(network.clone()).connect_lazy()
}

/// A till.
pub struct Till {
    pub name: String,
    pub store: String,
    pub network: Network,
    pub trace: Trace,
    pub said: Said,
    pub creates: usize,
    /// Between two customers, on the average.
    pub pause: Duration,
    pub edits: bool,
    pub seed: u64,
}

/// Whether nobody knows what became of a call, or it can come again.
fn may_come_again(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

impl Till {
    /// Works until every customer is acknowledged.
    pub async fn work(self) {
        let mut chance = StdRng::seed_from_u64(self.seed);
        let clock = HostClock { trace: self.trace.clone(), ahead: Arc::default() };
        let ids = Ids::seeded(Arc::new(clock), chance.random());
        // Who can be edited, and how often each has been.
        let mut own: Vec<(Uuid, u32)> = Vec::new();
        let mut client = Client { way: way(&self.network, &self.store), failures: 0 };
        for _ in 0..self.creates {
            let pause = -(1.0 - chance.random::<f64>()).ln();
            sleep(self.pause.mul_f64(pause)).await;
            let id = ids.mint();
            self.create(id, &mut client, &mut chance).await;
            own.push((id, 0));
            match chance.random_range(0..10) {
                0..3 => self.look_up(id, &mut client).await,
                3 => self.search(id, &mut client).await,
                4 if self.edits => {
                    // As often somebody who was edited before, if there is anybody: the order of edits counts.
                    let edited: Vec<_> = (0..own.len()).filter(|at| own[*at].1 > 0).collect();
                    let which = match edited.is_empty() || chance.random_bool(0.5) {
                        true => chance.random_range(0..own.len()),
                        false => edited[chance.random_range(0..edited.len())],
                    };
                    let (id, turn) = own.swap_remove(which);
                    // What has no answer may come late: after that, who knows what is there in the end.
                    if self.edit(id, turn, &mut client).await {
                        own.push((id, turn + 1));
                    }
                }
                _ => {}
            }
        }
        self.trace.note(&self.name, "has created all");
    }

    async fn create(&self, id: Uuid, client: &mut Client, chance: &mut StdRng) {
        let limit = Duration::from_millis(chance.random_range(500..10_000));
        loop {
            let request = CreateCustomerRequest {
                customer: Some(person(id)),
                customer_id: id.to_string(),
                validate_only: false,
            };
            let call = |message| {
                let mut tills = CustomerServiceClient::new(client.way.clone());
                async move { tills.create_customer(limited(message, limit)).await }
            };
            // A finger that presses twice.
            let answer = if chance.random_bool(0.05) {
                self.trace.count("sent twice", &self.name, id);
                let (one, other) = tokio::join!(call(request.clone()), call(request));
                one.or(other)
            } else {
                call(request).await
            };
            match client.result(answer, self) {
                Ok(answer) => {
                    let customer = answer.customer.unwrap_or_default();
                    self.trace.count("create", &self.name, format_args!("{id} {}", customer.account_number));
                    let number = Some(customer.account_number).filter(|number| !number.is_empty());
                    self.said.lock().created.insert(id, number);
                    return;
                }
                Err(status) if may_come_again(&status) => {
                    self.trace.count("again", &self.name, format_args!("{id} {:?}", status.code()));
                    sleep(Duration::from_millis(chance.random_range(200..8_000))).await;
                }
                Err(status) => return self.wrong(format!("the create of {id} was refused: {status}")),
            }
        }
    }

    /// What was acknowledged is there, at once.
    async fn look_up(&self, id: Uuid, client: &mut Client) {
        let request = GetCustomerRequest { customer: id.to_string(), scope: 0 };
        let mut tills = CustomerServiceClient::new(client.way.clone());
        let answer = tills.get_customer(limited(request, Duration::from_secs(5))).await;
        match client.result(answer, self) {
            Ok(answer) => {
                let customer = answer.customer.unwrap_or_default();
                self.trace.count("read", &self.name, format_args!("{id} {}", customer.account_number));
            }
            Err(status) if may_come_again(&status) => {}
            Err(status) => self.wrong(format!("{id} was acknowledged and cannot be read: {status}")),
        }
    }

    async fn search(&self, id: Uuid, client: &mut Client) {
        let criterion = Some(Criterion::Email(email(id)));
        let request = SearchCustomersRequest { criterion, ..Default::default() };
        let mut tills = CustomerServiceClient::new(client.way.clone());
        let answer = tills.search_customers(limited(request, Duration::from_secs(5))).await;
        match client.result(answer, self) {
            Ok(answer) if answer.customers.len() == 1 => self.trace.count("search", &self.name, id),
            Ok(answer) => self.wrong(format!("a search finds {id} {} times", answer.customers.len())),
            Err(status) if may_come_again(&status) => {}
            Err(status) => self.wrong(format!("the search for {id} was refused: {status}")),
        }
    }

    /// Edits; gives whether that was acknowledged.
    async fn edit(&self, id: Uuid, turn: u32, client: &mut Client) -> bool {
        let tax_id = format!("{}-{turn}", &id.simple().to_string()[24..]);
        let request = UpdateCustomerRequest {
            customer: id.to_string(),
            values: Some(Customer { tax_id: tax_id.clone(), ..Customer::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["tax_id".to_owned()] }),
            validate_only: false,
        };
        let mut tills = CustomerServiceClient::new(client.way.clone());
        let answer = tills.update_customer(limited(request, Duration::from_secs(5))).await;
        let acknowledged = client.result(answer, self).map_err(|status| status.code());
        match acknowledged {
            Ok(_) => {
                self.trace.count("edit", &self.name, format_args!("{id} {turn}"));
                self.said.lock().edited.insert(id, vec![tax_id]);
            }
            Err(code) => {
                self.trace.note(&self.name, format_args!("edit {turn} of {id}: {code:?}"));
                if let Some(before) = self.said.lock().edited.get_mut(&id) {
                    before.push(tax_id);
                }
            }
        }
        acknowledged.is_ok()
    }

    fn wrong(&self, what: String) {
        self.trace.note(&self.name, &what);
        self.said.lock().wrong.push(format!("{}: {what}", self.name));
    }
}

/// The connection of a till.
struct Client {
    way: Way,
    failures: u32,
}

impl Client {
    fn result<T>(&mut self, answer: Result<tonic::Response<T>, Status>, till: &Till) -> Result<T, Status> {
        match &answer {
            Err(status) if may_come_again(status) => self.failures += 1,
            _ => self.failures = 0,
        }
        if self.failures >= FAILURES {
            *self = Self { way: way(&till.network, &till.store), failures: 0 };
        }
        answer.map(tonic::Response::into_inner)
    }
}

/// A request that waits so long.
pub fn limited<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn email(id: Uuid) -> String {
    format!("{}@example.com", id.simple())
}

fn person(id: Uuid) -> Customer {
    let token = id.simple().to_string();
    Customer {
        party: Some(Party::Person(Person {
            first_name: "Test".to_owned(),
            last_name: format!("Person {}", &token[24..]),
            ..Person::default()
        })),
        contacts: vec![Contact {
            kind: ContactKind::Email.into(),
            value: email(id),
            primary: true,
            ..Contact::default()
        }],
        ..Customer::default()
    }
}

/// Tills that work; ends when all have.
pub async fn all(tills: Vec<Till>) {
    let mut working: JoinSet<()> = tills.into_iter().map(Till::work).collect();
    while let Some(ended) = working.join_next().await {
        ended.expect("a till does not panic");
    }
}
