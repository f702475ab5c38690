//! The GUIDs whose creates were acknowledged: in a file at once, one a line, so that `tillsync ledger --acknowledged`
//! can check them after a crash.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use uuid::Uuid;

use crate::error::Error;

/// Most GUIDs of one session; further ones are counted as an error by the plan, which bounds the arrivals.
pub const MAX_ACKNOWLEDGED: usize = 20_000_000;

/// Acknowledged GUIDs.
#[derive(Debug)]
pub struct Acknowledged {
    path: PathBuf,
    file: File,
    failed: AtomicBool,
}

impl Acknowledged {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        File::create(path).map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Self::append(path)
    }

    /// Goes on with a file, to which others may write too: each line is written as a whole.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn append(path: &Path) -> Result<Self, Error> {
        let file = File::options().append(true).open(path);
        let file = file.map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, failed: AtomicBool::new(false) })
    }

    /// Adds one.
    pub fn add(&self, id: Uuid) {
        // Without a buffer: what was acknowledged before a crash of the harness is in the file.
        let line = format!("{id}\n");
        if (&self.file).write_all(line.as_bytes()).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    /// All of them.
    ///
    /// # Errors
    ///
    /// As for [`read`].
    pub fn ids(&self) -> Result<HashSet<Uuid>, Error> {
        read(&self.path)
    }

    /// Whether the file lacks some, and which file it is.
    #[must_use]
    pub fn incomplete_file(&self) -> Option<&Path> {
        self.failed.load(Ordering::Relaxed).then_some(self.path.as_path())
    }
}

/// Reads such a file.
///
/// # Errors
///
/// [`Error::Read`], or [`Error::Usage`] for a line that is no GUID or for too many.
pub fn read(path: &Path) -> Result<HashSet<Uuid>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let mut ids = HashSet::new();
    for (line, content) in (1..).zip(text.lines()) {
        let id = Uuid::try_parse(content.trim());
        ids.insert(id.map_err(|_| Error::Usage(format!("{}: line {line} is no GUID", path.display())))?);
        if ids.len() > MAX_ACKNOWLEDGED {
            return Err(Error::Usage(format!("{} has more than {MAX_ACKNOWLEDGED} GUIDs", path.display())));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acknowledged.txt");
        let acknowledged = Acknowledged::create(&path).unwrap();
        for id in [1, 2, 2, 3].map(Uuid::from_u128) {
            acknowledged.add(id);
        }
        let read_again = acknowledged.ids().unwrap();
        assert_eq!(read(&path).unwrap(), read_again);
        assert_eq!((read_again.len(), acknowledged.incomplete_file()), (3, None));
        fs::write(&path, "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c6d\nnobody\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("line 2 is no GUID"));
        assert!(matches!(read(folder.path()), Err(Error::Read { .. })));
    }
}
