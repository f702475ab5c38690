//! For tests: a throw-away PostgreSQL, one server for the process, one database for each test; and certificates.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "this is test code")]

mod authority;
pub mod cases;

use std::{
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{Connection as _, Executor as _, PgConnection};

pub use authority::Authority;

use crate::{
    database::DatabaseUrl,
    throwaway::{Standby, StartError, Throwaway, Wanted},
};

/// The URL of a new, empty database on this process's own server.
///
/// `None` if the machine has no PostgreSQL; the test is then reported as skipped, by name.
///
/// # Panics
///
/// With `CI=true` a missing PostgreSQL is a failure, and so is one that does not start.
pub async fn postgres(test: &str) -> Option<DatabaseUrl> {
    // Statics are not dropped: the server ends with the process, when its shell's standard input closes.
    static SERVER: OnceLock<Option<Throwaway>> = OnceLock::new();
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let wanted = Wanted { fsync: false, standby: None };
    let Some(server) = SERVER.get_or_init(|| start(wanted)) else {
        skip(test);
        return None;
    };
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server.url).await.expect("the test server answers");
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    connection.execute(create).await.expect("a new database");
    Some(DatabaseUrl::Postgres(server.url.replace("/postgres?", &format!("/{name}?"))))
}

/// `None` if the machine has no PostgreSQL.
fn start(wanted: Wanted) -> Option<Throwaway> {
    match Throwaway::start(wanted) {
        Err(StartError::Missing) => None,
        started => Some(started.expect("PostgreSQL starts")),
    }
}

/// Says that a test is skipped; with `CI=true` that is a failure.
fn skip(test: &str) {
    let must = std::env::var("CI").as_deref() == Ok("true");
    assert!(!must, "{test}: no PostgreSQL binaries on this machine");
    eprintln!("skipped: {test} (no PostgreSQL binaries found; install postgresql)");
}

/// A PostgreSQL server with a synchronous standby: a commit returns once both have it (rule M12). Both end with this
/// value.
pub struct Replicated {
    /// The database on the primary server.
    pub primary: DatabaseUrl,
    /// The same on the standby: for reading until it is promoted.
    pub standby: DatabaseUrl,
    servers: Throwaway,
    standby_url: String,
}

/// Starts a server with a synchronous standby. `None` as for [`postgres`].
///
/// # Panics
///
/// As [`postgres`].
pub async fn replicated_postgres(test: &str) -> Option<Replicated> {
    let Some(servers) = start(Wanted { fsync: false, standby: Some(Standby::On) }) else {
        skip(test);
        return None;
    };
    let standby_url = servers.standby_url.clone().expect("one was wanted");
    let primary = DatabaseUrl::Postgres(servers.url.clone());
    let standby = DatabaseUrl::Postgres(standby_url.clone());
    Some(Replicated { primary, standby, servers, standby_url })
}

impl Replicated {
    /// Ends the primary server as a machine that is lost does.
    ///
    /// # Panics
    ///
    /// It does not run.
    pub fn lose_primary(&self) {
        let process = self.servers.primary_process().expect("the primary server runs").to_string();
        let killed = Command::new("kill").args(["-9", &process]).status();
        assert!(killed.is_ok_and(|status| status.success()), "the primary server runs");
    }

    /// Makes the standby the primary.
    ///
    /// # Panics
    ///
    /// It does not.
    pub async fn promote(&self) {
        let mut connection = PgConnection::connect(&self.standby_url).await.expect("the standby answers");
        // It waits for a primary no more.
        for sql in [
            "select pg_promote(true, 60)",
            "alter system reset synchronous_standby_names",
            "select pg_reload_conf()",
        ] {
            connection.execute(sql).await.expect(sql);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_test_gets_a_database_of_its_own() {
        let (Some(DatabaseUrl::Postgres(one)), Some(DatabaseUrl::Postgres(other))) =
            (postgres("own database").await, postgres("own database").await)
        else {
            return;
        };
        assert_ne!(one, other);
        let mut connection = PgConnection::connect(&one).await.unwrap();
        connection.execute("create table t (id int)").await.unwrap();
        let mut connection = PgConnection::connect(&other).await.unwrap();
        connection.execute("create table t (id int)").await.unwrap();
    }
}
