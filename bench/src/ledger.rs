//! The ledger (rule B6): every acknowledged create is at headquarters exactly once, under one account number,
//! and the same in every channel. Plain logic over what was read; [`read`] does the reading.

pub mod read;

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::{customers::is_unique_email, result::Ledger};

/// Most findings that are named.
const MAX_EXAMPLES: usize = 20;

/// A customer as headquarters or a channel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The GUID.
    pub id: Uuid,
    /// The account number; empty while pending.
    pub account_number: String,
    /// What was entered, as a fingerprint.
    pub content: Uuid,
    /// Its e-mails.
    pub emails: Vec<String>,
}

/// Everything that was read once nothing moved any more.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// GUIDs whose creates were acknowledged.
    pub acknowledged: HashSet<Uuid>,
    /// Headquarters' whole feed, every record of it.
    pub hq: Vec<Entry>,
    /// Every customer of each channel.
    pub channels: Vec<Vec<Entry>>,
}

/// Compares.
#[must_use]
pub fn audit(books: &Books) -> Ledger {
    let mut findings = Findings::default();
    let hq: HashMap<Uuid, &Entry> = books.hq.iter().map(|entry| (entry.id, entry)).collect();
    let channels: Vec<HashMap<Uuid, &Entry>> = books
        .channels
        .iter()
        .map(|entries| entries.iter().map(|entry| (entry.id, entry)).collect())
        .collect();
    let doubled = doubled(&books.hq, &mut findings);
    let (mut in_hq, mut lost, mut pending, mut differing) = (0, 0, 0, 0);
    for id in &books.acknowledged {
        let Some(record) = hq.get(id) else {
            let waits = channels.iter().any(|c| c.get(id).is_some_and(|e| e.account_number.is_empty()));
            if waits {
                pending += 1;
            } else {
                lost += 1;
                findings.add("lost", *id);
            }
            continue;
        };
        in_hq += 1;
        let same = |entry: &&&Entry| {
            entry.account_number == record.account_number && entry.content == record.content
        };
        if !channels.iter().all(|channel| channel.get(id).filter(same).is_some()) {
            differing += 1;
            findings.add("differing", *id);
        }
    }
    Ledger {
        acknowledged: books.acknowledged.len() as u64,
        in_hq,
        lost,
        doubled,
        pending,
        differing,
        customers_in_hq: hq.len() as u64,
        examples: findings.0,
    }
}

/// Counts customers that are there twice: a GUID under two account numbers, an account number with two GUIDs,
/// or an e-mail that only one customer was given under two GUIDs. Also an account number that is missing.
fn doubled(hq: &[Entry], findings: &mut Findings) -> u64 {
    let mut number_of: HashMap<Uuid, &str> = HashMap::new();
    let mut id_of_number: HashMap<&str, Uuid> = HashMap::new();
    let mut id_of_email: HashMap<&str, Uuid> = HashMap::new();
    let mut bad: HashSet<Uuid> = HashSet::new();
    for entry in hq {
        let number = entry.account_number.as_str();
        let other_number = number_of.insert(entry.id, number).is_some_and(|before| before != number);
        let shared_number = id_of_number.insert(number, entry.id).is_some_and(|before| before != entry.id);
        let unique = entry.emails.iter().filter(|email| is_unique_email(email));
        let shared_email =
            unique.filter_map(|email| id_of_email.insert(email, entry.id)).any(|before| before != entry.id);
        if other_number || shared_number || shared_email || number.is_empty() {
            bad.insert(entry.id);
        }
    }
    bad.iter().for_each(|id| findings.add("doubled", *id));
    bad.len() as u64
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, what: &str, id: Uuid) {
        if self.0.len() < MAX_EXAMPLES {
            self.0.push(format!("{what}: {id}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customers::unique_email;

    fn entry(id: u128, number: &str) -> Entry {
        let id = Uuid::from_u128(id);
        Entry { id, account_number: number.to_owned(), content: Uuid::nil(), emails: vec![unique_email(id)] }
    }

    /// Three customers, at headquarters and in two channels.
    fn books() -> Books {
        let all = vec![entry(1, "C-1"), entry(2, "C-2"), entry(3, "C-3")];
        Books {
            acknowledged: all.iter().map(|entry| entry.id).collect(),
            hq: all.clone(),
            channels: vec![all.clone(), all],
        }
    }

    #[test]
    fn b6_all_is_well_when_all_agree() {
        let mut books = books();
        // Somebody else's customers are nobody's business, nor are e-mails that other people share.
        let shared = Entry { emails: vec!["shop@example.com".to_owned()], ..entry(8, "C-8") };
        books.hq.extend([shared.clone(), Entry { emails: shared.emails, ..entry(9, "C-9") }]);
        // The same record seen twice is one customer: paging may overlap.
        books.hq.push(entry(1, "C-1"));
        let ledger = audit(&books);
        assert!(ledger.holds(), "{ledger:?}");
        assert_eq!((ledger.acknowledged, ledger.in_hq, ledger.customers_in_hq), (3, 3, 5));
    }

    #[test]
    fn b6_lost_is_found() {
        let mut books = books();
        books.hq.pop();
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
        books.hq.pop();
        books.channels[0][2].account_number.clear();
        books.channels[1].pop();
        let ledger = audit(&books);
        assert_eq!((ledger.lost, ledger.pending), (0, 1));
    }

    #[test]
    fn b6_doubled_is_found() {
        let doubles: [(&str, Entry); 4] = [
            (
                "one e-mail under two GUIDs",
                Entry { emails: vec![unique_email(Uuid::from_u128(1))], ..entry(4, "C-4") },
            ),
            ("one GUID under two numbers", entry(2, "C-9")),
            ("one number for two customers", entry(5, "C-3")),
            ("no number", entry(6, "")),
        ];
        for (what, double) in doubles {
            let mut books = books();
            books.hq.push(double);
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
    fn findings_are_bounded() {
        let books = Books { acknowledged: (1..=100).map(Uuid::from_u128).collect(), ..Books::default() };
        let ledger = audit(&books);
        assert_eq!((ledger.lost, ledger.examples.len()), (100, MAX_EXAMPLES));
    }
}
