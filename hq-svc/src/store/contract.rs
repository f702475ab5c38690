//! The promises of a store, kept by both: every test here runs on SQLite and on PostgreSQL.

mod arrivals;
mod cases;
mod conversion;
mod customers;
mod duplicates;
mod edits;
mod operations;
mod restore;
mod search;
mod sessions;
mod settings;
mod upgrade;
mod views;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use service_kit::{
    clock::{Clock, Ids, SystemClock},
    database::DatabaseUrl,
    testing::postgres,
};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tillsync_proto::{
    Address, AddressPurpose, Change, ChannelId, Contact, ContactKind, Content, CustomerId, Micros, Operation,
    Party, PersonName, Previous,
};
use uuid::Uuid;

use super::{
    Arrival, Arrived, NewCustomer, Payload, Plan, PostgresStore, Record, Report, Session, Settled,
    SqliteStore, Store, Write,
};
use crate::config::Config;

/// Runs the tests of a room on both databases.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let (store, _folder) = crate::store::contract::sqlite().await;
                super::$test(store).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(store) = crate::store::contract::postgresql(stringify!($test)).await {
                    super::$test(store).await;
                }
            })*
        }
    };
}
use on_both;

/// A store that a test can look into with SQL of its own.
trait TestStore: Store {
    /// The only column of the rows, as text.
    async fn look(&self, sql: &str) -> Vec<String>;
    /// Changes rows behind the store's back.
    async fn meddle(&self, sql: &str);
    /// Notes that it was restored.
    async fn restored(&self, expected: &[ChannelId]);
}

impl TestStore for SqliteStore {
    async fn look(&self, sql: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.database().readers).await.expect(sql)
    }

    async fn restored(&self, expected: &[ChannelId]) {
        self.mark_restored(Uuid::from_u128(99), expected).await.expect("noted");
    }

    async fn meddle(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql)).execute(&self.database().writer).await.expect(sql);
    }
}

impl TestStore for PostgresStore {
    async fn look(&self, sql: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(self.database()).await.expect(sql)
    }

    async fn restored(&self, expected: &[ChannelId]) {
        self.mark_restored(Uuid::from_u128(99), expected).await.expect("noted");
    }

    async fn meddle(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql)).execute(self.database()).await.expect(sql);
    }
}

async fn sqlite() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hq.db");
    let store = SqliteStore::open(&path, &Config::default(), &ids()).await.expect("a store");
    (store, folder)
}

async fn postgresql(test: &str) -> Option<PostgresStore> {
    let DatabaseUrl::Postgres(url) = postgres(test).await? else { panic!("a PostgreSQL URL") };
    Some(PostgresStore::open(&url, &Config::default(), &ids()).await.expect("a store"))
}

fn ids() -> Ids {
    Ids::seeded(Arc::new(SystemClock), 7)
}

/// A wall clock that a test moves.
#[derive(Default)]
struct TestClock(AtomicI64);

impl TestClock {
    fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> tokio::time::Instant {
        SystemClock.now()
    }

    fn wall_micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The n-th customer of a test.
fn id(n: u64) -> CustomerId {
    CustomerId(Uuid::from_u128(0x0190_b6c5_7e2b_7c3a_9d6e_0000_0000_0000 + u128::from(n)))
}

fn person(first_name: &str, last_name: &str) -> Content {
    let (first_name, last_name) = (first_name.to_owned(), last_name.to_owned());
    let name = PersonName { first_name, last_name, ..PersonName::default() };
    Content { party: Party::Person(name), ..Content::blank() }
}

fn contact(n: u128, kind: ContactKind, value: &str) -> Contact {
    Contact { id: Uuid::from_u128(n), kind, value: value.to_owned(), primary: true }
}

fn address(n: u128, city: &str) -> Address {
    Address {
        id: Uuid::from_u128(n),
        purpose: AddressPurpose::Home,
        label: String::new(),
        street: String::new(),
        city: city.to_owned(),
        state: String::new(),
        postal_code: String::new(),
        country: String::new(),
        primary: false,
        deactivated: false,
    }
}

fn new(id: CustomerId, content: Content) -> NewCustomer {
    NewCustomer { id, fingerprint: content.fingerprint(), content, created_at: Micros(1_000) }
}

fn insert(id: CustomerId, content: Content) -> Plan {
    Plan::of(Write::Insert(new(id, content)))
}

/// Makes a customer real.
async fn real(store: &impl Store, id: CustomerId, content: Content) -> Record {
    match store.settle(&[insert(id, content)]).await.expect("settled").pop() {
        Some(Settled::Written(record)) => record,
        other => panic!("{other:?}"),
    }
}

fn operation(counter: u64, customer_id: CustomerId, change: Change) -> Operation {
    let (logged_at, previous, fingerprint) = (Micros(5_000_000), Previous::None, None);
    Operation { counter, customer_id, logged_at, change, previous, fingerprint }
}

fn arrival(counter: u64, customer: CustomerId, change: Change) -> Arrival {
    Arrival {
        counter: i64::try_from(counter).expect("small"),
        customer: Some(customer),
        logged_at: Micros(5_000_000),
        payload: Payload::Good(operation(counter, customer, change)),
    }
}

fn channel(name: &str) -> ChannelId {
    name.parse().expect("a channel's name")
}

/// What a channel says of itself.
fn said(name: &str, status: Vec<u8>, runs: &[Session]) -> Report {
    Report { channel: channel(name), status, runs: runs.to_vec() }
}

async fn arrive(store: &impl Store, name: &str, page: Vec<Arrival>) -> Vec<Arrived> {
    store.arrive(&channel(name), &page, Micros(6_000_000)).await.expect("arrived")
}

async fn get(store: &impl Store, id: CustomerId) -> Option<Record> {
    store.customer(&tillsync_proto::CustomerRef::Id(id)).await.expect("read")
}
