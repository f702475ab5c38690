//! One seed, from its first minute to the comparison of the books.

use std::{
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Builder, time::timeout};

use crate::{
    books::Office,
    plan::{Plan, Size, office, tills_of},
    tills::{Said, Till, all},
    world::World,
};

/// How long tills may take for their last customers once everything is well, and the chain to be level after that.
const LAST: Duration = Duration::from_secs(1_800);
/// How long a seed may take in real time.
const PATIENCE: Duration = Duration::from_secs(600);

/// Something panicked, in whatever task.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Simulates a seed, with a bug unless it is empty, and panics if it does not end healed.
pub fn seed(seed: u64, size: Size, bug: &str) {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::Relaxed);
        told(panic);
    }));
    // Dropped when the seed has ended.
    let (_ended, ends) = mpsc::channel::<()>();
    thread::spawn(move || {
        if ends.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("seed {seed} has not ended after {PATIENCE:?}");
            std::process::abort();
        }
    });
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let wrong = runtime.block_on(simulate(seed, size, bug));
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    assert!(!PANICKED.load(Ordering::Relaxed), "seed {seed}: something panicked");
}

/// Real time, which nothing in a simulation may look at.
#[expect(clippy::disallowed_methods, reason = "how long a seed takes is said, and has no effect")]
fn wall() -> std::time::Instant {
    std::time::Instant::now()
}

/// In memory where there is a place for it: it is about what is kept, not about disks.
fn folder(seed: u64) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("tillsync-simulation-{}-{seed}", std::process::id()))
}

async fn simulate(seed: u64, size: Size, bug: &str) -> Vec<String> {
    let begun = wall();
    let plan = Plan::of(seed, size);
    let (stores, numbers_stay) = (plan.stores(), !plan.loses_twice());
    let mut world = World::new(seed, plan, &folder(seed), bug);
    for host in 0..=stores {
        world.start(host);
    }
    for host in 1..=stores {
        world.network.up(tills_of(host, stores));
    }
    world.network.up(office(stores));
    let names = (1..=stores).map(|store| world.name(store).to_owned()).collect();
    let office = Office::new(world.network.from(office(stores)), names);
    office.prepare(world.plan()).await;
    let said = Said::default();
    let working = tokio::spawn(all(tills(&world, seed, &said)));
    world.suffer().await;
    let mut wrong = Vec::new();
    if timeout(world.plan().load + LAST, working).await.is_err() {
        wrong.push("the tills have not been answered".to_owned());
    }
    // What a bug has stopped stands still.
    let last = if bug.is_empty() { LAST } else { LAST / 4 };
    wrong.extend(office.level(last).await.err());
    if wrong.is_empty() {
        let said = std::mem::take(&mut *said.lock());
        wrong = office.audit(&said, numbers_stay).await.unwrap_or_else(|status| vec![status.to_string()]);
    }
    let (trace, counts) = (world.trace.clone(), world.trace.counts());
    let (hash, hours) = (trace.hash(), trace.micros() as f64 / 3_600e6);
    world.end().await;
    let count = |kind| counts.get(kind).copied().unwrap_or_default();
    let faults =
        counts.iter().filter(|(kind, _)| !["create", "read", "search", "edit"].contains(&kind.as_str()));
    let faults: Vec<_> = faults.map(|(kind, count)| format!("{}={count}", kind.replace(' ', "-"))).collect();
    println!(
        "seed={seed} stores={stores} creates={} edits={} hours={hours:.2} trace={hash:016x} wall={:.1}s {}",
        count("create"),
        count("edit"),
        begun.elapsed().as_secs_f64(),
        faults.join(" ")
    );
    wrong
}

fn tills(world: &World, seed: u64, said: &Said) -> Vec<Till> {
    let plan = world.plan();
    let till = |number: usize| {
        let store = 1 + number / plan.tills;
        Till {
            name: format!("till-{store}-{}", number % plan.tills),
            store: world.name(store).to_owned(),
            network: world.network.from(tills_of(store, plan.stores())),
            trace: world.trace.clone(),
            said: said.clone(),
            creates: plan.creates,
            pause: plan.load.div_f64(plan.creates as f64),
            edits: plan.edits,
            seed: seed.wrapping_mul(1_000_003).wrapping_add(number as u64),
        }
    };
    (0..plan.stores() * plan.tills).map(till).collect()
}
