//! More than a service takes, and callers that mean harm: ten times the load, connections that say nothing, readers that do not
//! read, calls that never end, messages and heads that are too large. Memory stays bounded, refusals are honest, and it is as
//! fast as before once they are gone. `OVERLOAD_SECONDS=120 cargo test -p tillsync-tests --test overload -- --nocapture`;
//! `ONLY=terminal` for that service alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "this is test code, and shares some with the scenarios"
)]

#[path = "../scenarios/client.rs"]
mod client;
#[path = "../scenarios/processes.rs"]
mod processes;
#[path = "../scenarios/faults/raw.rs"]
mod raw;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use service_kit::{
    clock::{Clock as _, SystemClock},
    process::allow_many_files,
};
use tillsync_proto::{
    CHANNEL_METADATA,
    pb::{
        channel::{CreateCustomerRequest, ListCustomersRequest},
        hq::{self, real_time_service_client::RealTimeServiceClient},
    },
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    client::{Store, mint, person, setting, until},
    processes::{Process, free_port},
};

/// Memory of a service at its peak.
const MAX_MEMORY_MIB: u64 = 512;
/// Callers that measure how fast it is: one create after the other.
const CALLERS: usize = 8;
/// Connections of the overload, and calls under way at most: more than a service's queue holds.
const CONNECTIONS: usize = 64;
const UNDER_WAY: usize = 12_000;
/// So much more is offered than those callers get.
const TIMES: f64 = 10.0;
/// Within so long after the end, in seconds, it is as fast as before but for a tenth (`RECOVERY_SECONDS=5 RECOVERED=0.9`). The
/// short form asks whether it serves again; how fast is for a machine that does nothing else.
const RECOVERY_SECONDS: u64 = 60;
const RECOVERED: f64 = 0.1;

/// A service that creates.
#[derive(Clone)]
enum Service {
    Store(Box<Store>),
    Hq(RealTimeServiceClient<Channel>),
}

impl Service {
    /// On a connection of its own.
    fn at(is_hq: bool, url: &str) -> Self {
        match is_hq {
            false => Self::Store(Box::new(Store::new("store-1", url))),
            true => {
                let channel = Channel::from_shared(url.to_owned()).expect("a URL").connect_lazy();
                Self::Hq(RealTimeServiceClient::new(channel))
            }
        }
    }

    async fn create(&self) -> Result<(), Status> {
        let id = mint();
        let customer = person(&id.simple().to_string());
        let patience = Duration::from_secs(60);
        match self {
            Self::Store(store) => {
                let (customer, customer_id) = (Some(customer), id.to_string());
                let mut request =
                    Request::new(CreateCustomerRequest { customer, customer_id, validate_only: false });
                request.set_timeout(patience);
                store.tills.clone().create_customer(request).await.map(|_| ())
            }
            Self::Hq(hq) => {
                let mut customer = customer;
                customer.customer_id = id.to_string();
                customer.contacts[0].contact_id = mint().to_string();
                let create = hq::CreateCustomerRequest { customer: Some(customer), fingerprint: Vec::new() };
                let mut request = Request::new(create);
                request.set_timeout(patience);
                request.metadata_mut().insert(CHANNEL_METADATA, MetadataValue::from_static("store-1"));
                hq.clone().create_customer(request).await.map(|_| ())
            }
        }
    }
}

/// Callers that create one after the other, and how many they have made.
struct Callers {
    made: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Callers {
    fn start(is_hq: bool, url: &str) -> Self {
        let (made, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        for _ in 0..CALLERS {
            let (service, made) = (Service::at(is_hq, url), Arc::clone(&made));
            tasks.spawn(async move {
                loop {
                    match service.create().await {
                        Ok(()) => made.fetch_add(1, Ordering::Relaxed),
                        Err(_) => {
                            sleep(Duration::from_millis(20)).await;
                            0
                        }
                    };
                }
            });
        }
        Self { made, _tasks: tasks }
    }

    /// Creates per second, for so long.
    async fn rate(&self, span: Duration) -> f64 {
        let (begin, before) = (SystemClock.now(), self.made.load(Ordering::Relaxed));
        sleep(span).await;
        (self.made.load(Ordering::Relaxed) - before) as f64 / begin.elapsed().as_secs_f64()
    }

    /// Waits until it is nearly as fast as before; gives how fast, and how long that took.
    async fn recovered(&self, before: f64, after: &str) -> (f64, Duration) {
        let (begin, share) = (SystemClock.now(), setting("RECOVERED", RECOVERED));
        let patience = Duration::from_secs(setting("RECOVERY_SECONDS", RECOVERY_SECONDS));
        let mut best = 0.0_f64;
        while begin.elapsed() < patience {
            best = best.max(self.rate(Duration::from_millis(500)).await);
            if best >= share * before {
                return (best, begin.elapsed());
            }
        }
        panic!("after {after}: {best:.0} creates per second where there were {before:.0}");
    }
}

/// How calls ended, by code and whether a refusal says when to come back.
type Outcomes = BTreeMap<(i32, bool), u64>;

/// Offers so many creates per second for so long, whatever becomes of them; waits for the last answer.
async fn flood(is_hq: bool, url: &str, per_second: f64, span: Duration) -> Outcomes {
    let services: Vec<Service> = (0..CONNECTIONS).map(|_| Service::at(is_hq, url)).collect();
    let (outcomes, room) = (Arc::new(Mutex::new(Outcomes::new())), Arc::new(Semaphore::new(UNDER_WAY)));
    let mut calls = JoinSet::new();
    let (begin, mut tick, mut offered) = (SystemClock.now(), interval(Duration::from_millis(10)), 0);
    while begin.elapsed() < span {
        tick.tick().await;
        let due = (begin.elapsed().as_secs_f64() * per_second) as usize;
        for number in offered..due {
            // More than that many callers a machine of this size cannot play.
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
            let (service, outcomes) = (services[number % CONNECTIONS].clone(), Arc::clone(&outcomes));
            calls.spawn(async move {
                let (code, hint) = match service.create().await {
                    Ok(()) => (Code::Ok, true),
                    Err(status) => (status.code(), status.get_details_retry_info().is_some()),
                };
                *outcomes.lock().expect("no panic").entry((code as i32, hint)).or_default() += 1;
                drop(permit);
            });
        }
        offered = due;
        while calls.try_join_next().is_some() {}
    }
    calls.join_all().await;
    Arc::into_inner(outcomes).expect("all calls have ended").into_inner().expect("no panic")
}

/// Connections that send this and then nothing, and never read, until they are dropped. Gives how many there could be.
async fn silent(url: &str, count: usize, say: &[u8]) -> Vec<TcpStream> {
    let address = url.trim_start_matches("http://");
    let mut connections = Vec::new();
    for _ in 0..count {
        let Ok(mut connection) = TcpStream::connect(address).await else { break };
        // A service that does not read any more is a bound too.
        let _ = timeout(Duration::from_millis(100), connection.write_all(say)).await;
        connections.push(connection);
    }
    connections
}

/// Many calls of one connection that ask for a page each, and do not read it.
fn pages() -> Vec<u8> {
    use prost::Message as _;
    let list = ListCustomersRequest { page_size: 1_000, page_token: String::new() }.encode_to_vec();
    let path = "/tillsync.channel.v1.CustomerService/ListCustomers";
    let mut said = raw::preface();
    (0..setting("UNREAD_PAGES", 20)).for_each(|call| said.extend(raw::call(2 * call + 1, path, &list)));
    said
}

/// Many calls of one connection that announce almost 4 MiB each, send what the window takes, and never the rest.
fn halves(path: &str) -> Vec<u8> {
    let mut said = raw::preface();
    let mut announced = vec![0];
    announced.extend((4_u32 << 20).to_be_bytes());
    announced.resize(16_000, b'x');
    for call in 0..60 {
        said.extend(raw::head(2 * call + 1, path, &[]));
        (0..4).for_each(|_| said.extend(raw::frame(0, 0, 2 * call + 1, &announced)));
    }
    said
}

/// What is too large, or claims to be compressed to almost nothing.
fn monsters(path: &str) -> Vec<Vec<u8>> {
    let large = "x".repeat(1 << 20);
    let with = |bytes: Vec<u8>| [raw::preface(), bytes].concat();
    let bomb = [
        raw::head(1, path, &[("grpc-encoding", "gzip")]),
        raw::frame(0, 1, 1, &raw::message(true, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])),
    ];
    let announced = [raw::head(1, path, &[]), raw::frame(0, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff])];
    vec![
        with(raw::head(1, path, &[("x-large", &large)])),
        with(bomb.concat()),
        with(announced.concat()),
        // Heads that are opened and taken back, over and over.
        with(
            (0..2_000)
                .flat_map(|n| {
                    [raw::head(2 * n + 1, path, &[]), raw::frame(3, 0, 2 * n + 1, &[0; 4])].concat()
                })
                .collect(),
        ),
        // Settings and pings that nobody needs.
        with(
            (0..5_000)
                .flat_map(|_| [raw::frame(4, 0, 0, &[]), raw::frame(6, 0, 0, &[0; 8])].concat())
                .collect(),
        ),
        b"GET /metrics HTTP/1.1\r\nhost: till\r\nx-endless: ".to_vec(),
    ]
}

/// What is overloaded.
struct Target {
    name: &'static str,
    /// It serves headquarters' real-time service.
    is_hq: bool,
    url: String,
    process: Process,
    /// What it calls.
    _behind: Option<Box<Self>>,
    _folder: tempfile::TempDir,
}

impl Target {
    /// A service on a file of its own; `rest` is what it is started with behind the port and that file.
    fn start(name: &'static str, role: &str, rest: &[&str], behind: Option<Self>) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let database = format!("sqlite:{}", folder.path().join("data.db").display());
        let mut arguments = vec![role, &port];
        // The emulator keeps nothing.
        arguments.extend((role != "emulator").then_some(&*database));
        arguments.extend(rest);
        let (process, url) = (Process::start(&arguments), format!("http://127.0.0.1:{port}"));
        let is_hq = matches!(role, "hq" | "emulator");
        Self { name, is_hq, url, process, _behind: behind.map(Box::new), _folder: folder }
    }

    /// A store whose headquarters cannot be reached.
    fn store(name: &'static str) -> Self {
        let nowhere = format!("http://127.0.0.1:{}", free_port());
        Self::start(name, "channel", &["store-1", &nowhere, &nowhere], None)
    }

    fn headquarters(name: &'static str) -> Self {
        Self::start(name, "hq", &[], None)
    }

    /// A terminal of such a store.
    fn terminal(name: &'static str) -> Self {
        let store = Self::store("its store");
        let url = store.url.clone();
        Self::start(name, "terminal", &["till-1", &url], Some(store))
    }

    fn emulator(name: &'static str) -> Self {
        let hq = Self::headquarters("its headquarters");
        let url = hq.url.clone();
        Self::start(name, "emulator", &[&url], Some(hq))
    }

    async fn is_overloaded(&self) {
        let Self { name, is_hq, url, process, .. } = self;
        let (is_hq, span) = (*is_hq, Duration::from_secs(setting("OVERLOAD_SECONDS", 3)));
        let hostile = setting("HOSTILE_CONNECTIONS", 30);
        let idle = setting("IDLE_CONNECTIONS", 10_000_usize);
        let path = match is_hq {
            true => "/tillsync.hq.v1.RealTimeService/CreateCustomer",
            false => "/tillsync.channel.v1.CustomerService/CreateCustomer",
        };
        let callers = Callers::start(is_hq, url);
        // Warm.
        until("creates begin", async || callers.made.load(Ordering::Relaxed) > 200).await;
        let before = callers.rate(Duration::from_secs(3)).await;
        let told = |what: &str, (rate, took): (f64, Duration)| {
            let (peak, took) = (process.peak_memory_mib(), took.as_secs_f64());
            println!(
                "{name}, {what}: {peak} MiB at most, {rate:.0} creates/s of {before:.0} after {took:.1} s"
            );
            assert!(peak < MAX_MEMORY_MIB, "{name} had {peak} MiB: {what}");
        };

        let outcomes = flood(is_hq, url, TIMES * before, span).await;
        println!("{name}: {outcomes:?} (code, retry hint)");
        told("ten times the load", callers.recovered(before, "ten times the load").await);
        for (code, hint) in outcomes.keys() {
            let refused = [Code::ResourceExhausted, Code::Unavailable].map(|code| code as i32).contains(code);
            assert!(*code == 0 || refused && *hint, "{name} answered {:?}", Code::from(*code));
        }

        let connections = silent(url, idle, &raw::preface()).await;
        println!("{name}: {} idle connections", connections.len());
        assert!(connections.len() >= idle.min(900), "{name} takes connections");
        told("idle connections", callers.recovered(before, "idle connections, which are still there").await);
        drop(connections);

        if !is_hq {
            let slow = silent(url, hostile, &pages()).await;
            told("readers that do not read", callers.recovered(before, "readers that do not read").await);
            drop(slow);
        }
        let endless = silent(url, hostile, &halves(path)).await;
        told("calls that never end", callers.recovered(before, "calls that never end").await);
        drop(endless);
        let mut monstrous = Vec::new();
        for monster in monsters(path) {
            monstrous.extend(silent(url, 20, &monster).await);
        }
        told("what is too large", callers.recovered(before, "what is too large").await);
    }
}

type Start = fn(&'static str) -> Target;

/// One after the other: each is compared with itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z3_services_under_overload_refuse_honestly_and_are_as_fast_as_before_when_it_ends() {
    allow_many_files();
    let only: String = setting("ONLY", String::new());
    let targets: [(&str, Start); 4] = [
        ("a store", Target::store),
        ("headquarters", Target::headquarters),
        ("a terminal", Target::terminal),
        ("the emulator", Target::emulator),
    ];
    let named = targets.into_iter().filter(|(name, _)| name.contains(&only)).collect::<Vec<_>>();
    assert!(!named.is_empty(), "ONLY={only}: no such service");
    for (name, start) in named {
        start(name).is_overloaded().await;
    }
}
