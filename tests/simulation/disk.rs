//! A host's disk in one of its lives: how long its transactions take, and what is left of its files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, rngs::StdRng};
use service_kit::{serve::Boxed, simulation::Pace};
use tokio::time::sleep;

use crate::trace::Trace;

/// Most milliseconds that a transaction takes to reach the disk, and its answer to come back, on a good day.
const THERE: u64 = 3;
const BACK: u64 = 1;
/// How often a log is written back. That does nothing but take time, and is asked for all the time.
const WRITTEN_BACK: Duration = Duration::from_secs(120);

/// The pace of a disk while its host lives.
pub struct HostPace {
    pub name: String,
    pub trace: Trace,
    pub chance: Mutex<StdRng>,
    /// Most milliseconds that a transaction takes longer at present.
    pub slow: Arc<AtomicU64>,
    /// The host has ended: nothing reaches its disk any more, and nobody learns what did.
    pub ended: Arc<AtomicBool>,
}

impl HostPace {
    async fn take(&self, most: u64) {
        let most = most + self.slow.load(Ordering::Relaxed);
        let millis = self.chance.lock().expect("nobody panics").random_range(0..=most);
        if millis > 0 {
            sleep(Duration::from_millis(millis)).await;
        }
        if self.ended.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

impl Pace for HostPace {
    fn before(&self, transaction: &'static str) -> Boxed<'_, ()> {
        Box::pin(async move {
            if transaction == "checkpoint" {
                sleep(WRITTEN_BACK).await;
            }
            self.take(THERE).await;
            self.trace.note(&self.name, transaction);
        })
    }

    fn after(&self, _: &'static str) -> Boxed<'_, ()> {
        Box::pin(self.take(BACK))
    }
}

/// The write-ahead log of a SQLite file.
fn wal(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

/// Copies a SQLite file with its write-ahead log, while nothing is written.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder is made");
    fs::copy(from, to).expect("a file is copied");
    if wal(from).exists() {
        fs::copy(wal(from), wal(to)).expect("a file is copied");
    }
}

/// Whether nothing has been written back, and so nothing synced, since a file was copied: a power cut may then bring the copy
/// back.
pub fn can_fall_back(now: &Path, copy: &Path) -> bool {
    let read = |path| fs::read(path).expect("a file is read");
    read(now) == read(copy)
}
