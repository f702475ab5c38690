//! The chain: headquarters and stores as hosts, each with a clock, a disk and a place in the network, which start and end.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use channel_svc::simulation::Files;
use hq_svc::simulation::File;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use service_kit::{
    clock::{Clock, Ids},
    database::DatabaseUrl,
    network::Incoming,
    simulation::Disk,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    BROUGHT_BACK, LYING_DISK,
    disk::{HostPace, can_fall_back, copy},
    network::{Fate, Network},
    plan::{Event, HQ, Plan, office, tills_of},
    trace::{HostClock, Trace},
};

/// How long a service may take to end when it is asked to: its drain, and what comes after.
const END: Duration = Duration::from_secs(60);

/// A headquarters or a store.
struct Host {
    name: String,
    /// Its database.
    path: PathBuf,
    clock: HostClock,
    slow: Arc<AtomicU64>,
    chance: StdRng,
    running: Option<Running>,
    /// The tables as they were.
    remembered: Vec<PathBuf>,
}

struct Running {
    files: AnyFiles,
    shutdown: CancellationToken,
    ended: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

enum AnyFiles {
    Hq(Box<File>),
    Store(Files),
}

impl AnyFiles {
    fn close(&self) {
        match self {
            Self::Hq(file) => file.close(),
            Self::Store(files) => files.close(),
        }
    }
}

/// The chain.
pub struct World {
    pub network: Network,
    pub trace: Trace,
    plan: Plan,
    hosts: Vec<Host>,
    /// Where transactions are carried out.
    disks: Runtime,
    folder: PathBuf,
    /// Copies that were made.
    copies: usize,
    backup: Option<PathBuf>,
    /// What is wrong on purpose.
    bug: String,
}

/// The names of all hosts of so many stores.
fn names(stores: usize) -> Vec<String> {
    let mut names = vec![String::new(); office(stores) + 1];
    names[HQ] = "hq".to_owned();
    for store in 1..=stores {
        names[store] = format!("store-{store}");
        names[tills_of(store, stores)] = format!("tills-{store}");
    }
    names[office(stores)] = "office".to_owned();
    names
}

impl World {
    /// Everybody is there, and nobody has started.
    pub fn new(seed: u64, plan: Plan, folder: &Path, bug: &str) -> Self {
        let (trace, names) = (Trace::new(), names(plan.stores()));
        let network = Network::new(seed, &names);
        let host = |(number, name): (usize, String)| Host {
            path: folder.join(&name).join("data.db"),
            clock: HostClock { trace: trace.clone(), ahead: Arc::new(AtomicI64::new(0)) },
            slow: Arc::default(),
            chance: StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number as u64)),
            running: None,
            remembered: Vec::new(),
            name,
        };
        let hosts = names.into_iter().enumerate().take(plan.stores() + 1).map(host).collect();
        let disks = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        Self {
            network,
            trace,
            plan,
            hosts,
            disks,
            folder: folder.to_owned(),
            copies: 0,
            backup: None,
            bug: bug.to_owned(),
        }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn name(&self, host: usize) -> &str {
        &self.hosts[host].name
    }

    /// Starts a host, unless it runs.
    pub fn start(&mut self, number: usize) {
        if self.hosts[number].running.is_some() {
            return;
        }
        self.trace.note(&self.hosts[number].name, "starts");
        let incoming = Incoming::Handed(self.network.up(number));
        let ended = Arc::new(AtomicBool::new(false));
        let network = self.network.from(number);
        let (ids, disk) = self.equipment(number, &ended);
        let (host, shutdown) = (&mut self.hosts[number], CancellationToken::new());
        let clock: Arc<dyn Clock> = Arc::new(host.clock.clone());
        let database = DatabaseUrl::Sqlite(host.path.clone());
        let name = host.name.clone();
        let (files, task) = if number == HQ {
            let config = hq_config(database, &self.plan);
            let file = File::open(&host.path, disk, config, &ids).expect("headquarters opens");
            let serving = file.serve(incoming, shutdown.clone(), (clock, ids));
            let serving = async move { serving.await.expect("headquarters serves") };
            (AnyFiles::Hq(Box::new(file)), tokio::spawn(serving))
        } else {
            let id = name.parse().expect("a name");
            let config = channel_svc::Config::new(id, database, "http://hq:1", "http://hq:1");
            let config = channel_svc::Config { network, ..config };
            let files = Files::open(&host.path, disk, ids.clone()).expect("a store opens");
            let serving = files.serve(incoming, shutdown.clone(), config, (clock, ids));
            let serving = async move { serving.await.expect("a store begins").expect("a store serves") };
            (AnyFiles::Store(files), tokio::spawn(serving))
        };
        host.running = Some(Running { files, shutdown, ended, task });
    }

    /// What a host gets for a life.
    fn equipment(&mut self, number: usize, ended: &Arc<AtomicBool>) -> (Ids, Disk) {
        let host = &mut self.hosts[number];
        let ids = Ids::seeded(Arc::new(host.clock.clone()), host.chance.random());
        let pace = HostPace {
            name: host.name.clone(),
            trace: self.trace.clone(),
            chance: Mutex::new(StdRng::seed_from_u64(host.chance.random())),
            slow: Arc::clone(&host.slow),
            ended: Arc::clone(ended),
        };
        (ids, Disk::new(self.disks.handle().clone(), Arc::new(pace)))
    }

    /// Ends a host between two of its steps; `dark`: its power fails.
    fn crash(&mut self, number: usize, dark: bool) {
        let host = &mut self.hosts[number];
        let Some(running) = host.running.take() else { return };
        let kind = if dark { "power cut" } else { "kill" };
        self.trace.count(kind, &host.name, "");
        running.ended.store(true, Ordering::Relaxed);
        self.network.down(number, dark);
        running.task.abort();
        // What it has left behind ends, without a disk or a network.
        running.shutdown.cancel();
        let fallback = if dark && number != HQ { self.fallback(number) } else { None };
        running.files.close();
        if let Some(tables) = fallback {
            let host = &mut self.hosts[number];
            self.trace.count("tables fall back", &host.name, "");
            let path = self.folder.join(format!("{}-{}", host.name, self.copies)).join("data.db");
            self.copies += 1;
            copy(&tables, &path);
            let log = if self.bug == LYING_DISK { &tables } else { &host.path };
            copy(&channel_svc::log_file(log), &channel_svc::log_file(&path));
            host.path = path;
        }
        // What was synced by closing cannot be taken back.
        self.hosts[number].remembered.clear();
    }

    /// What a power cut leaves of a store's tables, if not all.
    fn fallback(&mut self, number: usize) -> Option<PathBuf> {
        let host = &mut self.hosts[number];
        host.remembered.retain(|copy| can_fall_back(&host.path, copy));
        let which = host.chance.random_range(0..=host.remembered.len());
        host.remembered.get(which).cloned()
    }

    async fn stop(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let Some(running) = host.running.take() else { return };
        self.trace.count("stop", &host.name, "");
        running.shutdown.cancel();
        let ended = timeout(END, running.task).await;
        self.trace.note(&host.name, if ended.is_ok() { "has ended" } else { "does not end" });
        running.ended.store(true, Ordering::Relaxed);
        self.network.down(number, false);
        running.files.close();
        self.hosts[number].remembered.clear();
    }

    /// The database of headquarters is lost, and comes back as it was.
    fn restore(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        self.crash(HQ, true);
        self.trace.count("restore", "hq", "");
        let path = self.folder.join(format!("restored-{}", self.copies)).join("data.db");
        self.copies += 1;
        copy(&backup, &path);
        self.hosts[HQ].path.clone_from(&path);
        let (ids, disk) = self.equipment(HQ, &Arc::default());
        let config = hq_config(DatabaseUrl::Sqlite(path.clone()), &self.plan);
        let file = File::open(&path, disk, config, &ids).expect("the copy opens");
        let stores: Vec<_> =
            (1..=self.plan.stores()).map(|n| self.name(n).parse().expect("a name")).collect();
        if self.bug != BROUGHT_BACK {
            file.mark_restored(ids.mint(), &stores).expect("noted");
        }
        file.close();
        self.start(HQ);
    }

    /// Something happens.
    pub async fn happen(&mut self, event: Event) {
        match event {
            Event::Hold(links) => {
                self.trace.count("cut", "network", format_args!("{links:?}"));
                self.network.hold(&links);
            }
            Event::Release(links, fate) => {
                self.trace.note("network", format_args!("{fate:?} {links:?}"));
                self.network.release(&links, fate);
            }
            Event::Reset(links) => {
                self.trace.count("reset", "network", format_args!("{links:?}"));
                self.network.reset(&links);
            }
            Event::Kill(host) => self.crash(host, false),
            Event::PowerCut(host) => self.crash(host, true),
            Event::Stop(host) => self.stop(host).await,
            Event::Start(host) => self.start(host),
            Event::Jump(host, by) => {
                self.trace.count("clock jump", &self.hosts[host].name, by);
                self.hosts[host].clock.ahead.fetch_add(by, Ordering::Relaxed);
            }
            Event::Slow(host, millis) => {
                if millis > 0 {
                    self.trace.count("slow disk", &self.hosts[host].name, millis);
                }
                self.hosts[host].slow.store(millis, Ordering::Relaxed);
            }
            Event::Remember(host) if self.hosts[host].running.is_some() => {
                let to = self.folder.join(format!("remembered-{}", self.copies)).join("data.db");
                self.copies += 1;
                copy(&self.hosts[host].path, &to);
                if self.bug == LYING_DISK {
                    copy(&channel_svc::log_file(&self.hosts[host].path), &channel_svc::log_file(&to));
                }
                self.hosts[host].remembered.push(to);
            }
            Event::Remember(_) => {}
            Event::BackUp => {
                let to = self.folder.join("backup").join("data.db");
                copy(&self.hosts[HQ].path, &to);
                self.backup = Some(to);
            }
            Event::Restore => self.restore(),
        }
    }

    /// Everything that was drawn happens, and then everything is well again.
    pub async fn suffer(&mut self) {
        let mut now = Duration::ZERO;
        for (at, event) in std::mem::take(&mut self.plan.events) {
            sleep(at.saturating_sub(now)).await;
            now = at.max(now);
            self.happen(event).await;
        }
        self.trace.note("everything", "heals");
        let hosts = office(self.plan.stores());
        let pairs = (0..=hosts).flat_map(|from| (0..=hosts).map(move |to| (from, to)));
        self.network.release(&pairs.collect::<Vec<_>>(), Fate::Outlive);
        for number in 0..self.hosts.len() {
            self.hosts[number].slow.store(0, Ordering::Relaxed);
            self.start(number);
        }
    }

    /// Everybody ends, and their files go.
    pub async fn end(mut self) {
        for number in 0..self.hosts.len() {
            self.crash(number, false);
        }
        sleep(Duration::from_secs(1)).await;
        self.disks.shutdown_background();
        if std::env::var_os("KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn hq_config(database: DatabaseUrl, plan: &Plan) -> hq_svc::Config {
    hq_svc::Config { schedules: plan.schedules.clone(), ..hq_svc::Config::new(database) }
}
