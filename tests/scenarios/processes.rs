//! Services in processes of their own, which can be killed, and tills that create at them meanwhile.

use std::{
    collections::BTreeSet,
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::client::{PATIENCE, Store, mint, person, until};

/// Tills that create at the same time.
const TILLS: usize = 6;

/// A service in a process of its own; killed when dropped.
pub struct Process {
    arguments: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    /// What it logs, down to the finest, goes into this file.
    log: Option<PathBuf>,
    child: Child,
    /// Not started again since it was killed.
    killed: bool,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(arguments, Vec::new())
    }

    /// The same with variables in its environment.
    pub fn start_in(arguments: &[&str], environment: Vec<(&'static str, PathBuf)>) -> Self {
        Self::spawn(arguments, environment, None)
    }

    /// With everything that it logs, down to the finest, in a file.
    pub fn start_logged(arguments: &[&str], log: &Path) -> Self {
        Self::spawn(arguments, Vec::new(), Some(log.to_owned()))
    }

    fn spawn(arguments: &[&str], environment: Vec<(&'static str, PathBuf)>, log: Option<PathBuf>) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        let child = Self::child(&arguments, &environment, log.as_deref());
        Self { arguments, environment, log, child, killed: false }
    }

    fn child(arguments: &[String], environment: &[(&'static str, PathBuf)], log: Option<&Path>) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_service-under-test"));
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        if let Some(log) = log {
            let log = File::options().append(true).create(true).open(log).expect("a log file");
            command.env("SERVICE_LOG", "trace").stderr(log);
        }
        command.stdin(Stdio::null()).spawn().expect("the service starts")
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    /// The most memory that it has had, in MiB.
    pub fn peak_memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        peak.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") / 1024
    }

    /// SIGKILL: nothing is flushed, nothing is told.
    pub fn kill(&mut self) {
        assert!(
            std::thread::panicking() || !self.has_ended(),
            "it has ended by itself: {:?}",
            self.arguments
        );
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        self.killed = true;
    }

    pub fn start_again(&mut self) {
        self.child = Self::child(&self.arguments, &self.environment, self.log.as_deref());
        self.killed = false;
    }

    /// The same on another database.
    pub fn start_again_on(&mut self, database: &str) {
        database.clone_into(&mut self.arguments[2]);
        self.start_again();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.killed {
            self.kill();
        }
    }
}

/// A port that stays free while the process on it is dead: below those that the system gives to outgoing connections.
pub fn free_port() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id() * 16;
    let ports = || 10_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
    let free = std::iter::repeat_with(ports)
        .take(1_000)
        .find(|port| TcpListener::bind(format!("127.0.0.1:{port}")).is_ok());
    free.expect("a free port").to_string()
}

/// Tills that create customers one after the other until they are told to stop. A create that fails is sent
/// again under the same GUID, as a till does.
pub struct Tills {
    acknowledged: Arc<Mutex<BTreeSet<Uuid>>>,
    count: Arc<AtomicUsize>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Tills {
    pub fn start(stores: &[Store]) -> Self {
        Self::with_pause(stores, Duration::ZERO)
    }

    /// The same with a pause between two creates of a till.
    pub fn with_pause(stores: &[Store], pause: Duration) -> Self {
        let tills = Self {
            acknowledged: Arc::default(),
            count: Arc::default(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        stores.iter().cycle().take(TILLS).cloned().fold(tills, |mut tills, store| {
            let (acknowledged, count) = (Arc::clone(&tills.acknowledged), Arc::clone(&tills.count));
            let stop = tills.stop.clone();
            tills.tasks.spawn(async move {
                while !stop.is_cancelled() {
                    let id = mint();
                    let customer = person(&id.simple().to_string());
                    let created = async {
                        while store.create(id, customer.clone()).await.is_err() {
                            sleep(Duration::from_millis(20)).await;
                        }
                    };
                    timeout(PATIENCE, created).await.expect("the create is acknowledged in the end");
                    acknowledged.lock().expect("no panic").insert(id);
                    count.fetch_add(1, Ordering::Relaxed);
                    sleep(pause).await;
                }
            });
            tills
        })
    }

    /// Waits until this many more have been acknowledged.
    pub async fn more(&self, creates: usize) {
        let goal = self.count.load(Ordering::Relaxed) + creates;
        until("creates go on", async || self.count.load(Ordering::Relaxed) >= goal).await;
    }

    pub async fn stop(self) -> BTreeSet<Uuid> {
        self.stop.cancel();
        self.tasks.join_all().await;
        Arc::into_inner(self.acknowledged).expect("the tills are gone").into_inner().expect("no panic")
    }
}
