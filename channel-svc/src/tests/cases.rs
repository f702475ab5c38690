//! The same cases on both databases: creates, repeats, edits, reads, searches, P-job, 1010 and restarts in any order,
//! carried out by a store on SQLite, by one on PostgreSQL, and by a plain model in memory (rules M6 to M9, X3, X4, X7).
//! Headquarters is the scripted one.
//!
//! `TILLSYNC_CASES` says how many (`tests/nightly`); what has failed once is kept in `proptest-regressions`.

mod model;

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use proptest::test_runner::Config as Cases;
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use service_kit::{
    clock::{Clock, SystemClock},
    database::DatabaseUrl,
    testing::postgres,
};
use tempfile::TempDir;
use tillsync_proto::{
    Criterion, CustomerId, CustomerRef, Feature, FunctionalityProfile, Job,
    pb::common::{self, Customer, CustomerRecord},
};
use tokio::{runtime::Runtime, task::JoinSet};
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
    store::{PostgresStore, Setting, SqliteStore, Store},
};
use model::{Model, Seen, Shown, Step};

/// Cases in a run of all tests.
const CASES: u32 = 60;
/// So many cases share a database; then there is a new one.
const SHARE: u64 = 50;

fn cases() -> Cases {
    let asked = std::env::var("TILLSYNC_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = Cases { cases: asked.unwrap_or(CASES), max_shrink_iters: 2_000, ..Cases::default() };
    // What a planted bug breaks is neither made smaller nor kept.
    match std::env::var_os("TILLSYNC_PLANTED") {
        Some(_) => Cases { max_shrink_iters: 0, failure_persistence: None, ..cases },
        None => cases,
    }
}

prop_state_machine! {
    #![proptest_config(cases())]

    #[test]
    fn the_same_cases_on_both_databases(sequential 1..30 => Both);
}

/// Runs the cases in a process of its own with a bug planted: they have to fail.
fn is_caught(bug: &str) {
    let mut test = std::process::Command::new(std::env::current_exe().expect("this test"));
    let test = test.args(["the_same_cases_on_both_databases", "--nocapture"]);
    let ended = test.env("TILLSYNC_PLANTED", bug).output().expect("a process");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("the_same_cases_on_both_databases"), "{bug}: {said}");
    assert!(!ended.status.success(), "{bug}: nobody noticed");
}

#[test]
fn every_planted_bug_is_caught() {
    for bug in ["a repeat is logged", "the whole page is cleared", "newer rows do not apply"] {
        is_caught(bug);
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// A store that can be opened again.
trait Opens: Store {
    async fn open_at(url: &DatabaseUrl) -> Self;
}

impl Opens for SqliteStore {
    async fn open_at(url: &DatabaseUrl) -> Self {
        let DatabaseUrl::Sqlite(path) = url else { panic!("a file") };
        Self::open(path, ids()).await.expect("a store")
    }
}

impl Opens for PostgresStore {
    async fn open_at(url: &DatabaseUrl) -> Self {
        let DatabaseUrl::Postgres(url) = url else { panic!("a server") };
        Self::open(url, ids()).await.expect("a store")
    }
}

/// A store on one database, and its headquarters.
struct Bench<S> {
    url: DatabaseUrl,
    hq: FakeHq,
    store: S,
    customers: Customers<S>,
    exchange: Arc<Exchange<S>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl<S: Opens> Bench<S> {
    async fn open(url: DatabaseUrl, hq: FakeHq) -> Self {
        let store = S::open_at(&url).await;
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
        Self { url, hq, store, customers, exchange, stop, tasks }
    }

    /// Ends it as a crash does; what is in memory goes.
    async fn shut(self) -> (DatabaseUrl, FakeHq) {
        let Self { url, hq, store, stop, mut tasks, .. } = self;
        tasks.shutdown().await;
        stop.cancel();
        // The lease is given back, or the next one would wait for its end.
        store.lease().keep(Arc::new(SystemClock), stop).await;
        store.close().await;
        (url, hq)
    }

    async fn restart(self) -> Self {
        let (url, hq) = self.shut().await;
        Self::open(url, hq).await
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

impl<S: Store> Bench<S> {
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
        let file = DatabaseUrl::Sqlite(folder.path().join("store.db"));
        let sqlite = Bench::open(file, FakeHq::start().await).await;
        let postgres = match postgres("the same cases").await {
            Some(url) => Some(Bench::open(url, FakeHq::start().await).await),
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

    /// Carries a step out everywhere.
    async fn step(mut self, step: &Step) -> Self {
        if *step == Step::Restart {
            self.places = self.places.restart().await;
        }
        let sqlite = self.places.sqlite.run(self.base, step).await;
        let postgres = match &self.places.postgres {
            Some(postgres) => Some(postgres.run(self.base, step).await),
            None => None,
        };
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
