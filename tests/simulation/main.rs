//! The whole system, simulated: headquarters, stores and tills over a network, clocks and disks that a seed breaks and heals
//! again, hours in seconds. Every run has to end healed: nothing waits, all nodes are equal, nobody is lost or doubled.
//!
//! `SEEDS=3000 CREATES=1000 STORES=50 MINUTES=30 cargo test --release -p tillsync-simulation healed -- --nocapture`
//!
//! `SEED` is the first seed, `JOBS` how many run at a time, `TRACE` a file for everything that happens in the last one;
//! `KEEP=1` leaves its databases in `/dev/shm`.

#![allow(clippy::expect_used, clippy::panic, reason = "this is test code")]

mod books;
mod disk;
mod network;
mod plan;
mod run;
mod tills;
mod trace;
mod world;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    str::FromStr,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use plan::Size;

/// A number that the long form sets by an environment variable.
fn setting<T: FromStr>(name: &str, short: T) -> T {
    let read = |text: String| text.parse().unwrap_or_else(|_| panic!("{name}: not a number"));
    std::env::var(name).ok().map_or(short, read)
}

fn size() -> Size {
    let (stores, minutes) = (setting("STORES", 12).max(10), setting("MINUTES", 15).max(5));
    Size { creates: setting("CREATES", 100), stores, minutes }
}

/// What takes chance out of a process; `None` if the machine has no C compiler: the test is then reported as skipped, and
/// with `CI=true` that is a failure.
fn without_chance() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let compile = || {
        Command::new("cc").arg("--version").output().ok()?;
        let name = format!("chance-{}.so", std::process::id());
        let (to, root) = (Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), env!("CARGO_MANIFEST_DIR"));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&to);
        let done = cc.arg(Path::new(root).join("chance.c")).status().expect("the compiler runs");
        assert!(done.success(), "chance.c is compiled");
        Some(to)
    };
    let shim = SHIM.get_or_init(compile).as_deref();
    assert!(shim.is_some() || std::env::var("CI").as_deref() != Ok("true"), "no C compiler on this machine");
    if shim.is_none() {
        eprintln!("skipped: simulation (no C compiler found; install cc)");
    }
    shim
}

/// Runs a seed in a process of its own, in which nothing is left to chance, and with a bug if one is named.
fn run(shim: &Path, seed: u64, size: Size, bug: &str) -> Output {
    process(shim, seed, size, bug).output().expect("this program runs")
}

fn process(shim: &Path, seed: u64, size: Size, bug: &str) -> Command {
    let mut process = Command::new(std::env::current_exe().expect("this program"));
    // With one thread it would be the main one, whose stack is not ours to say, and what it prints would begin with its name.
    process.args(["--exact", "one_seed", "--ignored", "--nocapture", "--test-threads", "2"]);
    process.env("LD_PRELOAD", shim).env("SEED", seed.to_string()).env("TILLSYNC_PLANTED", bug);
    process.env("CREATES", size.creates.to_string()).env("STORES", size.stores.to_string());
    process.env("MINUTES", size.minutes.to_string());
    process.env("RUST_MIN_STACK", (16 << 20).to_string());
    process
}

/// The figure of this name in what a run has printed.
fn figure(output: &Output, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let of = |word: &str| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    text.lines().filter(|line| line.starts_with("seed=")).flat_map(str::split_whitespace).find_map(of)
}

fn number<T: FromStr + Default>(output: &Output, name: &str) -> T {
    figure(output, name).and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[test]
fn every_seed_ends_healed() {
    let Some(shim) = without_chance() else { return };
    let (first, seeds, size) = (setting("SEED", 1), setting("SEEDS", 3), size());
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let (creates, millihours) = (AtomicU64::new(0), AtomicU64::new(0));
    let jobs = setting("JOBS", thread::available_parallelism().map_or(1, usize::from));
    thread::scope(|scope| {
        for job in 0..jobs {
            let (next, failed, creates, millihours) = (&next, &failed, &creates, &millihours);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let mut process = process(shim, seed, size, "");
                    let output =
                        process.env("PROCESSOR", job.to_string()).output().expect("this program runs");
                    let text = String::from_utf8_lossy(&output.stdout);
                    text.lines().filter(|line| line.starts_with("seed=")).for_each(|line| println!("{line}"));
                    creates.fetch_add(number(&output, "creates"), Ordering::Relaxed);
                    let hours: f64 = number(&output, "hours");
                    millihours.fetch_add((hours * 1_000.0) as u64, Ordering::Relaxed);
                    if !output.status.success() {
                        let told = String::from_utf8_lossy(&output.stderr);
                        println!("seed {seed} FAILED\n{told}\n{}", again(seed, size));
                        failed.lock().expect("no panic").push(seed);
                    }
                }
            });
        }
    });
    let hours = millihours.into_inner() as f64 / 1_000.0;
    println!("{seeds} seeds from {first}: {} creates in {hours:.0} hours", creates.into_inner());
    let failed = failed.into_inner().expect("no panic");
    assert!(failed.is_empty(), "seeds {failed:?} failed");
}

/// How to see a seed again.
fn again(seed: u64, size: Size) -> String {
    format!(
        "again, with everything that happens in the file `trace`:\nTRACE=trace SEED={seed} SEEDS=1 CREATES={} STORES={} MINUTES={} \
         cargo test -p tillsync-simulation healed -- --nocapture",
        size.creates, size.stores, size.minutes
    )
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let Some(shim) = without_chance() else { return };
    let size = Size { creates: 20, stores: 10, minutes: 5 };
    let traces: Vec<_> = [1, 1, 2].map(|seed| figure(&run(shim, seed, size, ""), "trace")).to_vec();
    assert!(traces[0].is_some() && traces[0] == traces[1], "{traces:?}");
    assert_ne!(traces[0], traces[2]);
}

/// A disk that says that it has synced, and has not: a power cut takes back the log, too.
const LYING_DISK: &str = "the disk lies";
/// Headquarters' database is brought back without the command that notes it.
const BROUGHT_BACK: &str = "the copy is brought back by hand";

/// Bugs in the services (`planted.rs`), and what a simulated world can do to services that have none.
#[test]
fn planted_bugs_are_caught() {
    let Some(shim) = without_chance() else { return };
    let small = Size { creates: 50, stores: 10, minutes: 5 };
    let large = Size { creates: 1_000, stores: 12, minutes: 6 };
    // Each from a seed on that is known to have what it takes.
    for (bug, first, size) in [
        (LYING_DISK, 4, small),
        (BROUGHT_BACK, 1, small),
        ("newer rows do not apply", 3, small),
        ("the last edit comes first", 30_001, large),
    ] {
        let caught = (first..first + 20).find(|seed| !run(shim, *seed, size, bug).status.success());
        assert!(caught.is_some(), "nobody notices that {bug}");
        println!("{bug}: caught by seed {}", caught.unwrap_or_default());
    }
}

#[test]
#[ignore = "started by the others, in a process of its own"]
fn one_seed() {
    run::seed(setting("SEED", 1), size(), &std::env::var("TILLSYNC_PLANTED").unwrap_or_default());
}
