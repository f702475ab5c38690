//! Files that may change while the service runs: certificates, keys, tokens. They are read again when they have
//! changed, so that none of them needs a restart.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

use crate::{clock::Clock, config::Chain};

/// How often it is looked, at most, whether a file has changed, or whether what somebody has shown is still believed.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// A file that cannot be used. The text names the file and never repeats what is in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is not what belongs there.
    #[error("{path}: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl FileError {
    /// What is in a file is not what belongs there.
    pub(crate) fn content(path: &Path, what: impl ToString) -> Self {
        Self::Content { path: path.to_owned(), what: what.to_string() }
    }
}

type Read<T> = Box<dyn Fn() -> Result<T, FileError> + Send + Sync>;

/// What was made of some files; whoever asks for it gets what the files say now, give or take [`LOOK`]. While they
/// cannot be used it stays what it was.
pub(crate) struct Reloaded<T> {
    files: Vec<PathBuf>,
    read: Read<T>,
    clock: Arc<dyn Clock>,
    state: RwLock<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    seen: Vec<Option<Stamp>>,
    looked: Instant,
}

/// What tells two contents of a file apart: device, inode, size, time of change in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

impl<T> Reloaded<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn new(
        files: Vec<PathBuf>,
        clock: Arc<dyn Clock>,
        read: impl Fn() -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        // The stamps first: what changes while it is read is read again.
        let seen = files.iter().map(stamp).collect();
        let state = State { value: Arc::new(read()?), seen, looked: clock.now() };
        Ok(Self { files, read: Box::new(read), clock, state: RwLock::new(state) })
    }

    /// What the files say.
    pub fn fresh(&self) -> Arc<T> {
        let now = self.clock.now();
        let due = |state: &State<T>| now.saturating_duration_since(state.looked) >= LOOK;
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if !due(&state) {
                return Arc::clone(&state.value);
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if due(&state) {
            state.looked = now;
            let seen: Vec<_> = self.files.iter().map(stamp).collect();
            if seen != state.seen {
                state.seen = seen;
                match (self.read)() {
                    Ok(value) => {
                        state.value = Arc::new(value);
                        info!(files = ?self.files, "read again");
                    }
                    Err(error) => {
                        let error = Chain(&error);
                        warn!(%error, "a file has changed and cannot be used; what it said before stays in force");
                    }
                }
            }
        }
        Arc::clone(&state.value)
    }
}

/// Reads a text file of at most `most` bytes.
///
/// # Errors
///
/// [`FileError`].
pub(crate) fn read_text(path: &Path, most: u64) -> Result<String, FileError> {
    let wrong = |source| FileError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(wrong)?.len() > most {
        return Err(FileError::content(path, format!("has more than {most} bytes")));
    }
    fs::read_to_string(path).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test(start_paused = true)]
    async fn z4_a_file_that_changes_is_read_again_and_one_that_breaks_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        let file = path.clone();
        let read = move || {
            let text = read_text(&file, 4)?;
            text.parse::<u8>().map_err(|_| FileError::content(&file, "is not a number"))
        };
        let number = Reloaded::new(vec![path.clone()], Arc::new(SystemClock), read).unwrap();
        let mut said = vec![*number.fresh()];
        for text in ["22", "x", "long text", "3"] {
            fs::write(&path, text).unwrap();
            assert_eq!(*number.fresh(), *said.last().unwrap(), "not looked at so soon");
            tokio::time::advance(LOOK).await;
            said.push(*number.fresh());
        }
        fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK).await;
        said.push(*number.fresh());
        assert_eq!(said, [1, 22, 22, 22, 3, 3]);
    }
}
