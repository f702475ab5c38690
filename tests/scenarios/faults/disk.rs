//! A disk that a test can break: `tests/disk/disk.c` in front of a process, and what a power cut leaves of its files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::Chance;
use crate::architecture::root;

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Nothing = b'0' as isize,
    /// No file can become longer.
    Full = b'F' as isize,
    /// Nothing can be written.
    ReadOnly = b'R' as isize,
    /// A sync fails, and what it should have saved is gone.
    SyncFails = b'E' as isize,
    /// A sync succeeds and saves nothing.
    SyncLies = b'L' as isize,
}

/// A folder on a disk that can be broken, for one process.
pub struct Disk {
    folder: tempfile::TempDir,
    shim: &'static Path,
    /// As the process found it when it was started.
    found: BTreeMap<PathBuf, Vec<u8>>,
}

/// What a power cut took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Lost {
    /// Writes and truncations that had not been synced.
    pub unsynced: usize,
    /// Sectors of them that are gone.
    pub sectors: usize,
}

impl Disk {
    /// `None` if the machine has no C compiler; the test is then reported as skipped, by name, and with `CI=true` that is a
    /// failure.
    pub fn new(test: &str) -> Option<Self> {
        static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(shim) = SHIM.get_or_init(compile) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: no C compiler on this machine");
            eprintln!("skipped: {test} (no C compiler found; install cc)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("data")).expect("a folder");
        let disk = Self { folder, shim, found: BTreeMap::new() };
        disk.set(Fault::Nothing);
        Some(disk)
    }

    /// The folder of the process.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// What the process has to be started with.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("LD_PRELOAD", self.shim.to_owned()),
            ("DISK_FOLDER", self.data()),
            ("DISK_JOURNAL", self.journal()),
            ("DISK_FAULT", self.folder.path().join("fault")),
        ]
    }

    /// Breaks it, or mends it, while the process runs.
    pub fn set(&self, fault: Fault) {
        use std::io::Write as _;
        // Written in place: the process has mapped it.
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let mut file = options.open(self.folder.path().join("fault")).expect("the file of faults");
        file.write_all(&[fault as u8]).expect("the fault is set");
    }

    /// The power fails; the process has been killed. What was not synced is lost as chance says.
    pub fn cut(&mut self, chance: &mut Chance) -> Lost {
        let (in_order, kept) = (chance.percent(50), [0, 10, 50, 90, 100][chance.below(5)]);
        self.cut_to(in_order, kept, chance)
    }

    /// The same, and nothing is left that was not synced.
    pub fn cut_all(&mut self) -> Lost {
        self.cut_to(false, 0, &mut Chance::of(0))
    }

    fn cut_to(&mut self, in_order: bool, kept: usize, chance: &mut Chance) -> Lost {
        let journal = fs::read(self.journal()).expect("a journal");
        let mut disk = Sectors::of(&self.found, self.data());
        for record in records(&journal) {
            disk.carry_out(&record);
        }
        self.compare(&disk);
        let (remains, lost) = disk.cut(in_order, kept, chance);
        fs::remove_dir_all(self.data()).expect("the folder goes");
        fs::create_dir(self.data()).expect("a new one");
        for (path, content) in &remains {
            fs::write(path, content).expect("what remains is written");
        }
        fs::remove_file(self.journal()).expect("the journal goes");
        self.found = remains;
        lost
    }

    /// The journal knows everything that the process did: only the last write may be missing, because it was killed.
    fn compare(&self, disk: &Sectors) {
        for (path, _) in disk.names.iter().filter(|(_, number)| !disk.files[**number].failed) {
            let (there, noted) = (fs::read(path).expect("a file"), disk.newest(path));
            if there == noted {
                continue;
            }
            let differ = there.len().abs_diff(noted.len())
                + there.iter().zip(&noted).filter(|(there, noted)| there != noted).count();
            // A frame of a write-ahead log, or a page.
            assert!(differ <= 8_192, "{}: {differ} bytes that the journal does not know", path.display());
        }
    }
}

fn compile() -> Option<PathBuf> {
    Command::new("cc").arg("--version").output().ok()?;
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{}.so", std::process::id()));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&to);
    let done = cc.arg(root().join("tests/disk/disk.c")).arg("-ldl").status().expect("the compiler runs");
    assert!(done.success(), "tests/disk/disk.c is compiled");
    Some(to)
}

/// One record of the journal.
struct Record<'a> {
    kind: u8,
    offset: usize,
    path: PathBuf,
    data: &'a [u8],
}

/// The records of a journal; the last one may be torn, and then it is left out.
fn records(mut journal: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while let Some((record, rest)) = next(journal) {
        records.push(record);
        journal = rest;
    }
    records
}

fn next(journal: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (length, rest) = journal.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
    let found =
        body.iter().fold(2_166_136_261_u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(16_777_619));
    if found != u32::from_ne_bytes(*sum) {
        return None;
    }
    let (kind, body) = body.split_first()?;
    let (offset, body) = body.split_first_chunk()?;
    let (path, body) = body.split_first_chunk()?;
    let (path, data) = body.split_at_checked(u16::from_ne_bytes(*path).into())?;
    let path = PathBuf::from(str::from_utf8(path).ok()?);
    let offset = usize::try_from(u64::from_ne_bytes(*offset)).ok()?;
    Some((Record { kind: *kind, offset, path, data }, rest))
}

/// The files of a folder, what is safe apart from what is not.
struct Sectors {
    folder: PathBuf,
    /// The files that are there, by their number, and those of which that is safe: their folder was synced.
    names: BTreeMap<PathBuf, usize>,
    safe_names: BTreeMap<PathBuf, usize>,
    files: Vec<File>,
}

#[derive(Default)]
struct File {
    safe: Vec<u8>,
    /// Not synced, in order.
    pending: Vec<Change>,
    /// A sync has failed: what the process sees is no longer what is safe and what is pending.
    failed: bool,
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    fn carry_out(&self, content: &mut Vec<u8>) {
        match self {
            Self::Truncate(length) => content.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Sectors {
    fn of(found: &BTreeMap<PathBuf, Vec<u8>>, folder: PathBuf) -> Self {
        let names: BTreeMap<_, _> = found.keys().cloned().zip(0..).collect();
        let files = found.values().map(|safe| File { safe: safe.clone(), ..File::default() }).collect();
        Self { folder, safe_names: names.clone(), names, files }
    }

    fn carry_out(&mut self, record: &Record<'_>) {
        let path = &record.path;
        match record.kind {
            b'C' => {
                self.names.insert(path.clone(), self.files.len());
                self.files.push(File::default());
                return;
            }
            b'U' => {
                self.names.remove(path);
                return;
            }
            b'S' if *path == self.folder => self.safe_names.clone_from(&self.names),
            _ => {}
        }
        // Of a file that is gone and still open nothing matters.
        let Some(&number) = self.names.get(path) else { return };
        let File { safe, pending, failed } = &mut self.files[number];
        match record.kind {
            b'W' => pending.push(Change::Write(record.offset, record.data.to_vec())),
            b'T' => pending.push(Change::Truncate(record.offset)),
            b'S' => pending.drain(..).for_each(|change| change.carry_out(safe)),
            b'D' => {
                pending.clear();
                *failed = true;
            }
            kind => panic!("a record of kind {kind}"),
        }
    }

    /// A file as the process sees it.
    fn newest(&self, path: &Path) -> Vec<u8> {
        let file = &self.files[self.names[path]];
        let mut content = file.safe.clone();
        file.pending.iter().for_each(|change| change.carry_out(&mut content));
        content
    }

    /// What a power cut leaves: everything that was synced, and of the rest either what came first, or any sectors.
    fn cut(self, in_order: bool, kept: usize, chance: &mut Chance) -> (BTreeMap<PathBuf, Vec<u8>>, Lost) {
        let (mut remains, mut lost) = (BTreeMap::new(), Lost::default());
        let mut files = self.files;
        let paths: BTreeSet<&PathBuf> = self.names.keys().chain(self.safe_names.keys()).collect();
        for path in paths {
            let mut number = self.names.get(path);
            if number != self.safe_names.get(path) && !chance.percent(kept) {
                number = self.safe_names.get(path);
            }
            let Some(&number) = number else { continue };
            let File { safe: mut content, pending, failed: _ } = std::mem::take(&mut files[number]);
            lost.unsynced += pending.len();
            let first = if kept == 100 { pending.len() } else { chance.below(pending.len() + 1) };
            for (place, change) in pending.into_iter().enumerate() {
                for sector in sectors(change) {
                    if if in_order { place < first } else { chance.percent(kept) } {
                        sector.carry_out(&mut content);
                    } else {
                        lost.sectors += 1;
                    }
                }
            }
            remains.insert(path.clone(), content);
        }
        (remains, lost)
    }
}

/// A change in the parts that a disk makes one by one.
fn sectors(change: Change) -> Vec<Change> {
    let Change::Write(offset, data) = change else { return vec![change] };
    let mut parts = Vec::new();
    let mut rest = data.as_slice();
    while !rest.is_empty() {
        let at = offset + data.len() - rest.len();
        let (part, after) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
        parts.push(Change::Write(at, part.to_vec()));
        rest = after;
    }
    parts
}
