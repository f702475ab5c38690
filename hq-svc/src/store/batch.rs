//! What a batch of plans comes to, worked out under the lock of `hq_head`: plain logic, the same for both
//! databases.

use std::collections::{HashMap, HashSet};

use tillsync_proto::{Customer, TermKind, reason_name, terms};
use uuid::Uuid;

use super::{
    AppliedEdit, Fate, Head, Plan, Record, Recovered, SequenceState, Settled, Stored, Verdict, Write,
};
use crate::{
    numbers::{NumberSequence, SequenceKind},
    planted::planted,
};

/// The row of `hq_head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadRow {
    pub epoch: Uuid,
    pub feed_version: i64,
    pub next_account: i64,
    pub next_card: i64,
    pub customers: i64,
    pub arrivals_completed: i64,
    /// Channels that have not brought yet what was lost in a restore.
    pub awaited: i64,
}

/// The columns of `hq_head`, in the order of [`HeadRow::from`].
pub(super) type HeadColumns = (Uuid, i64, i64, i64, i64, i64, i64);

impl From<HeadColumns> for HeadRow {
    fn from(columns: HeadColumns) -> Self {
        let (epoch, feed_version, next_account, next_card, customers, arrivals_completed, awaited) = columns;
        Self { epoch, feed_version, next_account, next_card, customers, arrivals_completed, awaited }
    }
}

impl HeadRow {
    pub fn public(self) -> Head {
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        Head {
            epoch: self.epoch,
            version: count(self.feed_version),
            customers: count(self.customers),
            arrivals_completed: count(self.arrivals_completed),
            awaited: count(self.awaited),
        }
    }

    /// How far a sequence is.
    pub fn sequence(&self, kind: SequenceKind, sequence: &NumberSequence) -> SequenceState {
        let next = match kind {
            SequenceKind::Accounts => self.next_account,
            SequenceKind::Cards => self.next_card,
        };
        let left = u64::try_from(sequence.left(next)).unwrap_or_default();
        let next = u64::try_from(next).unwrap_or_default();
        SequenceState { kind, format: sequence.format.clone(), block_size: sequence.block_size, next, left }
    }

    pub fn next_version(&mut self) -> i64 {
        self.feed_version += 1;
        self.feed_version
    }
}

/// A row of `customers`.
#[derive(Debug)]
pub(super) struct Row {
    pub version: i64,
    pub fingerprint: Uuid,
    pub customer: Customer,
}

impl Row {
    pub fn id(&self) -> Uuid {
        self.customer.id.0
    }

    pub fn account(&self) -> &str {
        self.customer.account_number.as_deref().unwrap_or_default()
    }
}

impl From<Row> for Record {
    fn from(row: Row) -> Self {
        Self { customer: row.customer, version: u64::try_from(row.version).unwrap_or_default() }
    }
}

/// A customer that a channel brings after a restore, as it is here.
pub(super) struct Known {
    pub stored: Stored,
    /// Versions up to this one are older than the restore.
    pub restored_at: u64,
    /// If it was brought before: the version that the channel knew, and the one that it was given here.
    pub brought: Option<(u64, u64)>,
}

impl Known {
    /// Whether a channel that knows `version` of a lost database knows something newer. What has changed here since the
    /// restore stays.
    fn is_older(&self, version: u64) -> bool {
        match self.brought {
            // Nobody who was erased comes back.
            _ if self.stored.record.customer.is_erased() => false,
            Some((known, given)) => self.stored.record.version == given && known < version,
            None => self.stored.record.version <= self.restored_at,
        }
    }
}

/// A row of `customer_terms`: kind, term, customer.
pub(crate) type TermRow = (i16, String, Uuid);

/// An arrival that has replaced values of others, and these as JSON.
pub(super) type OverwrittenRow = (i64, String);

/// How far the edits of a channel are in a customer: customer, channel, counter.
pub(super) type EditRow = (Uuid, String, i64);

/// An arrival that is set aside: its place, the reason, the message, the next attempt.
pub(super) type AsideRow = (i64, &'static str, String, Option<i64>);

/// The statements that a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Batch {
    outcomes: Vec<Outcome>,
    pub inserts: Vec<Row>,
    pub replaces: Vec<Row>,
    pub terms_gone: Vec<TermRow>,
    pub terms_new: Vec<TermRow>,
    pub completed: Vec<i64>,
    pub set_aside: Vec<AsideRow>,
    pub overwritten: Vec<OverwrittenRow>,
    /// Arrivals, and their customers, that came after the customer was erased: nothing of them stays.
    pub scrubbed: Vec<(i64, Uuid)>,
    /// What a channel has brought after a restore: customer, the version that it knew, the version here.
    pub recovered: Vec<(Uuid, i64, i64)>,
    edits: HashMap<(Uuid, String), u64>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "conflicts are rare")]
enum Outcome {
    Settled(Settled),
    Conflict(Uuid),
    /// The next of the inserts.
    Inserted,
    /// The next of the replaces.
    Replaced,
}

/// The customers that a list of plans writes.
pub(super) fn written(plans: &[Plan]) -> Vec<Uuid> {
    let id = |plan: &Plan| match &plan.write {
        Write::Nothing => None,
        Write::Insert(new) => Some(new.id.0),
        Write::Replace { before, .. } => Some(before.customer.id.0),
    };
    plans.iter().filter_map(id).collect()
}

impl Batch {
    /// Works out `plans`, in order. `versions` are those of the customers they write, read under the lock.
    pub fn work_out(
        head: &mut HeadRow,
        mut versions: HashMap<Uuid, i64>,
        plans: &[Plan],
        numbers: &mut NumberSequence,
    ) -> Self {
        let mut batch = Self::default();
        for Plan { write, verdicts, edits } in plans {
            let outcome = match write {
                Write::Nothing => Outcome::Settled(Settled::Done),
                Write::Insert(new)
                    if versions.contains_key(&new.id.0) && !planted("the GUID is not looked at") =>
                {
                    Outcome::Conflict(new.id.0)
                }
                Write::Insert(new) => match numbers.take(&mut head.next_account) {
                    None => Outcome::Settled(Settled::Exhausted),
                    Some(number) => {
                        head.customers += 1;
                        let customer = Customer {
                            id: new.id,
                            account_number: Some(number),
                            content: new.content.clone(),
                            loyalty_cards: Vec::new(),
                            created_at: new.created_at,
                        };
                        batch.terms_new.extend(term_rows(&customer));
                        let row =
                            Row { version: head.next_version(), fingerprint: new.fingerprint, customer };
                        versions.insert(row.id(), row.version);
                        batch.inserts.push(row);
                        Outcome::Inserted
                    }
                },
                Write::Replace { before, after } => batch.replace(head, &mut versions, before, after),
            };
            if matches!(outcome, Outcome::Settled(Settled::Done) | Outcome::Inserted | Outcome::Replaced) {
                batch.judge(verdicts);
                batch.note(edits);
            }
            batch.outcomes.push(outcome);
        }
        // In the order of the index, so that a large batch touches each page once.
        batch.terms_new.sort_unstable();
        batch
    }

    fn replace(
        &mut self,
        head: &mut HeadRow,
        versions: &mut HashMap<Uuid, i64>,
        before: &Record,
        after: &Customer,
    ) -> Outcome {
        let id = after.id.0;
        match versions.get(&id) {
            None => Outcome::Settled(Settled::Gone),
            Some(version) if u64::try_from(*version) != Ok(before.version) => Outcome::Conflict(id),
            Some(_) => {
                self.change_terms(&before.customer, after);
                let row =
                    Row { version: head.next_version(), fingerprint: Uuid::nil(), customer: after.clone() };
                versions.insert(id, row.version);
                self.replaces.push(row);
                Outcome::Replaced
            }
        }
    }

    fn judge(&mut self, verdicts: &[Verdict]) {
        for Verdict { seq, fate } in verdicts {
            match fate {
                Fate::Completed { overwritten } => {
                    self.completed.push(*seq);
                    // What cannot be written as JSON cannot have been read from it.
                    let json = serde_json::to_string(overwritten).ok().filter(|_| !overwritten.is_empty());
                    self.overwritten.extend(json.map(|json| (*seq, json)));
                }
                Fate::Erased(customer) => {
                    self.completed.push(*seq);
                    self.scrubbed.push((*seq, customer.0));
                }
                Fate::SetAside { reason, message, next_attempt_at } => {
                    self.set_aside.push((*seq, reason_name(*reason), message.clone(), *next_attempt_at));
                }
            }
        }
    }

    fn note(&mut self, edits: &[AppliedEdit]) {
        for AppliedEdit { customer, channel, counter } in edits {
            let newest = self.edits.entry((customer.0, channel.clone())).or_default();
            *newest = (*newest).max(*counter);
        }
    }

    /// What a customer is found by, in place of what it was found by.
    fn change_terms(&mut self, before: &Customer, after: &Customer) {
        let (old, new) = (term_rows(before), term_rows(after));
        self.terms_gone.extend(old.iter().filter(|term| !new.contains(term)).cloned());
        self.terms_new.extend(new.into_iter().filter(|term| !old.contains(term)));
    }

    /// One customer in place of what was there.
    pub fn replacing(before: &Customer, after: Customer, version: i64) -> Self {
        let row = Row { version, fingerprint: Uuid::nil(), customer: after };
        Self { terms_gone: term_rows(before), replaces: vec![row], ..Self::default() }
    }

    /// Works out what a channel has brought after a restore. `known` is what is here of these customers, with what was
    /// brought of them before; `owners` says whose the account numbers are.
    pub fn recover(
        head: &mut HeadRow,
        channel: &str,
        brought: &[Recovered],
        known: &HashMap<Uuid, Known>,
        owners: &HashMap<String, Uuid>,
        numbers: &mut NumberSequence,
    ) -> Self {
        let (mut batch, mut done, mut given) = (Self::default(), HashSet::new(), HashSet::new());
        for Recovered { customer, version, fingerprint, included } in brought {
            if !done.insert(customer.id.0) {
                continue;
            }
            // Whichever version it was, these edits are in it, and in every newer one.
            if *included > 0 {
                let (customer, channel, counter) = (customer.id, channel.to_owned(), *included);
                batch.note(&[AppliedEdit { customer, channel, counter }]);
            }
            let before = known.get(&customer.id.0);
            if before.is_some_and(|known| !known.is_older(*version)) {
                continue;
            }
            let known_version = i64::try_from(*version).unwrap_or(i64::MAX);
            let version = head.next_version();
            batch.recovered.push((customer.id.0, known_version, version));
            match before {
                Some(Known { stored, .. }) => {
                    let before = &stored.record.customer;
                    let account_number = before.account_number.clone();
                    let after = Customer { account_number, ..customer.clone() };
                    batch.change_terms(before, &after);
                    batch.replaces.push(Row { version, fingerprint: Uuid::nil(), customer: after });
                }
                None => {
                    let mut customer = customer.clone();
                    let number = customer.account_number.as_ref();
                    if number.is_none_or(|number| owners.contains_key(number) || given.contains(number)) {
                        // Somebody else has it since: never one number for two customers.
                        let Some(number) = numbers.take(&mut head.next_account) else { continue };
                        customer.account_number = Some(number);
                    }
                    given.extend(customer.account_number.clone());
                    head.customers += 1;
                    batch.terms_new.extend(term_rows(&customer));
                    batch.inserts.push(Row { version, fingerprint: *fingerprint, customer });
                }
            }
        }
        batch.terms_new.sort_unstable();
        batch
    }

    /// How far the edits of channels are in their customers, each once.
    pub fn edits(&self) -> Vec<EditRow> {
        let row = |((customer, channel), counter): (&(Uuid, String), &u64)| {
            (*customer, channel.clone(), i64::try_from(*counter).unwrap_or(i64::MAX))
        };
        self.edits.iter().map(row).collect()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty()
            && self.replaces.is_empty()
            && self.completed.is_empty()
            && self.set_aside.is_empty()
    }

    /// The customers that stood in the way.
    pub fn conflicts(&self) -> Vec<Uuid> {
        let id = |outcome: &Outcome| match outcome {
            Outcome::Conflict(id) => Some(*id),
            Outcome::Settled(_) | Outcome::Inserted | Outcome::Replaced => None,
        };
        self.outcomes.iter().filter_map(id).collect()
    }

    /// The answers; `stored` are the [`Batch::conflicts`], read in the same transaction.
    pub fn answers(self, stored: Vec<Stored>) -> Vec<Settled> {
        let stored: HashMap<Uuid, Stored> =
            stored.into_iter().map(|stored| (stored.record.customer.id.0, stored)).collect();
        let (mut inserts, mut replaces) = (self.inserts.into_iter(), self.replaces.into_iter());
        // There is one for each of these outcomes.
        let written = |row: Option<Row>| row.map_or(Settled::Gone, |row| Settled::Written(row.into()));
        let answer = |outcome| match outcome {
            Outcome::Settled(settled) => settled,
            Outcome::Inserted => written(inserts.next()),
            Outcome::Replaced => written(replaces.next()),
            Outcome::Conflict(id) => stored.get(&id).cloned().map_or(Settled::Gone, Settled::Conflict),
        };
        self.outcomes.into_iter().map(answer).collect()
    }
}

/// The rows of `customer_terms`. Account numbers and cards have tables of their own.
fn term_rows(customer: &Customer) -> Vec<TermRow> {
    let terms = terms(customer).into_iter();
    terms
        .filter(|term| matches!(term.kind, TermKind::Name | TermKind::Email | TermKind::Phone))
        .map(|term| (term.kind as i16, term.text, customer.id.0))
        .collect()
}
