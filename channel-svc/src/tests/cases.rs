//! The same cases on both databases: creates, repeats, edits, reads, searches, P-job, 1010 and restarts in any order,
//! carried out by a store on SQLite, by one on PostgreSQL, and by a plain model in memory (rules M6 to M9, X3, X4, X7).
//! Headquarters is the scripted one.
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
    clock::{Clock, SystemClock},
    database::DatabaseUrl,
    testing::{
        cases::{cases, connections, is_caught, runtime},
        postgres,
    },
};
use sqlx::PgPool;
use tempfile::TempDir;
use tillsync_proto::{
    Criterion, CustomerId, CustomerRef, Feature, FunctionalityProfile, Job,
    pb::common::{self, Customer, CustomerRecord},
};
use tokio::{join, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{headquarters::FakeHq, shop::ids};
use crate::{
    Config,
    create::Create,
    customers::{Customers, Scope},
    edit::Update,
    error::Error,
    exchange::Exchange,
    find::Search,
    log::entry::Row,
    open::{Deps, Running},
    store::{LogStore as _, PostgresStore, Setting, SqliteStore, Store},
};
use model::{Model, Seen, Shown, Step};

/// Cases in a run of all tests.
const CASES: u32 = 60;
/// So many cases share a database; then there is a new one.
const SHARE: u64 = 200;
/// To PostgreSQL for everything but the tables, at most.
const CONNECTIONS: u32 = 4;

prop_state_machine! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn the_same_cases_on_both_databases(sequential 1..30 => Both);
}

#[test]
fn every_planted_bug_is_caught() {
    for bug in [
        "a repeat is logged",
        "the whole page is cleared",
        "newer rows do not apply",
        "the gap is not narrowed",
    ] {
        is_caught("the_same_cases_on_both_databases", bug);
    }
}

/// A store that can be opened again.
trait Opens: Store {
    /// What is there before and after it.
    type Place;
    async fn place(url: &DatabaseUrl) -> Self::Place;
    async fn open_at(place: &Self::Place) -> Self;
    async fn shut(self);
}

impl Opens for SqliteStore {
    type Place = PathBuf;

    async fn place(url: &DatabaseUrl) -> PathBuf {
        let DatabaseUrl::Sqlite(path) = url else { panic!("a file") };
        path.clone()
    }

    async fn open_at(path: &PathBuf) -> Self {
        Self::open(path, ids()).await.expect("a store")
    }

    async fn shut(self) {
        self.close().await;
    }
}

impl Opens for PostgresStore {
    /// Connections for everything, and the one that changes the tables.
    type Place = [PgPool; 2];

    async fn place(url: &DatabaseUrl) -> [PgPool; 2] {
        let DatabaseUrl::Postgres(url) = url else { panic!("a server") };
        let first = Self::open(url, ids()).await.expect("a store");
        give_back(&first).await;
        first.close().await;
        [connections(url, CONNECTIONS).await, connections(url, 1).await]
    }

    async fn open_at([pool, tables]: &[PgPool; 2]) -> Self {
        Self::on(pool.clone(), tables.clone(), ids()).await.expect("a store")
    }

    async fn shut(self) {}
}

/// Gives the lease back, or the next one would wait for its end.
async fn give_back(store: &impl Store) {
    let stop = CancellationToken::new();
    stop.cancel();
    store.lease().keep(Arc::new(SystemClock), stop).await;
}

/// A store on one database, and its headquarters.
struct Bench<S: Opens> {
    url: DatabaseUrl,
    place: S::Place,
    hq: FakeHq,
    store: S,
    customers: Customers<S>,
    exchange: Arc<Exchange<S>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl<S: Opens> Bench<S> {
    async fn begin(url: DatabaseUrl) -> Self {
        let place = S::place(&url).await;
        Self::open(url, place, FakeHq::start().await).await
    }

    async fn open(url: DatabaseUrl, place: S::Place, hq: FakeHq) -> Self {
        let store = S::open_at(&place).await;
        // Where the machine is busy, the one before has given the lease back too late, and it ends by itself.
        assert!(store.lease().won().await.expect("the lease"), "another store holds the lease");
        let profile = FunctionalityProfile { create_customer_async: true, ..FunctionalityProfile::default() };
        let flags = [Feature::E0, Feature::E1, Feature::E2, Feature::E3];
        let flags = flags
            .into_iter()
            .fold(Default::default(), |on: tillsync_proto::Features, flag| on.with(flag, true));
        store.save_setting(Setting::Profile(profile, 1)).await.expect("a profile");
        store.save_setting(Setting::Features(flags, Default::default(), 1)).await.expect("flags");
        let config = Config::new("store-1".parse().expect("a name"), url.clone(), hq.url(), hq.url());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stop = CancellationToken::new();
        let deps = Deps::read(&config, store.clone(), clock, ids()).await.expect("a channel");
        let Running { customers, exchange, appender, follower, .. } = deps.wire(&stop);
        let mut tasks = JoinSet::new();
        tasks.spawn(appender.run());
        tasks.spawn(follower.run(stop.clone()));
        Self { url, place, hq, store, customers, exchange, stop, tasks }
    }

    /// Ends it as a crash does; what is in memory goes.
    async fn shut(self) -> (DatabaseUrl, S::Place, FakeHq) {
        let Self { url, place, hq, store, stop, mut tasks, .. } = self;
        tasks.shutdown().await;
        stop.cancel();
        give_back(&store).await;
        store.shut().await;
        (url, place, hq)
    }

    async fn restart(self) -> Self {
        let (url, place, hq) = self.shut().await;
        Self::open(url, place, hq).await
    }
}

/// What tells the customers of a case from those of others.
#[derive(Clone, Copy)]
struct Base(u64);

impl Base {
    fn id(self, guid: u8) -> CustomerId {
        CustomerId(Uuid::from_u128(
            0x0190_b6c5_7e2b_7c3a_9d6e_0000_0000_0000 + u128::from(self.0 * 100) + u128::from(guid),
        ))
    }

    fn name(self, content: u8) -> String {
        format!("Q{:08}{}", self.0, char::from(b'a' + content))
    }

    fn person(self, content: u8) -> Customer {
        let person = common::Person {
            first_name: "Ann".to_owned(),
            last_name: self.name(content),
            ..common::Person::default()
        };
        Customer { party: Some(common::customer::Party::Person(person)), ..Customer::default() }
    }

    fn shown(self, row: &Row) -> Shown {
        let wire = row.shown();
        let content = (0..model::CONTENTS).find(|content| wire.party == self.person(*content).party);
        let guid = (0..model::GUIDS).find(|guid| self.id(*guid) == row.customer.id);
        Shown {
            guid: guid.expect("a customer of this case"),
            content: content.expect("a content of this case"),
            real: row.customer.account_number.is_some(),
            edits: row.edits.len(),
        }
    }
}

impl<S: Opens> Bench<S> {
    /// Carries a step out, and says what was seen.
    async fn run(&self, base: Base, step: &Step) -> Seen {
        let customers = &self.customers;
        match step {
            Step::Create { guid, content } => {
                let id = Some(base.id(*guid));
                let customer = Some(base.person(*content));
                let create = Create { customer, id, validate_only: false, deadline: None };
                match customers.create(create).await {
                    Ok(_) => self.one(base, *guid).await,
                    Err(Error::GuidTaken(_)) => Seen::Taken,
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Edit { guid, content } => {
                let mask = Some(prost_types::FieldMask { paths: vec!["person".to_owned()] });
                let (customer, values) = (base.id(*guid).to_string(), Some(base.person(*content)));
                let update = Update { customer, values, mask, validate_only: false };
                let row = customers.update(update, None).await.expect("an edit");
                Seen::Records(vec![base.shown(&row)])
            }
            Step::Get { guid } => self.one(base, *guid).await,
            Step::Search { content } => {
                let criterion = Criterion::name(&base.name(*content)).expect("a name");
                let (page_size, page_token) = (100, String::new());
                let search = Search { criterion, wire: None, scope: Scope::Store, page_size, page_token };
                let page = customers.search(search, None).await.expect("a page");
                let mut found: Vec<Shown> = page.rows.iter().map(|row| base.shown(row)).collect();
                found.sort_unstable_by_key(|shown| shown.guid);
                Seen::Records(found)
            }
            Step::Elsewhere { guid, content } => {
                self.hq.state().insert(&base.id(*guid).to_string(), base.person(*content));
                Seen::Nothing
            }
            Step::EditThere { guid, content } => {
                let mut state = self.hq.state();
                let (there, _) = state.customers[&base.id(*guid).to_string()].clone();
                state.save(Customer { party: base.person(*content).party, ..there });
                Seen::Nothing
            }
            Step::Upload { answers } => {
                self.hq.state().answers = *answers;
                Seen::Moved(self.exchange.try_once(Job::Upload).await.expect("a run").rows)
            }
            Step::Convert => {
                self.hq.convert();
                Seen::Nothing
            }
            Step::Feed => Seen::Moved(self.exchange.try_once(Job::Customers1010).await.expect("a run").rows),
            Step::Follow => {
                self.exchange.tail.applied().await;
                Seen::Nothing
            }
            Step::Restart => Seen::Nothing,
        }
    }

    async fn one(&self, base: Base, guid: u8) -> Seen {
        let name = CustomerRef::Id(base.id(guid));
        let Some(row) = self.customers.find(&name).await.expect("a read") else { return Seen::Nothing };
        // Whoever has a number has headquarters', and is found by it.
        if let Some(number) = &row.customer.account_number {
            let there: Option<CustomerRecord> = self.hq.state().record(&base.id(guid).to_string());
            assert_eq!(there.and_then(|there| there.customer).expect("there").account_number, *number);
            let by_number = self.customers.find(&CustomerRef::Account(number.clone())).await;
            assert_eq!(by_number.expect("a read"), Some(row.clone()));
        }
        Seen::Records(vec![base.shown(&row)])
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
        let sqlite = Bench::begin(DatabaseUrl::Sqlite(folder.path().join("store.db"))).await;
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
        let base = Base(CASE.fetch_add(1, Ordering::Relaxed));
        Self { places, base, model: Model::default() }
    }

    /// Carries a step out everywhere at the same time.
    async fn step(mut self, step: &Step) -> Self {
        if *step == Step::Restart {
            self.places = self.places.restart().await;
        }
        let Places { sqlite, postgres, .. } = &self.places;
        let (sqlite, postgres) =
            join!(sqlite.run(self.base, step), async { Some(postgres.as_ref()?.run(self.base, step).await) });
        let expected = self.model.step(step);
        assert_eq!(sqlite, expected, "SQLite: {step:?}");
        if let Some(postgres) = postgres {
            assert_eq!(postgres, expected, "PostgreSQL: {step:?}");
        }
        self
    }

    /// One turn of the chain: then nobody is pending, and no edit waits.
    async fn end(mut self) {
        for step in Model::last_steps() {
            self = self.step(&step).await;
        }
        assert!(self.model.is_level());
        let mut places = self.places;
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
