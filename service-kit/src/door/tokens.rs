//! Tokens: 256 random bits, of which a service keeps the SHA-256 hash. A file has a line for each: role, name, hash.
//! Without the line the token is worth nothing.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    io::{ErrorKind, Write as _},
    path::Path,
    sync::Arc,
};

use ring::digest::{SHA256, digest};

use super::{Access, Caller};
use crate::reload::{FileError, read_text};

/// Most bytes of a file of tokens: about 100,000 of them.
const MAX_BYTES: u64 = 16 << 20;
/// How every token begins, so that one in the wrong place is known for what it is.
const PREFIX: &str = "tillsync-";
/// What stands above the lines.
const HEAD: &str =
    "# Callers: role, name, and the SHA-256 hash of the token. `tillsync token` changes it; so may you.\n";

pub(super) type Hash = [u8; 32];

pub(super) fn hash(token: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

/// Whether it is a name of a caller: 1 to 60 letters, digits, dots, hyphens and underscores.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=60).contains(&text.len()) && text.bytes().all(known)
}

/// Why tokens could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a name.
    #[error("{0} is not a name: 1 to 60 letters, digits, dots, hyphens and underscores")]
    Name(String),
    /// Not a role.
    #[error("{role} is not a role; there are {roles}")]
    Role {
        /// What was given.
        role: String,
        /// What there is.
        roles: String,
    },
    /// There is no token of this caller to take back.
    #[error("{role} {name} has no token to take back")]
    None {
        /// Its role.
        role: String,
        /// Its name.
        name: String,
    },
}

/// The tokens of a file.
pub(super) struct Tokens(pub HashMap<Hash, Arc<Caller>>);

impl Tokens {
    /// # Errors
    ///
    /// [`FileError`], with the line that is wrong.
    pub fn read(path: &Path, access: &Access) -> Result<Self, FileError> {
        let mut tokens = HashMap::new();
        for (number, line) in (1..).zip(read_text(path, MAX_BYTES)?.lines()) {
            let Some([role, name, hash]) = words(line) else { continue };
            let read = Caller::new(access, role, name).zip(unhex(hash));
            let wrong = || FileError::content(path, format!("line {number} is not: role, name, hash"));
            let (caller, hash) = read.ok_or_else(wrong)?;
            tokens.insert(hash, Arc::new(caller));
        }
        Ok(Self(tokens))
    }

    /// Whose token has this hash.
    pub fn owner(&self, token: &Hash) -> Option<Arc<Caller>> {
        self.0.get(token).cloned()
    }
}

/// The words of a line, the missing ones empty; none of a comment or an empty line.
fn words(line: &str) -> Option<[&str; 3]> {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    let first = words.next()?;
    let rest = [words.next().unwrap_or_default(), words.next().unwrap_or_default()];
    // A fourth word makes it no line of ours.
    Some(if words.next().is_some() { [first, "", ""] } else { [first, rest[0], rest[1]] })
}

fn text(path: &Path) -> Result<String, FileError> {
    match read_text(path, MAX_BYTES) {
        Err(FileError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(HEAD.to_owned()),
        read => read,
    }
}

/// Replaces the file as a whole, so that nobody reads half of it.
fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    written.map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// Gives a caller a token, beside those it has: `secret` is 256 random bits. The token is returned and stands nowhere; the
/// file, which is made if it is missing, has its hash.
///
/// # Errors
///
/// [`TokenError`].
pub fn add(
    path: &Path,
    access: &Access,
    role: &str,
    name: &str,
    secret: [u8; 32],
) -> Result<String, TokenError> {
    if !access.roles.contains(&role) {
        return Err(TokenError::Role { role: role.to_owned(), roles: access.roles.join(", ") });
    }
    if !is_name(name) {
        return Err(TokenError::Name(name.to_owned()));
    }
    let token = format!("{PREFIX}{}", hex(&secret));
    let mut lines = text(path)?;
    if !lines.is_empty() && !lines.ends_with('\n') {
        lines.push('\n');
    }
    let _ = writeln!(lines, "{role} {name} {}", hex(&hash(token.as_bytes())));
    write(path, &lines)?;
    Ok(token)
}

/// Takes the tokens of a caller back, but for so many of the newest. Gives how many.
///
/// # Errors
///
/// [`TokenError`].
pub fn revoke(path: &Path, role: &str, name: &str, keep: usize) -> Result<usize, TokenError> {
    let (old, mut lines, mut gone) = (read_text(path, MAX_BYTES)?, String::new(), 0);
    let is_its = |line: &&str| words(line).is_some_and(|[of, named, _]| (of, named) == (role, name));
    let go = old.lines().filter(is_its).count().saturating_sub(keep);
    for line in old.lines() {
        if gone < go && is_its(&line) {
            gone += 1;
        } else {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    if gone == 0 {
        return Err(TokenError::None { role: role.to_owned(), name: name.to_owned() });
    }
    write(path, &lines)?;
    Ok(gone)
}

/// Role and name of each token, in the order of the file.
///
/// # Errors
///
/// [`FileError`].
pub fn list(path: &Path) -> Result<Vec<(String, String)>, FileError> {
    let lines = read_text(path, MAX_BYTES)?;
    Ok(lines.lines().filter_map(words).map(|[role, name, _]| (role.to_owned(), name.to_owned())).collect())
}
