//! The same cases on both databases: creates, uploads and repeats of them, conversions, pages of the feed, edits, reads
//! and restarts in any order, carried out on SQLite, on PostgreSQL, and by a plain model in memory. All three must say
//! the same, to the account number and the version (rules M6, M9, X4 to X7).
//!
//! `TILLSYNC_CASES` says how many (`tests/nightly`); what has failed once is kept in `proptest-regressions`.

mod model;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest_state_machine::{StateMachineTest, prop_state_machine};
use service_kit::{
    clock::Ids,
    database::DatabaseUrl,
    testing::{
        cases::{cases, connections, is_caught, runtime},
        postgres,
    },
};
use sqlx::PgPool;
use tempfile::TempDir;
use tillsync_proto::{
    Change, ChannelId, Content, Criterion, CustomerId, CustomerRef, Field, Micros, Operation, Previous,
    Update,
    pb::{common::FeedCursor, hq},
};
use tokio::{join, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{TestClock, id, new, person};
use crate::{
    config::Config,
    error::Error,
    hq::Headquarters,
    store::{PostgresStore, Record, SqliteStore, Store},
    sync_job::{Outcome, SyncJob},
};
use model::{Model, Op, Seen, Shown, Step};

/// Cases in a run of all tests.
const CASES: u32 = 100;
/// So many cases share a database; then there is a new one.
const SHARE: u64 = 200;
/// To PostgreSQL, at most.
const CONNECTIONS: u32 = 4;
/// Between two conversions: longer than any pause before an operation is tried again.
const LATER_S: i64 = 1_000;

prop_state_machine! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn the_same_cases_on_both_databases(sequential 1..30 => Both);
}

#[test]
fn every_planted_bug_is_caught() {
    for bug in [
        "the GUID is not looked at",
        "other content is a repeat",
        "later operations do not wait",
        "the cursor is the head",
    ] {
        is_caught("the_same_cases_on_both_databases", bug);
    }
}

/// Headquarters on one database.
struct Bench<S: Opens> {
    place: S::Place,
    store: S,
    hq: Headquarters<S>,
    stop: CancellationToken,
    waited: JoinHandle<()>,
    clock: Arc<TestClock>,
}

/// A store that can be opened again.
trait Opens: Store {
    /// What is there before and after it.
    type Place;
    async fn place(url: DatabaseUrl) -> Self::Place;
    async fn open_at(place: &Self::Place, ids: &Ids) -> Self;
    async fn shut(self);
    /// Takes everything off the log: what waits for good would be looked through in every case that follows.
    async fn forget(&self);
}

const FORGET: &str = "delete from arrivals";

impl Opens for SqliteStore {
    type Place = PathBuf;

    async fn place(url: DatabaseUrl) -> PathBuf {
        let DatabaseUrl::Sqlite(path) = url else { panic!("a file") };
        path
    }

    async fn open_at(path: &PathBuf, ids: &Ids) -> Self {
        Self::open(path, &Config::default(), ids).await.expect("a store")
    }

    async fn shut(self) {
        self.database().readers.close().await;
        self.database().writer.close().await;
    }

    async fn forget(&self) {
        sqlx::query(FORGET).execute(&self.database().writer).await.expect("written");
    }
}

impl Opens for PostgresStore {
    type Place = PgPool;

    async fn place(url: DatabaseUrl) -> PgPool {
        let DatabaseUrl::Postgres(url) = url else { panic!("a server") };
        let first = Self::open(&url, &Config::default(), &super::ids()).await.expect("a store");
        first.lease().keep(Arc::<TestClock>::default(), ended()).await;
        first.database().close().await;
        connections(&url, CONNECTIONS).await
    }

    async fn open_at(pool: &PgPool, ids: &Ids) -> Self {
        Self::on(pool.clone(), &Config::default(), ids).await.expect("a store")
    }

    async fn shut(self) {}

    async fn forget(&self) {
        sqlx::query(FORGET).execute(self.database()).await.expect("written");
    }
}

/// With it a lease is given back at once.
fn ended() -> CancellationToken {
    let stop = CancellationToken::new();
    stop.cancel();
    stop
}

impl<S: Opens> Bench<S> {
    async fn begin(url: DatabaseUrl) -> Self {
        Self::open(S::place(url).await, Arc::default()).await
    }

    async fn open(place: S::Place, clock: Arc<TestClock>) -> Self {
        let ids = super::ids();
        let store = S::open_at(&place, &ids).await;
        // Where the machine is busy, the one before has given the lease back too late, and it ends by itself.
        assert!(store.lease().won().await.expect("the lease"), "another store holds the lease");
        let stop = CancellationToken::new();
        let opened = Headquarters::open(store.clone(), Arc::clone(&clock) as _, ids, stop.clone()).await;
        let (hq, waited) = opened.expect("headquarters");
        Self { place, store, hq, stop, waited: tokio::spawn(waited.run()), clock }
    }

    /// Ends it; what is in memory goes.
    async fn shut(self) -> (S::Place, Arc<TestClock>) {
        let Self { place, store, hq, stop, waited, clock } = self;
        stop.cancel();
        // The lease is given back.
        store.lease().keep(Arc::clone(&clock) as _, stop).await;
        drop(hq);
        waited.await.expect("the committer");
        store.shut().await;
        (place, clock)
    }

    async fn restart(self) -> Self {
        let (place, clock) = self.shut().await;
        Self::open(place, clock).await
    }
}

/// Where a case begins in databases that had others before.
#[derive(Clone)]
struct Base {
    case: u64,
    customers: u64,
    version: u64,
}

impl Base {
    fn id(&self, guid: u8) -> CustomerId {
        id(self.case * 100 + u64::from(guid))
    }

    /// A last name that nobody of another case, or with other content, has.
    fn name(&self, content: u8) -> String {
        format!("Q{:08}{}", self.case, char::from(b'a' + content))
    }

    fn content(&self, content: u8) -> Content {
        person("Ann", &self.name(content))
    }

    fn channel(&self, channel: u8) -> ChannelId {
        format!("s{}-{channel}", self.case).parse().expect("a channel's name")
    }

    fn operation(&self, counter: u64, op: Op) -> Operation {
        let values = |content| self.content(content);
        let (guid, change) = match op {
            Op::Create(guid, content) => (guid, Change::Create(values(content))),
            Op::Rename(guid, content) => {
                (guid, Change::Update(Update { values: values(content), fields: vec![Field::Party] }))
            }
        };
        let (customer_id, logged_at) = (self.id(guid), Micros(5_000_000));
        Operation { counter, customer_id, logged_at, change, previous: Previous::None, fingerprint: None }
    }

    /// A record as the model shows it.
    fn shown(&self, record: &Record) -> Shown {
        let Record { customer, version } = record;
        let number = customer.account_number.as_deref().unwrap_or_default();
        let number: u64 = number.trim_start_matches("C-").parse().expect("a number");
        let content = (0..model::CONTENTS).find(|content| self.content(*content) == customer.content);
        let guid = (0..model::GUIDS).find(|guid| self.id(*guid) == customer.id);
        Shown {
            guid: guid.expect("a customer of this case"),
            content: content.expect("a content of this case"),
            number: number - self.customers,
            version: version - self.version,
        }
    }
}

impl<S: Opens> Bench<S> {
    /// Carries a step out, and says what was seen.
    async fn run(&self, base: &Base, step: &Step, model: &Model) -> Seen {
        match step {
            Step::Create { guid, content } => {
                let created = self.hq.creates.create(new(base.id(*guid), base.content(*content))).await;
                seen_one(base, created)
            }
            Step::Edit { guid, content } => {
                let update = Update { values: base.content(*content), fields: vec![Field::Party] };
                let updated = self.hq.update(&CustomerRef::Id(base.id(*guid)), "", &update).await;
                seen_one(base, updated)
            }
            Step::Get { guid } => seen_one(base, self.hq.customer(&CustomerRef::Id(base.id(*guid))).await),
            Step::Search { content } => {
                let criterion = Criterion::name(&base.name(*content)).expect("a name");
                let found = self.hq.search(&criterion, 100, "").await.expect("a page");
                let mut found: Vec<Shown> = found.records.iter().map(|record| base.shown(record)).collect();
                found.sort_unstable_by_key(|shown| shown.guid);
                Seen::Records(found)
            }
            Step::Upload { channel, again, new } => {
                let page = model.page(*channel, *again, new).into_iter();
                let page = page.map(|(counter, op)| (&base.operation(counter, op)).into()).collect();
                let outcomes = self.hq.upload(&base.channel(*channel), "", page).await.expect("taken");
                let number = |text: &str| {
                    let number =
                        text.strip_prefix("C-").map(|number| number.parse::<u64>().expect("a number"));
                    number.map(|number| number - base.customers)
                };
                let outcome = |outcome: hq::OperationOutcome| {
                    let known = outcome.result() == hq::OperationResult::Known;
                    (outcome.counter, known, outcome.reason, number(&outcome.account_number))
                };
                Seen::Taken(outcomes.into_iter().map(outcome).collect())
            }
            Step::Convert { batch } => {
                self.clock.forward(LATER_S);
                let job = SyncJob::new(&self.hq).with_batch(model.batch(*batch));
                let Outcome { completed, set_aside, postponed, exhausted } =
                    job.try_once().await.expect("a run");
                assert_eq!((postponed, exhausted), (0, false));
                Seen::Converted { completed, set_aside }
            }
            Step::Feed { channel, limit } => {
                let version = base.version + model.cursor(*channel);
                let cursor = FeedCursor { epoch: self.hq.epoch.to_string(), version };
                let page = self.hq.changes(&base.channel(*channel), Some(cursor), usize::from(*limit)).await;
                let page = page.expect("a page");
                assert!(page.resync.is_none());
                let read = |record: tillsync_proto::feed::FeedRecord| {
                    let record = record.read().expect("a record");
                    let customer = record.customer.expect("a customer");
                    let customer = tillsync_proto::convert::customer(customer).expect("a customer");
                    let shown = base.shown(&Record { customer, version: record.version });
                    (shown, record.included_counter)
                };
                let (next, head) = (page.next - base.version, page.head - base.version);
                Seen::Page { records: page.records.into_iter().map(read).collect(), next, head }
            }
            Step::LostCursor { channel, ahead } => {
                let epoch = if *ahead { self.hq.epoch } else { Uuid::from_u128(1) };
                let cursor = FeedCursor { epoch: epoch.to_string(), version: u64::MAX >> 1 };
                let page = self.hq.changes(&base.channel(*channel), Some(cursor), 10).await.expect("a page");
                assert!(page.records.is_empty());
                Seen::Resync(page.resync.map(|resync| resync.reason as i32))
            }
            Step::Restart => Seen::Nothing,
        }
    }
}

fn seen_one(base: &Base, record: Result<Record, Error>) -> Seen {
    match record {
        Ok(record) => Seen::Records(vec![base.shown(&record)]),
        Err(Error::GuidTaken(_)) => Seen::Taken(Vec::new()),
        Err(Error::NoCustomer) => Seen::Nothing,
        Err(error) => panic!("{error}"),
    }
}

/// Both databases; PostgreSQL where there is one.
struct Places {
    sqlite: Bench<SqliteStore>,
    postgres: Option<Bench<PostgresStore>>,
    _folder: TempDir,
    served: u64,
}

/// Kept between the cases.
static PLACES: Mutex<Option<Places>> = Mutex::new(None);

impl Places {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Bench::begin(DatabaseUrl::Sqlite(folder.path().join("hq.db"))).await;
        let postgres = match postgres("the same cases").await {
            Some(url) => Some(Bench::begin(url).await),
            None => None,
        };
        Self { sqlite, postgres, _folder: folder, served: 0 }
    }

    async fn shut(self) {
        self.sqlite.shut().await;
        if let Some(postgres) = self.postgres {
            postgres.shut().await;
        }
    }

    async fn restart(self) -> Self {
        let postgres = match self.postgres {
            Some(postgres) => Some(postgres.restart().await),
            None => None,
        };
        Self { sqlite: self.sqlite.restart().await, postgres, ..self }
    }
}

/// A case under way.
struct Case {
    places: Places,
    base: Base,
    model: Model,
}

impl Case {
    async fn begin() -> Self {
        static CASE: AtomicU64 = AtomicU64::new(1);
        let kept = PLACES.lock().unwrap_or_else(PoisonError::into_inner).take();
        let places = match kept {
            Some(places) if places.served < SHARE => places,
            other => {
                if let Some(old) = other {
                    old.shut().await;
                }
                Places::open().await
            }
        };
        let head = places.sqlite.store.head().await.expect("the head");
        let case = CASE.fetch_add(1, Ordering::Relaxed);
        let base = Base { case, customers: head.customers, version: head.version };
        Self { places, base, model: Model::default() }
    }

    /// Carries a step out everywhere at the same time.
    async fn step(mut self, step: &Step) -> Self {
        if *step == Step::Restart {
            self.places = self.places.restart().await;
        }
        let Places { sqlite, postgres, .. } = &self.places;
        let (sqlite, postgres) = join!(sqlite.run(&self.base, step, &self.model), async {
            Some(postgres.as_ref()?.run(&self.base, step, &self.model).await)
        });
        let expected = self.model.step(step);
        assert_eq!(sqlite, expected, "SQLite: {step:?}");
        if let Some(postgres) = postgres {
            assert_eq!(postgres, expected, "PostgreSQL: {step:?}");
        }
        self
    }

    /// Everything is brought to its end: whoever is missing is created, and nothing waits any more that can be
    /// converted.
    async fn end(mut self) {
        for step in self.model.last_steps() {
            self = self.step(&step).await;
        }
        let mut places = self.places;
        places.sqlite.store.forget().await;
        if let Some(postgres) = &places.postgres {
            postgres.store.forget().await;
        }
        places.served += 1;
        *PLACES.lock().unwrap_or_else(PoisonError::into_inner) = Some(places);
    }
}

struct Both;

impl StateMachineTest for Both {
    type SystemUnderTest = Case;
    type Reference = Model;

    fn init_test(_: &Model) -> Case {
        runtime().block_on(Case::begin())
    }

    fn apply(case: Case, _: &Model, step: Step) -> Case {
        runtime().block_on(case.step(&step))
    }

    fn teardown(case: Case, _: Model) {
        runtime().block_on(case.end());
    }
}
