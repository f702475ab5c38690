//! The frame of cases that a property test carries out on several databases: how many, on what runtime, and whether a bug that
//! was planted is caught.

use std::{process::Command, sync::OnceLock};

use proptest::test_runner::Config;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::runtime::{Builder, Runtime};

/// What names the bug that is planted in a process.
const PLANTED: &str = "TILLSYNC_PLANTED";

/// `TILLSYNC_CASES`, or so many. What fails is made smaller and kept in `proptest-regressions`, from where it is tried first ever
/// after; what a planted bug breaks is neither.
#[must_use]
pub fn cases(usual: u32) -> Config {
    let asked = std::env::var("TILLSYNC_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = Config { cases: asked.unwrap_or(usual), max_shrink_iters: 2_000, ..Config::default() };
    match std::env::var_os(PLANTED) {
        Some(_) => Config { max_shrink_iters: 0, failure_persistence: None, ..cases },
        None => cases,
    }
}

/// Runs a test of this binary in a process of its own with a bug planted: it has to fail.
///
/// # Panics
///
/// Nobody notices the bug.
pub fn is_caught(test: &str, bug: &str) {
    let mut binary = Command::new(std::env::current_exe().expect("this binary"));
    let ended = binary.args([test, "--nocapture"]).env(PLANTED, bug).output().expect("a process");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains(test), "{bug}: {said}");
    assert!(!ended.status.success(), "{bug}: nobody noticed");
}

/// The runtime of all cases of a process. It has one thread: a case does one thing after the other, and threads that wake each
/// other for it take most of the time.
///
/// # Panics
///
/// There is none to be had.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_current_thread().enable_all().build().expect("a runtime"))
}

/// So many connections at most, by a Unix socket where there is one. They outlive the restarts of a service, because a new one
/// costs PostgreSQL as much as some cases, and are not asked before each use whether they are there.
///
/// # Panics
///
/// The server does not answer.
pub async fn connections(url: &str, most: u32) -> PgPool {
    let options: PgConnectOptions = url.parse().expect("a URL");
    let mut first = PgConnection::connect_with(&options).await.expect("the test server answers");
    let sockets: String =
        sqlx::query_scalar("show unix_socket_directories").fetch_one(&mut first).await.expect("a setting");
    let options = if sockets.is_empty() { options } else { options.socket(sockets) };
    let pool = PgPoolOptions::new().max_connections(most).test_before_acquire(false);
    pool.max_lifetime(None).idle_timeout(None).connect_with(options).await.expect("it answers there, too")
}
