//! A throw-away PostgreSQL for tests: one server for the process, one database for each test.

#![allow(clippy::expect_used, reason = "this is test code")]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use crate::database::DatabaseUrl;

/// A PostgreSQL server that ends with this process.
struct Server {
    url: String,
    /// Its data; removed by the shell that watches over the server.
    _folder: TempDir,
}

/// The URL of a new, empty database on this process's own server.
///
/// `None` if the machine has no PostgreSQL; the test is then reported as skipped, by name.
///
/// # Panics
///
/// With `CI=true` a missing PostgreSQL is a failure, and so is one that does not start.
pub async fn postgres(test: &str) -> Option<DatabaseUrl> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let Some(server) = SERVER.get_or_init(start) else {
        skip(test);
        return None;
    };
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server.url).await.expect("the test server answers");
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    connection.execute(create).await.expect("a new database");
    Some(DatabaseUrl::Postgres(server.url.replace("/postgres?", &format!("/{name}?"))))
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
    standby_url: String,
    folder: TempDir,
    child: Child,
}

/// Starts a server with a synchronous standby. `None` as for [`postgres`].
///
/// # Panics
///
/// As [`postgres`].
pub async fn replicated_postgres(test: &str) -> Option<Replicated> {
    let Some(binaries) = binaries() else {
        skip(test);
        return None;
    };
    let folder = tempfile::Builder::new().prefix("tillsync-pg-").tempdir().expect("a temporary folder");
    let (primary, standby) = (free_port(), free_port());
    let as_user = as_user(folder.path());
    let server =
        "-c listen_addresses=127.0.0.1 -c fsync=off -c unix_socket_directories= -c log_min_messages=fatal";
    let script = format!(
        "set -e; cd '{data}'; {as_user} '{bin}/initdb' -D '{data}/db' -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >initdb.log 2>&1; \
         {as_user} '{bin}/postgres' -D '{data}/db' -p {primary} {server} -c wal_level=replica >primary.log 2>&1 & \
         until '{bin}/pg_isready' -q -h 127.0.0.1 -p {primary}; do sleep 0.05; done; \
         {as_user} '{bin}/pg_basebackup' -h 127.0.0.1 -p {primary} -U postgres -D '{data}/standby' -R -X stream -c fast; \
         {as_user} '{bin}/postgres' -D '{data}/standby' -p {standby} {server} \
         -c primary_conninfo='host=127.0.0.1 port={primary} user=postgres application_name=standby' >standby.log 2>&1 & \
         until '{bin}/pg_isready' -q -h 127.0.0.1 -p {standby}; do sleep 0.05; done; \
         echo ready; cat >/dev/null; \
         {as_user} '{bin}/pg_ctl' stop -s -m immediate -D '{data}/db' 2>/dev/null || true; \
         {as_user} '{bin}/pg_ctl' stop -s -m immediate -D '{data}/standby' || true; wait || true; rm -rf '{data}'",
        data = folder.path().display(),
        bin = binaries.display(),
    );
    let child = start_script(&script, folder.path());
    let url = |port| format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let mut connection = PgConnection::connect(&url(primary)).await.expect("the primary server answers");
    for sql in ["alter system set synchronous_standby_names = 'standby'", "select pg_reload_conf()"] {
        connection.execute(sql).await.expect(sql);
    }
    let (primary, standby_url) = (DatabaseUrl::Postgres(url(primary)), url(standby));
    let standby = DatabaseUrl::Postgres(standby_url.clone());
    Some(Replicated { primary, standby, standby_url, folder, child })
}

impl Replicated {
    /// Ends the primary server as a machine that is lost does.
    ///
    /// # Panics
    ///
    /// It does not run.
    pub fn lose_primary(&self) {
        let file = self.folder.path().join("db/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("the server's process");
        let process = text.lines().next().expect("its number");
        let killed = Command::new("kill").args(["-9", process]).status();
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

impl Drop for Replicated {
    fn drop(&mut self) {
        // The script ends both when its standard input closes.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// PostgreSQL refuses to run as root; Debian's package makes the user postgres.
fn as_user(folder: &Path) -> &'static str {
    if is_root() {
        own(folder);
        "runuser -u postgres --"
    } else {
        ""
    }
}

/// Runs a script until it says that it is ready. It goes on until its standard input closes, which it does however
/// this process ends.
fn start_script(script: &str, folder: &Path) -> Child {
    let mut shell = Command::new("sh");
    let mut child =
        shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("sh says ready");
    assert_eq!(line.trim(), "ready", "PostgreSQL did not start; see {}", folder.display());
    child
}

/// The folder with `initdb` and `postgres`: on the path, or where Debian keeps them.
fn binaries() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(std::env::split_paths(&on_path));
    folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

fn start() -> Option<Server> {
    let binaries = binaries()?;
    let folder = tempfile::Builder::new().prefix("tillsync-pg-").tempdir().expect("a temporary folder");
    let port = free_port();
    let as_user = as_user(folder.path());
    // The shell ends the server when its standard input closes, which it does however this process ends. Not
    // by a signal of its own: SIGINT is ignored by what a shell runs in the background.
    let script = format!(
        "set -e; cd '{data}'; {as_user} '{bin}/initdb' -D '{data}/db' -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >initdb.log 2>&1; \
         {as_user} '{bin}/postgres' -D '{data}/db' -p {port} -c listen_addresses=127.0.0.1 -c fsync=off \
         -c unix_socket_directories= -c max_connections=200 -c log_min_messages=fatal >server.log 2>&1 & pid=$!; \
         until '{bin}/pg_isready' -q -h 127.0.0.1 -p {port}; do kill -0 $pid || exit 1; sleep 0.05; done; \
         echo ready; cat >/dev/null; \
         {as_user} '{bin}/pg_ctl' stop -s -m immediate -D '{data}/db' || true; wait $pid || true; rm -rf '{data}'",
        data = folder.path().display(),
        bin = binaries.display(),
    );
    let child = start_script(&script, folder.path());
    // The child is watched by its standard input, which stays open as long as this process lives.
    std::mem::forget(child);
    Some(Server {
        url: format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"),
        _folder: folder,
    })
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn own(folder: &Path) {
    let done = Command::new("chown").arg("postgres").arg(folder).status();
    assert!(done.is_ok_and(|status| status.success()), "PostgreSQL needs the user postgres when run as root");
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
