//! What a store promises, on both databases.

use std::sync::Arc;

use service_kit::database::DatabaseUrl;
use tillsync_proto::{
    AttributeDefinition, AttributeDefinitions, AttributeRule, Content, Criterion, Customer, CustomerId,
    Features, FunctionalityProfile, Job, JobRun, Micros, Party, PersonName, Schedule, SessionState,
};

use super::shop::{Place, ids};
use crate::{
    log::entry::{CreatePath, Entry, Origin, Row, Stamp},
    store::*,
};

/// Runs a test on every database there is.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            for place in Place::both(stringify!($name)).await {
                match &place.database {
                    DatabaseUrl::Sqlite(path) => contract::$name(SqliteStore::open(path, ids()).await.unwrap()).await,
                    DatabaseUrl::Postgres(url) => contract::$name(PostgresStore::open(url, ids()).await.unwrap()).await,
                }
            }
        }
    )*};
}

on_both!(
    x3_the_log_is_read_as_it_was_appended,
    m8_an_append_is_whole_or_not_at_all,
    z3_the_log_is_read_and_pruned_in_bounded_steps,
    x7_a_batch_and_its_progress_are_one,
    x7_the_feed_begins_where_headquarters_was_first_heard_of,
    x7_rows_apply_only_if_newer,
    m6_an_account_number_reaches_its_pending_customer_once,
    c3_terms_follow_the_customer,
    c3_a_range_of_terms_ends_where_it_should,
    c3_whole_words_come_first_however_many_there_are,
    c3_all_words_are_found_however_common_each_is,
    settings_and_runs_are_kept,
);

fn id(n: u128) -> CustomerId {
    CustomerId(uuid::Uuid::from_u128(n))
}

fn row(n: u128, name: &str, stamp: Option<(&str, u64)>) -> Row {
    let name = PersonName { last_name: name.to_owned(), ..Default::default() };
    let content = Content { party: Party::Person(name), ..Content::blank() };
    let origin = Origin { fingerprint: content.fingerprint(), path: Some(CreatePath::Async) };
    let customer = Customer {
        id: id(n),
        account_number: stamp.map(|_| format!("C-{n}")),
        content,
        loyalty_cards: Vec::new(),
        created_at: Micros(i64::try_from(n).unwrap()),
    };
    let told = stamp.map(|(epoch, version)| Stamp { epoch: epoch.to_owned(), version });
    Row::new(customer, told, stamp.is_none().then_some(origin))
}

fn entries(rows: impl IntoIterator<Item = Row>) -> Vec<Incoming> {
    rows.into_iter().map(|row| Incoming::Entry(Arc::new(Entry::new(row)))).collect()
}

fn log(rows: impl IntoIterator<Item = Row>, through: u64) -> Arc<Batch> {
    Arc::new(Batch { incoming: entries(rows), advance: Advance::Log { through } })
}

fn feed(rows: impl IntoIterator<Item = Row>, epoch: &str, version: u64, head: u64) -> Arc<Batch> {
    let advance = Advance::Feed { epoch: epoch.to_owned(), version, head, at: Micros(77) };
    Arc::new(Batch { incoming: entries(rows), advance })
}

fn log_row(through: u64, operation_through: Option<u64>, bytes: usize) -> LogRow {
    LogRow { through, operation_through, body: vec![7; bytes] }
}

mod contract {
    use super::*;

    pub(super) async fn x3_the_log_is_read_as_it_was_appended<S: Store>(store: S) {
        assert_eq!(store.log_progress().await.unwrap(), LogProgress::default());
        let rows = [log_row(3, Some(2), 10), log_row(5, None, 10), log_row(6, Some(6), 10)];
        store.append(0, rows[..2].to_vec()).await.unwrap();
        store.append(5, rows[2..].to_vec()).await.unwrap();
        assert_eq!(store.read(0).await.unwrap(), rows);
        assert_eq!(store.read(4).await.unwrap(), rows[1..]);
        assert_eq!(store.read_operations(0).await.unwrap(), [rows[0].clone(), rows[2].clone()]);
        assert_eq!(store.read_operations(2).await.unwrap(), [rows[2].clone()]);
        store.set_uploaded(2, "e").await.unwrap();
        let progress =
            LogProgress { newest: 6, newest_operation: 6, uploaded_through: 2, epoch: "e".to_owned() };
        assert_eq!(store.log_progress().await.unwrap(), progress);
        store.checkpoint().await.unwrap();
        assert_eq!(store.read(0).await.unwrap(), rows);
    }

    pub(super) async fn m8_an_append_is_whole_or_not_at_all<S: Store>(store: S) {
        store.append(0, vec![log_row(2, Some(2), 1)]).await.unwrap();
        // A second writer would reuse a number: nothing of its commit stays.
        assert!(store.append(2, vec![log_row(3, Some(3), 1), log_row(2, Some(2), 1)]).await.is_err());
        assert_eq!(store.log_progress().await.unwrap().newest, 2);
    }

    pub(super) async fn z3_the_log_is_read_and_pruned_in_bounded_steps<S: Store>(store: S) {
        for n in 1..=5 {
            store.append(n - 1, vec![log_row(n, Some(n), 400_000)]).await.unwrap();
        }
        assert_eq!(store.read(0).await.unwrap().len(), 2);
        assert_eq!(store.read(4).await.unwrap().len(), 1);
        store.append(5, (6..=2_100).map(|n| log_row(n, None, 1)).collect()).await.unwrap();
        assert_eq!(store.read(5).await.unwrap().len(), 1_000);
        assert_eq!(store.prune(1_000).await.unwrap(), 64);
        assert_eq!(store.read(0).await.unwrap()[0].through, 65);
        while store.prune(1_000).await.unwrap() > 0 {}
        assert_eq!(store.read(0).await.unwrap()[0].through, 1_001);
    }

    pub(super) async fn x7_a_batch_and_its_progress_are_one<S: Store>(store: S) {
        let applied = store.apply(log([row(1, "Ann", None), row(2, "Bob", None)], 2)).await.unwrap();
        assert_eq!(applied.changed, [id(1), id(2)]);
        let again = store.apply(log([row(1, "Ann", None), row(2, "Bob", None)], 2)).await.unwrap();
        assert_eq!(again, Applied::default());
        let progress = store.table_progress().await.unwrap();
        assert_eq!((progress.applied_through, progress.customers, progress.pending), (2, 2, 2));
        assert_eq!(progress.oldest_pending, Some(Micros(1)));

        let applied = store.apply(feed([row(1, "Ann", Some(("e", 4)))], "e", 4, 9)).await.unwrap();
        assert_eq!((applied.changed, applied.named), (vec![id(1)], vec![Micros(1)]));
        let progress = store.table_progress().await.unwrap();
        assert_eq!((progress.applied_through, progress.customers, progress.pending), (2, 2, 1));
        assert_eq!((progress.feed_epoch.as_str(), progress.feed_version, progress.feed_head), ("e", 4, 9));
        assert_eq!((progress.level_at, progress.contact_at), (Micros(0), Micros(77)));
        store.apply(feed([], "e", 9, 9)).await.unwrap();
        assert_eq!(store.table_progress().await.unwrap().level_at, Micros(77));
        let page = store.page(None, 10).await.unwrap();
        assert_eq!(page.iter().map(|row| row.customer.id).collect::<Vec<_>>(), [id(1), id(2)]);
        assert_eq!(store.page(Some(id(1)), 10).await.unwrap().len(), 1);
        assert_eq!(store.page(None, 1).await.unwrap()[0].customer.id, id(1));
    }

    pub(super) async fn x7_the_feed_begins_where_headquarters_was_first_heard_of<S: Store>(store: S) {
        let place = async || {
            let progress = store.table_progress().await.unwrap();
            (progress.feed_epoch, progress.feed_version)
        };
        let contact = |epoch: Option<&str>| {
            let advance = Advance::Contact { epoch: epoch.map(str::to_owned), at: Micros(5) };
            Arc::new(Batch { incoming: Vec::new(), advance })
        };
        store.apply(log([row(1, "Ann", None)], 1)).await.unwrap();
        store.apply(contact(None)).await.unwrap();
        assert_eq!(place().await, (String::new(), 0));
        // A sync create that was kept, before the first page of the feed.
        store.apply(log([row(2, "Bob", Some(("a", 5)))], 2)).await.unwrap();
        store.apply(contact(Some("b"))).await.unwrap();
        assert_eq!(place().await, ("a".to_owned(), 0));
        store.apply(feed([], "c", 3, 3)).await.unwrap();
        store.apply(log([row(3, "Eve", Some(("a", 6)))], 3)).await.unwrap();
        store.apply(contact(Some("b"))).await.unwrap();
        assert_eq!(place().await, ("c".to_owned(), 3));
    }

    pub(super) async fn x7_rows_apply_only_if_newer<S: Store>(store: S) {
        let name = async || {
            let row = store.rows(&[id(1)]).await.unwrap().pop().unwrap();
            (row.customer.content.full_name(), row.origin.is_some())
        };
        let apply = async |name: &str, stamp| {
            store.apply(log([row(1, name, stamp)], 1)).await.unwrap();
        };
        apply("Five", Some(("a", 5))).await;
        apply("Four", Some(("a", 4))).await;
        assert_eq!(name().await, ("Five".to_owned(), false));
        // A create that was logged here and is known better: only what it was asked is added (rule M6).
        apply("Create", None).await;
        assert_eq!(name().await, ("Five".to_owned(), true));
        apply("Six", Some(("a", 6))).await;
        apply("Other", Some(("b", 1))).await;
        assert_eq!(name().await, ("Other".to_owned(), true));
    }

    pub(super) async fn m6_an_account_number_reaches_its_pending_customer_once<S: Store>(store: S) {
        store.apply(log([row(1, "Ann", None)], 1)).await.unwrap();
        let number = |number: &str| {
            let incoming = vec![
                Incoming::Account(id(1), number.to_owned()),
                Incoming::Account(id(404), number.to_owned()),
            ];
            Arc::new(Batch { incoming, advance: Advance::Contact { epoch: None, at: Micros(5) } })
        };
        assert_eq!(store.apply(number("C-9")).await.unwrap().named, [Micros(1)]);
        assert_eq!(store.apply(number("C-10")).await.unwrap(), Applied::default());
        assert_eq!(store.id_of_account("C-9").await.unwrap(), Some(id(1)));
        assert_eq!(store.id_of_account("C-10").await.unwrap(), None);
        let progress = store.table_progress().await.unwrap();
        assert_eq!((progress.customers, progress.pending, progress.oldest_pending), (1, 0, None));
        assert_eq!(progress.contact_at, Micros(5));
    }

    pub(super) async fn c3_terms_follow_the_customer<S: Store>(store: S) {
        let found = async |words: &str| {
            let found = store.search(&Criterion::name(words).unwrap(), 10).await.unwrap();
            found.into_iter().map(|(CustomerId(id), rank)| (id.as_u128(), rank)).collect::<Vec<_>>()
        };
        let rows = (1..=600).map(|n| row(n, if n == 300 { "Müller Anna" } else { "Muellermann" }, None));
        store.apply(log(rows, 600)).await.unwrap();
        assert_eq!(found("MULLER").await, [(300, 2)]);
        assert_eq!(found("mull ann").await, [(300, 2)]);
        assert_eq!(found("mu").await.len(), 10);
        assert_eq!(found("mu anna").await[0], (300, 3));
        store.apply(log([row(300, "Schmidt", Some(("a", 1)))], 601)).await.unwrap();
        assert_eq!(found("muller").await, []);
        assert_eq!(found("schmidt").await, [(300, 2)]);
    }

    pub(super) async fn c3_whole_words_come_first_however_many_there_are<S: Store>(store: S) {
        let rows = (1..=60).map(|n| row(n, if n % 2 == 0 { "Anna" } else { "Annabel" }, None));
        store.apply(log(rows, 60)).await.unwrap();
        for limit in [10, 30, 31, 60, 61] {
            let found = store.search(&Criterion::name("anna").unwrap(), limit).await.unwrap();
            let whole = (1..=30).map(|n| (id(2 * n), 2));
            let expected: Vec<_> = whole.chain((0..30).map(|n| (id(2 * n + 1), 1))).take(limit).collect();
            assert_eq!(found, expected, "{limit}");
        }
    }

    pub(super) async fn c3_all_words_are_found_however_common_each_is<S: Store>(store: S) {
        // More of either word than the search for any of them looks at.
        let all = 12_000;
        let both = all - 11..=all;
        let name = |n| {
            if both.contains(&n) {
                "Anna Schneider"
            } else if n % 2 == 0 {
                "Anna"
            } else {
                "Schneider"
            }
        };
        let rows: Vec<Row> = (1..=all).map(|n| row(n, name(n), None)).collect();
        store.apply(log(rows, 12_000)).await.unwrap();
        let best = both.map(|n| (id(n), 4));
        let expected: Vec<_> = best.chain([(id(1), 2), (id(2), 2)]).collect();
        for limit in [2, 12, 14] {
            let found = store.search(&Criterion::name("schneider anna").unwrap(), limit).await.unwrap();
            assert_eq!(found, expected[..limit], "{limit}");
        }
    }

    pub(super) async fn c3_a_range_of_terms_ends_where_it_should<S: Store>(store: S) {
        let mut rows = Vec::new();
        for (n, number) in (1..).zip(["C-1", "C-10", "C-1 ", "C-1\u{7f}", "c-1"]) {
            let mut row = row(n, "Ann", Some(("a", u64::try_from(n).unwrap())));
            row.customer.account_number = Some(number.to_owned());
            rows.push(row);
        }
        store.apply(log(rows, 5)).await.unwrap();
        let exact = store.search(&Criterion::account("C-1").unwrap(), 10).await.unwrap();
        assert_eq!(exact, [(id(1), 1)]);
        assert_eq!(store.id_of_account("c-1").await.unwrap(), Some(id(5)));
    }

    pub(super) async fn settings_and_runs_are_kept<S: Store>(store: S) {
        assert_eq!(store.settings().await.unwrap(), Settings::default());
        let profile = FunctionalityProfile { create_customer_async: true, ..Default::default() };
        let features: Features = tillsync_proto::Feature::ALL.into_iter().collect();
        let size = AttributeDefinition { name: "size".to_owned(), rule: AttributeRule::Boolean };
        let attributes: AttributeDefinitions = [size].into_iter().collect();
        let schedule = Schedule { held: true, ..Schedule::default_for(Job::Upload) };
        for _ in 0..2 {
            store.save_setting(Setting::Profile(profile.clone(), 3)).await.unwrap();
            store.save_setting(Setting::Features(features, attributes.clone(), 4)).await.unwrap();
            store.save_setting(Setting::Schedule(schedule)).await.unwrap();
            store.identify(uuid::Uuid::from_u128(5)).await.unwrap();
        }
        let expected = Settings {
            profile,
            profile_version: 3,
            features,
            attributes,
            features_version: 4,
            schedules: vec![schedule],
            identity: Some(uuid::Uuid::from_u128(5)),
        };
        assert_eq!(store.settings().await.unwrap(), expected);
        let run = |run_request| JobRun {
            job: Job::Upload,
            run_request,
            started_at: Micros(1),
            elapsed: std::time::Duration::from_micros(1_500),
            state: SessionState::UploadFailed,
            rows: 3,
            bytes: 99,
            error: "headquarters: UNAVAILABLE".to_owned(),
        };
        store.save_run(&run(1)).await.unwrap();
        store.save_run(&run(2)).await.unwrap();
        // A scheduled run does not forget which request was carried out last.
        store.save_run(&run(0)).await.unwrap();
        assert_eq!(store.job_runs().await.unwrap(), [run(2)]);
    }
}
