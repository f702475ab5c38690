//! The ledger (rule B6): every acknowledged create is at headquarters exactly once, under one account number,
//! and the same in every channel. Plain logic over what was read; [`read`] does the reading, and [`shelves`] keeps what
//! was read on disk, so that a chain of any size can be checked.

pub mod read;
mod shelves;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::result::Ledger;

/// Most findings that are named.
const MAX_EXAMPLES: usize = 20;
/// Most doubled customers that are counted: with so many nobody counts any more.
const MAX_DOUBLED: usize = 100_000;

/// A customer as headquarters or a channel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The GUID.
    pub id: Uuid,
    /// The account number; empty while pending.
    pub account_number: String,
    /// What was entered, as a fingerprint.
    pub content: Uuid,
    /// It has an e-mail that only another customer was given.
    pub has_others_email: bool,
}

impl Entry {
    fn is_pending(&self) -> bool {
        self.account_number.is_empty()
    }

    fn is_like(&self, other: &Self) -> bool {
        self.account_number == other.account_number && self.content == other.content
    }
}

/// Everything that was read of some customers once nothing moved any more.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// GUIDs whose creates were acknowledged.
    pub acknowledged: HashSet<Uuid>,
    /// Headquarters' feed, every record of it; absent if nobody knows a headquarters.
    pub hq: Option<Vec<Entry>>,
    /// The customers of each channel.
    pub channels: Vec<Vec<Entry>>,
}

/// The comparison: part by part, each customer in one part.
#[derive(Debug, Default)]
pub struct Audit {
    ledger: Ledger,
    /// Customers that are there twice, at most [`MAX_DOUBLED`].
    doubled: HashSet<Uuid>,
}

impl Audit {
    /// Compares a part of the customers.
    pub fn add(&mut self, books: &Books) {
        let by_id = |entries: &'_ [Entry]| entries.iter().map(|entry| (entry.id, entry.clone())).collect();
        let channels: Vec<HashMap<Uuid, Entry>> =
            books.channels.iter().map(|entries| by_id(entries)).collect();
        self.ledger.acknowledged += books.acknowledged.len() as u64;
        let Some(hq) = &books.hq else {
            self.ledger.stores_only = true;
            let found = |id: &Uuid| channels.iter().any(|channel| channel.contains_key(id));
            for id in &books.acknowledged {
                if found(id) {
                    self.ledger.in_hq += 1;
                } else {
                    self.ledger.lost += 1;
                    self.find("lost", *id);
                }
            }
            return;
        };
        self.count_doubled(hq);
        let hq: HashMap<Uuid, Entry> = by_id(hq);
        for id in &books.acknowledged {
            let Some(record) = hq.get(id) else {
                if channels.iter().any(|channel| channel.get(id).is_some_and(Entry::is_pending)) {
                    self.ledger.pending += 1;
                } else {
                    self.ledger.lost += 1;
                    self.find("lost", *id);
                }
                continue;
            };
            self.ledger.in_hq += 1;
            if !channels.iter().all(|channel| channel.get(id).is_some_and(|entry| entry.is_like(record))) {
                self.ledger.differing += 1;
                self.find("differing", *id);
            }
        }
        self.ledger.customers_in_hq += hq.len() as u64;
    }

    /// Customers under two account numbers, without one, or with an e-mail that only another customer was given.
    fn count_doubled(&mut self, hq: &[Entry]) {
        let mut number_of: HashMap<Uuid, &str> = HashMap::new();
        for entry in hq {
            let number = entry.account_number.as_str();
            let other_number = number_of.insert(entry.id, number).is_some_and(|before| before != number);
            if other_number || entry.has_others_email || number.is_empty() {
                self.is_doubled(entry.id);
            }
        }
    }

    /// Compares a part of headquarters' account numbers: none may have two customers.
    pub fn add_numbers(&mut self, numbers: &[(String, Uuid)]) {
        let mut id_of: HashMap<&str, Uuid> = HashMap::new();
        for (number, id) in numbers {
            if id_of.insert(number, *id).is_some_and(|before| before != *id) {
                self.is_doubled(*id);
            }
        }
    }

    fn is_doubled(&mut self, id: Uuid) {
        if self.doubled.len() < MAX_DOUBLED && self.doubled.insert(id) {
            self.find("doubled", id);
        }
    }

    fn find(&mut self, what: &str, id: Uuid) {
        if self.ledger.examples.len() < MAX_EXAMPLES {
            self.ledger.examples.push(format!("{what}: {id}"));
        }
    }

    /// What has come of it.
    #[must_use]
    pub fn ledger(self) -> Ledger {
        Ledger { doubled: self.doubled.len() as u64, ..self.ledger }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u128, number: &str) -> Entry {
        let (id, account_number) = (Uuid::from_u128(id), number.to_owned());
        Entry { id, account_number, content: Uuid::nil(), has_others_email: false }
    }

    fn hq(books: &mut Books) -> &mut Vec<Entry> {
        books.hq.as_mut().unwrap()
    }

    fn audit(books: &Books) -> Ledger {
        let mut audit = Audit::default();
        audit.add(books);
        let numbers: Vec<_> =
            books.hq.iter().flatten().map(|entry| (entry.account_number.clone(), entry.id)).collect();
        audit.add_numbers(&numbers);
        audit.ledger()
    }

    /// Three customers, at headquarters and in two channels.
    fn books() -> Books {
        let all = vec![entry(1, "C-1"), entry(2, "C-2"), entry(3, "C-3")];
        Books {
            acknowledged: all.iter().map(|entry| entry.id).collect(),
            hq: Some(all.clone()),
            channels: vec![all.clone(), all],
        }
    }

    #[test]
    fn b6_all_is_well_when_all_agree() {
        let mut books = books();
        // Somebody else's customers are nobody's business.
        hq(&mut books).extend([entry(8, "C-8"), entry(9, "C-9")]);
        // The same record seen twice is one customer: paging may overlap.
        hq(&mut books).push(entry(1, "C-1"));
        let ledger = audit(&books);
        assert!(ledger.holds(), "{ledger:?}");
        assert_eq!((ledger.acknowledged, ledger.in_hq, ledger.customers_in_hq), (3, 3, 5));
    }

    #[test]
    fn b6_lost_is_found() {
        let mut books = books();
        hq(&mut books).pop();
        books.channels.iter_mut().for_each(|channel| {
            channel.pop();
        });
        let ledger = audit(&books);
        assert_eq!((ledger.lost, ledger.pending, ledger.in_hq), (1, 0, 2));
        assert!(!ledger.holds());
        assert_eq!(ledger.examples, [format!("lost: {}", Uuid::from_u128(3))]);
        // A channel that claims an account number which headquarters does not know has lost the customer too.
        books.channels[0].push(entry(3, "C-3"));
        assert_eq!(audit(&books).lost, 1);
    }

    #[test]
    fn b6_pending_is_not_lost() {
        let mut books = books();
        hq(&mut books).pop();
        books.channels[0][2].account_number.clear();
        books.channels[1].pop();
        let ledger = audit(&books);
        assert_eq!((ledger.lost, ledger.pending), (0, 1));
    }

    #[test]
    fn b6_doubled_is_found() {
        let doubles: [(&str, Entry); 4] = [
            ("one e-mail under two GUIDs", Entry { has_others_email: true, ..entry(4, "C-4") }),
            ("one GUID under two numbers", entry(2, "C-9")),
            ("one number for two customers", entry(5, "C-3")),
            ("no number", entry(6, "")),
        ];
        for (what, double) in doubles {
            let mut books = books();
            hq(&mut books).push(double);
            let ledger = audit(&books);
            assert_eq!(ledger.doubled, 1, "{what}");
            assert!(!ledger.holds(), "{what}");
        }
    }

    #[test]
    fn b6_differing_is_found() {
        type Spoil = fn(&mut Vec<Entry>);
        let spoils: [(&str, Spoil); 4] = [
            ("another number", |channel| channel[0].account_number = "C-7".to_owned()),
            ("still pending", |channel| channel[0].account_number.clear()),
            ("missing", |channel| {
                channel.remove(0);
            }),
            ("other content", |channel| channel[0].content = Uuid::max()),
        ];
        for (what, spoil) in spoils {
            let mut books = books();
            spoil(&mut books.channels[1]);
            let ledger = audit(&books);
            assert_eq!((ledger.differing, ledger.lost), (1, 0), "{what}");
            assert!(!ledger.holds(), "{what}");
        }
    }

    #[test]
    fn b8_without_headquarters_the_stores_have_to_know_everybody() {
        let mut books = Books { hq: None, ..books() };
        books.channels[0].clear();
        let ledger = audit(&books);
        assert!(ledger.holds() && ledger.stores_only && ledger.in_hq == 3);
        books.channels[1].pop();
        assert_eq!(audit(&books).lost, 1);
    }

    #[test]
    fn findings_are_bounded() {
        let books = Books {
            hq: Some(Vec::new()),
            acknowledged: (1..=100).map(Uuid::from_u128).collect(),
            ..Books::default()
        };
        let ledger = audit(&books);
        assert_eq!((ledger.lost, ledger.examples.len()), (100, MAX_EXAMPLES));
    }
}
