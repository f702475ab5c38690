//! What happened, in order: each line goes into one number, by which two runs of a seed are compared.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::File,
    hash::{DefaultHasher, Hasher as _},
    io::Write as _,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
};

use service_kit::clock::{Clock, SystemClock};
use tokio::time::Instant;

/// When every simulation begins, in microseconds since 1970.
const BEGIN: i64 = 1_800_000_000_000_000;

/// Simulated time, which goes by on the thread of the simulation, and everything that happens in it. Clones are the same.
#[derive(Clone)]
pub struct Trace(Arc<Shared>);

struct Shared {
    begin: Instant,
    thread: ThreadId,
    /// Microseconds since the beginning, as the thread of the simulation last saw them.
    now: AtomicU64,
    written: Mutex<Written>,
}

struct Written {
    hash: DefaultHasher,
    /// How often each kind of thing happened.
    counts: BTreeMap<String, u64>,
    file: Option<File>,
}

impl Trace {
    /// On the thread, and in the runtime, of the simulation. The lines go to the file that `TRACE` names, too.
    pub fn new() -> Self {
        let file = std::env::var("TRACE").ok().map(|path| File::create(path).expect("the file of the trace"));
        // The same keys in every process.
        let written = Written { hash: DefaultHasher::new(), counts: BTreeMap::new(), file };
        Self(Arc::new(Shared {
            begin: SystemClock.now(),
            thread: thread::current().id(),
            now: AtomicU64::new(0),
            written: Mutex::new(written),
        }))
    }

    /// Microseconds since the beginning. Other threads work while the simulation waits for them: for them time stands still.
    pub fn micros(&self) -> u64 {
        if thread::current().id() == self.0.thread {
            let elapsed = SystemClock.now().saturating_duration_since(self.0.begin);
            self.0.now.store(elapsed.as_micros().try_into().expect("a short time"), Ordering::Relaxed);
        }
        self.0.now.load(Ordering::Relaxed)
    }

    /// Something happened to somebody.
    pub fn note(&self, who: impl Display, what: impl Display) {
        let line = format!("{:>14.6} {who} {what}\n", self.micros() as f64 / 1e6);
        let mut written = self.lock();
        written.hash.write(line.as_bytes());
        if let Some(file) = &mut written.file {
            file.write_all(line.as_bytes()).expect("the trace is written");
        }
    }

    /// The same, counted under its kind.
    pub fn count(&self, kind: &str, who: impl Display, what: impl Display) {
        *self.lock().counts.entry(kind.to_owned()).or_default() += 1;
        self.note(who, format_args!("{kind} {what}"));
    }

    /// How often each kind of thing was counted.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    /// Everything that happened, as one number.
    pub fn hash(&self) -> u64 {
        self.lock().hash.finish()
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.written.lock().expect("nobody panics while writing")
    }
}

/// A host's clock: simulated time, wrong by as much as somebody has made it wrong. Clones are the same.
#[derive(Clone)]
pub struct HostClock {
    pub trace: Trace,
    /// By so many microseconds its wall clock is ahead.
    pub ahead: Arc<AtomicI64>,
}

impl Clock for HostClock {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn wall_micros(&self) -> i64 {
        let elapsed = i64::try_from(self.trace.micros()).expect("a short time");
        BEGIN + elapsed + self.ahead.load(Ordering::Relaxed)
    }
}
