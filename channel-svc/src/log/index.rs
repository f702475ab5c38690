//! What the customers in the tail can be found by. It is made when somebody searches, of what has come since the last
//! search: as long as nobody does, it costs nothing.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use tillsync_proto::{Criterion, Term, TermKind, prefix_end};

use super::entry::{Entry, EntryError};

/// The terms of entries, by place in the log.
#[derive(Default)]
pub(super) struct Index {
    /// Entries up to this one are in it, unless they have been removed.
    through: u64,
    terms: BTreeSet<(Term, u64)>,
}

impl Index {
    /// Entries up to this one are in it.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Adds entries that come after those that are in it, in order.
    ///
    /// # Errors
    ///
    /// As [`Entry::row`].
    pub fn add(&mut self, entries: &[(u64, Arc<Entry>)]) -> Result<(), EntryError> {
        for (seq, entry) in entries {
            self.terms.extend(entry.terms()?.iter().map(|term| (term.clone(), *seq)));
            self.through = *seq;
        }
        Ok(())
    }

    /// Removes entries that it may have.
    pub fn remove(&mut self, entries: &[(u64, Arc<Entry>)]) {
        for (seq, entry) in entries.iter().filter(|(seq, _)| *seq <= self.through) {
            // It has terms, or it could not have been added.
            for term in entry.terms().unwrap_or_default() {
                self.terms.remove(&(term.clone(), *seq));
            }
        }
    }

    /// The entries that have a term which the criterion asks for.
    pub fn find(&self, criterion: &Criterion) -> BTreeSet<u64> {
        let begins = |kind, text: &str| self.between(kind, text.to_owned(), prefix_end(text));
        let is = |kind, text: &str| self.between(kind, text.to_owned(), text.to_owned());
        match criterion {
            Criterion::Name(words) => words.iter().flat_map(|word| begins(TermKind::Name, word)).collect(),
            Criterion::Email(text) => begins(TermKind::Email, text).collect(),
            Criterion::Phone(text) => begins(TermKind::Phone, text).collect(),
            Criterion::Account(text) => is(TermKind::Account, text).collect(),
            Criterion::Card(text) => is(TermKind::Card, text).collect(),
        }
    }

    fn between(&self, kind: TermKind, from: String, to: String) -> impl Iterator<Item = u64> {
        let from = Bound::Included((Term { kind, text: from }, 0));
        let to = Bound::Included((Term { kind, text: to }, u64::MAX));
        self.terms.range((from, to)).map(|(_, seq)| *seq)
    }
}
