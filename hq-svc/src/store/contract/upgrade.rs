//! A database of an earlier version is upgraded where it is, with everything in it.

use service_kit::{
    database::{DatabaseUrl, Durability, open_postgres, open_sqlite},
    testing::postgres,
};
use sqlx::AssertSqlSafe;
use tillsync_proto::Micros;
use uuid::Uuid;

use super::{TestStore, arrive, get, id, ids, person, real};
use crate::{
    config::Config,
    store::{self, PostgresStore, SqliteStore},
};

/// As the first version wrote it: a customer, and an operation that waits.
const BODY: &str = r#"{"id":"0190b6c5-7e2b-7c3a-9d6e-000000000001","account_number":"C-00000001","content":{"party":
    {"person":{"first_name":"Ann","last_name":"Before"}},"credit_limit_minor":0,"blocked":false,"contacts":[],"addresses":[],
    "affiliations":[],"attributes":[]},"loyalty_cards":[],"created_at":1000}"#;
const OPERATION: &str = r#"{"counter":1,"customer_id":"0190b6c5-7e2b-7c3a-9d6e-000000000002","logged_at":5000000,"change":
    {"create":{"party":{"person":{"first_name":"Bob","last_name":"Waits"}},"contacts":[]}}}"#;

/// The statements that made it, with GUIDs as each database writes them.
fn first_version(guid: impl Fn(Uuid) -> String) -> Vec<String> {
    let (epoch, one, two) = (guid(Uuid::from_u128(7)), guid(id(1).0), guid(id(2).0));
    vec![
        format!("insert into hq_head values (1, {epoch}, 1, 2, 1, 1, 0)"),
        format!(
            "insert into customers (version, id, account_number, fingerprint, body) \
             values (1, {one}, 'C-00000001', {one}, '{BODY}')"
        ),
        format!("insert into customer_terms values (1, 'before', {one})"),
        "insert into channels (id, last_contact_at, status) values ('s1', 5, null)".to_owned(),
        format!(
            "insert into arrivals (channel_id, counter, customer_id, kind, operation, logged_at, arrived_at) \
             values ('s1', 1, {two}, 'create', '{OPERATION}', 5000000, 6000000)"
        ),
        "insert into arrived values ('s1', 1)".to_owned(),
    ]
}

async fn everything_is_there(store: impl TestStore) {
    let head = store.head().await.expect("read");
    assert_eq!((head.epoch, head.version, head.customers, head.awaited), (Uuid::from_u128(7), 1, 1, 0));
    assert_eq!(get(&store, id(1)).await.expect("there").customer.content, person("Ann", "Before"));
    let due = store.due(None, 0, Micros(9_000_000), 10, 1 << 20).await.expect("read");
    assert_eq!(due.len(), 1);
    assert!(due[0].operation.is_some(), "what waited can be read");
    assert_eq!(
        real(&store, id(3), person("Eve", "After")).await.customer.account_number.as_deref(),
        Some("C-00000002")
    );
    assert!(
        arrive(
            &store,
            "s1",
            vec![super::arrival(1, id(2), tillsync_proto::Change::Create(person("Bob", "Waits")))]
        )
        .await[0]
            .known
    );
    assert_eq!(store.lineage().await.expect("read"), []);
}

#[tokio::test]
async fn a_sqlite_file_of_the_first_version_is_upgraded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hq.db");
    let old = open_sqlite(&path, Durability::PowerCut, &store::sqlite::STEPS[..1]).await.expect("made");
    for sql in first_version(|guid| format!("x'{}'", guid.simple())) {
        sqlx::query(AssertSqlSafe(sql.as_str())).execute(&old.writer).await.expect(&sql);
    }
    old.readers.close().await;
    old.writer.close().await;
    everything_is_there(SqliteStore::open(&path, &Config::default(), &ids()).await.expect("upgraded")).await;
}

#[tokio::test]
async fn a_postgresql_database_of_the_first_version_is_upgraded() {
    let Some(DatabaseUrl::Postgres(url)) = postgres("upgrade").await else { return };
    let old = open_postgres(&url, 1, &store::postgres::STEPS[..1]).await.expect("made");
    for sql in first_version(|guid| format!("'{guid}'")) {
        sqlx::query(AssertSqlSafe(sql.as_str())).execute(&old).await.expect(&sql);
    }
    old.close().await;
    everything_is_there(PostgresStore::open(&url, &Config::default(), &ids()).await.expect("upgraded")).await;
}
