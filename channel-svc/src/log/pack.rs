//! How the entries of one commit stand in a log row: one after the other, each behind its length.

use std::{collections::HashSet, sync::Arc};

use tillsync_proto::CustomerId;

use super::entry::{self, Entry, EntryError};
use crate::store::{LogRow, StoreError};

/// A log row is closed when it has reached this many bytes.
const ROW_BYTES: usize = 1024 * 1024;

/// Numbers entries from `first` on and packs them into rows.
pub(super) fn pack(first: u64, entries: &[Arc<Entry>]) -> Vec<LogRow> {
    let mut rows: Vec<LogRow> = Vec::with_capacity(1);
    for (seq, entry) in (first..).zip(entries) {
        let bytes = entry.body();
        if rows.last().is_none_or(|row| row.body.len() + bytes.len() > ROW_BYTES) {
            rows.push(LogRow { through: seq, operation_through: None, body: Vec::new() });
        }
        if let Some(row) = rows.last_mut() {
            // Encoding a length into a vector cannot fail.
            let _ = prost::encode_length_delimiter(bytes.len(), &mut row.body);
            row.body.extend_from_slice(bytes);
            row.through = seq;
            if entry.is_operation(seq) {
                row.operation_through = Some(seq);
            }
        }
    }
    rows
}

/// The entries of a row with their sequence numbers, as they stand there.
///
/// # Errors
///
/// [`StoreError::Inconsistent`].
pub(crate) fn slices(row: &LogRow) -> Result<Vec<(u64, &[u8])>, StoreError> {
    let mut bytes = row.body.as_slice();
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let length = prost::decode_length_delimiter(&mut bytes).map_err(EntryError::from)?;
        let Some((entry, rest)) = bytes.split_at_checked(length) else {
            return Err(StoreError::Inconsistent(format!("log row {} is cut short", row.through)));
        };
        entries.push(entry);
        bytes = rest;
    }
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    let Some(first) = (row.through + 1).checked_sub(count) else {
        return Err(StoreError::Inconsistent(format!("log row {} holds {count} entries", row.through)));
    };
    Ok((first..).zip(entries).collect())
}

/// The row with nothing of these customers in it, and its entries where they were. `None`: nothing of them is in it.
///
/// # Errors
///
/// [`StoreError::Inconsistent`].
pub(crate) fn scrubbed(row: &LogRow, erased: &HashSet<CustomerId>) -> Result<Option<LogRow>, StoreError> {
    let (mut body, mut changed) = (Vec::with_capacity(row.body.len()), false);
    for (seq, bytes) in slices(row)? {
        let scrubbed = entry::scrubbed(seq, bytes, erased)?;
        changed |= scrubbed.as_ref().is_some_and(|scrubbed| scrubbed != bytes);
        let bytes = scrubbed.as_deref().unwrap_or(bytes);
        // Encoding a length into a vector cannot fail.
        let _ = prost::encode_length_delimiter(bytes.len(), &mut body);
        body.extend_from_slice(bytes);
    }
    Ok(changed.then_some(LogRow { body, ..row.clone() }))
}

/// The same, read.
///
/// # Errors
///
/// [`StoreError::Inconsistent`].
pub(crate) fn unpack(row: &LogRow) -> Result<Vec<(u64, Arc<Entry>)>, StoreError> {
    let entries = slices(row)?.into_iter();
    entries.map(|(seq, bytes)| Ok((seq, Arc::new(Entry::decode(bytes)?)))).collect()
}
