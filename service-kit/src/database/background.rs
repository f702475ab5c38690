//! Writers of what can be built again. Their threads yield to those that answer callers; and what they write goes to the
//! disk as it comes. Left to a checkpoint it would go there at once, some 30 MB, and whoever commits to another file at
//! that moment waits behind it in the disk's queue.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::{runtime::Handle, sync::oneshot};

use super::out_of_transaction;

/// How far such a thread stands behind those that answer callers (`nice`).
const NICE: i32 = 5;
/// How long what is written may wait: some hundred pages.
const STEP: Duration = Duration::from_millis(2);

/// Whether the writer is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Paused,
    UnderWay,
    Over,
}

/// Tells the thread that writes back.
struct Shift {
    work: Mutex<Work>,
    changed: Condvar,
}

impl Shift {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, work: Work) {
        *self.work() = work;
        self.changed.notify_one();
    }

    /// Waits until the writer is at work and something may have been written. False: it never will be again.
    fn step(&self) -> bool {
        loop {
            let paused = self.changed.wait_while(self.work(), |work| *work == Work::Paused);
            let under_way = paused.unwrap_or_else(PoisonError::into_inner);
            let step = self.changed.wait_timeout_while(under_way, STEP, |work| *work == Work::UnderWay);
            match *step.unwrap_or_else(PoisonError::into_inner).0 {
                Work::UnderWay => return true,
                Work::Paused => {}
                Work::Over => return false,
            }
        }
    }
}

/// The writer's end: when it is gone, so is the thread.
struct Writer(Arc<Shift>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.set(Work::Over);
    }
}

/// Opens the writer of a file.
pub(super) async fn connect(
    path: &Path,
    pool: SqlitePoolOptions,
    options: SqliteConnectOptions,
) -> Result<SqlitePool, sqlx::Error> {
    let shift = Arc::new(Shift { work: Mutex::new(Work::Paused), changed: Condvar::new() });
    let writer = Arc::new(Writer(Arc::clone(&shift)));
    let begins = Arc::clone(&writer);
    let pool = pool.before_acquire(move |connection, _| {
        begins.0.set(Work::UnderWay);
        Box::pin(out_of_transaction(connection))
    });
    let pool = pool.after_release(move |_, _| {
        writer.0.set(Work::Paused);
        Box::pin(async { Ok(true) })
    });
    write_back(shift, [path.to_owned(), format!("{}-wal", path.display()).into()])?;
    let (runtime, (connected, connection)) = (Handle::current(), oneshot::channel());
    thread::Builder::new().name("background".to_owned()).spawn(move || {
        // The thread of the connection inherits it. Where it is refused, the priority is as it was.
        let _ = rustix::process::setpriority_process(None, NICE);
        let _ = connected.send(runtime.block_on(pool.connect_with(options)));
    })?;
    connection.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Writes back what stands in these files, step by step while the writer is at work. On a thread that does not yield: it waits
/// for the disk, and what it leaves others have to wait for.
fn write_back(shift: Arc<Shift>, files: [PathBuf; 2]) -> io::Result<()> {
    let thread = thread::Builder::new().name("write-back".to_owned()).spawn(move || {
        // Not closed while the pool is there: that would let go of this process's locks on the file (fcntl(2)).
        let mut open = Vec::new();
        while shift.step() {
            if open.is_empty() {
                open.extend(files.iter().flat_map(File::open));
            }
            // What cannot be written the next checkpoint says.
            open.iter().for_each(|file| drop(file.sync_data()));
        }
    });
    thread.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_while_the_writer_works_and_end_with_it() {
        let shift = Arc::new(Shift { work: Mutex::new(Work::Paused), changed: Condvar::new() });
        let writer = Writer(Arc::clone(&shift));
        let (stepped, steps) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            while shift.step() {
                let _ = stepped.send(());
            }
        });
        writer.0.set(Work::UnderWay);
        for _ in 0..3 {
            steps.recv().unwrap();
        }
        writer.0.set(Work::Paused);
        drop(writer);
        thread.join().unwrap();
    }
}
