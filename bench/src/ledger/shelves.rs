//! What was read, on disk: sorted into parts by a key, so that a comparison never holds more than a part of it in
//! memory, however many customers there are.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

/// Parts of each shelf: of a million customers each holds some 16,000.
pub const PARTS: usize = 64;

/// A folder with shelves; removed when it is dropped.
pub struct Shelves(TempDir);

impl Shelves {
    /// An empty one, below the folder for temporary files.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self(tempfile::Builder::new().prefix("tillsync-ledger-").tempdir()?))
    }

    /// Begins a shelf.
    ///
    /// # Errors
    ///
    /// The operating system refuses a file.
    pub fn shelf(&self, name: &str) -> io::Result<Shelf> {
        let path = |part: usize| part_path(self.0.path(), name, part);
        let parts = (0..PARTS).map(|part| File::create(path(part)).map(BufWriter::new));
        Ok(Shelf { parts: parts.collect::<Result<_, _>>()? })
    }

    /// A part of a shelf that was closed.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn part<T: DeserializeOwned>(&self, name: &str, part: usize) -> io::Result<Vec<T>> {
        let lines = BufReader::new(File::open(part_path(self.0.path(), name, part))?).lines();
        lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::from)).collect()
    }
}

fn part_path(folder: &Path, name: &str, part: usize) -> PathBuf {
    folder.join(format!("{name}-{part}"))
}

/// A shelf that is being filled.
pub struct Shelf {
    parts: Vec<BufWriter<File>>,
}

impl Shelf {
    /// Puts something where the key belongs.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn put(&mut self, key: &[u8], what: &impl Serialize) -> io::Result<()> {
        let part = &mut self.parts[place(key)];
        serde_json::to_writer(&mut *part, what)?;
        part.write_all(b"\n")
    }

    /// Everything is on it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn close(self) -> io::Result<()> {
        self.parts.into_iter().try_for_each(|mut part| part.flush())
    }
}

/// The part of a key: by a hash, because keys may be alike at their beginning or at their end.
fn place(key: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % PARTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_on_a_shelf_is_found_once_and_in_its_part() {
        let shelves = Shelves::new().unwrap();
        let mut shelf = shelves.shelf("numbers").unwrap();
        for number in 0..10_000_u32 {
            shelf.put(format!("C-{number:08}").as_bytes(), &number).unwrap();
        }
        shelf.close().unwrap();
        let parts: Vec<Vec<u32>> = (0..PARTS).map(|part| shelves.part("numbers", part).unwrap()).collect();
        let mut all: Vec<u32> = parts.iter().flatten().copied().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..10_000));
        assert!(parts.iter().all(|part| (50..350).contains(&part.len())));
        assert!(parts[place(b"C-00000042")].contains(&42));
    }
}
