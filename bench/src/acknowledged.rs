//! The GUIDs whose creates were acknowledged: in a file at once, one a line, so that `tillsync ledger --acknowledged`
//! can check them after a crash.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use uuid::Uuid;

use crate::error::Error;

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

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file lacks some, and which file it is.
    #[must_use]
    pub fn incomplete_file(&self) -> Option<&Path> {
        self.failed.load(Ordering::Relaxed).then_some(self.path.as_path())
    }
}

/// Reads such a file, one GUID after the other.
///
/// # Errors
///
/// [`Error::Read`], [`Error::Usage`] for a line that is no GUID, or what `take` says.
pub fn read(path: &Path, mut take: impl FnMut(Uuid) -> Result<(), Error>) -> Result<(), Error> {
    let wrong = |source| Error::Read { path: path.to_owned(), source };
    let lines = BufReader::new(File::open(path).map_err(wrong)?).lines();
    for (line, content) in (1..).zip(lines) {
        let id = Uuid::try_parse(content.map_err(wrong)?.trim());
        take(id.map_err(|_| Error::Usage(format!("{}: line {line} is no GUID", path.display())))?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acknowledged.txt");
        let acknowledged = Acknowledged::create(&path).unwrap();
        let ids = [1, 2, 2, 3].map(Uuid::from_u128);
        ids.into_iter().for_each(|id| acknowledged.add(id));
        let mut heard = Vec::new();
        let mut hear = |id| {
            heard.push(id);
            Ok(())
        };
        read(&path, &mut hear).unwrap();
        assert_eq!((heard.as_slice(), acknowledged.incomplete_file()), (&ids[..], None));
        fs::write(&path, "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c6d\nnobody\n").unwrap();
        assert!(read(&path, |_| Ok(())).unwrap_err().to_string().ends_with("line 2 is no GUID"));
        assert!(matches!(read(folder.path(), |_| Ok(())), Err(Error::Read { .. })));
    }
}
