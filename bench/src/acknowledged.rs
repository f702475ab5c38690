//! The GUIDs whose creates were acknowledged: in memory for the ledger, and at once in a file, one a line, so
//! that `tillsync ledger --acknowledged` can check them after a crash.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::error::Error;

/// Most GUIDs of one session; further ones are counted as an error by the plan, which bounds the arrivals.
pub const MAX_ACKNOWLEDGED: usize = 20_000_000;

/// Acknowledged GUIDs.
#[derive(Debug)]
pub struct Acknowledged {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    ids: HashSet<Uuid>,
    file: File,
    failed: bool,
}

impl Acknowledged {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(|source| Error::Write { path: path.to_owned(), source })?;
        let inner = Mutex::new(Inner { ids: HashSet::new(), file, failed: false });
        Ok(Self { path: path.to_owned(), inner })
    }

    /// Adds one, in memory and in the file.
    pub fn add(&self, id: Uuid) {
        let mut inner = self.lock();
        inner.ids.insert(id);
        // Without a buffer: what was acknowledged before a crash of the harness is in the file.
        let written = writeln!(inner.file, "{id}");
        inner.failed |= written.is_err();
    }

    /// All of them.
    #[must_use]
    pub fn ids(&self) -> HashSet<Uuid> {
        self.lock().ids.clone()
    }

    /// Whether the file lacks some, and which file it is.
    #[must_use]
    pub fn incomplete_file(&self) -> Option<&Path> {
        self.lock().failed.then_some(self.path.as_path())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(read(&path).unwrap(), acknowledged.ids());
        assert_eq!((acknowledged.ids().len(), acknowledged.incomplete_file()), (3, None));
        fs::write(&path, "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c6d\nnobody\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("line 2 is no GUID"));
        assert!(matches!(read(folder.path()), Err(Error::Read { .. })));
    }
}
