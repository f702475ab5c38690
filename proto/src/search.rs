//! Folding and search terms (rule C3). Both services build and ask one term table from here, so that SQLite
//! and PostgreSQL find the same rows.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use crate::{ContactKind, Content, Customer};

/// Most name words that are indexed for a customer; the rest cannot be searched for.
pub const MAX_NAME_WORDS: usize = 16;
/// Longest term, in characters; longer words are cut.
pub const MAX_TERM_CHARS: usize = 100;

/// What a term is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TermKind {
    /// A folded word of the name.
    Name = 1,
    /// A folded e-mail.
    Email = 2,
    /// A phone's digits.
    Phone = 3,
    /// An account number, as given.
    Account = 4,
    /// A loyalty card number, in upper case.
    Card = 5,
}

/// One thing a customer can be found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// What it is of.
    pub kind: TermKind,
    /// The folded text, not empty.
    pub text: String,
}

/// Folds text: compatibility decomposition without combining marks, lower case, and a few letters that have
/// no decomposition.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'þ' => folded.push_str("th"),
            'ı' => folded.push('i'),
            c => folded.push(c),
        }
    }
    folded
}

/// The folded words of a text, each once, in order, at most [`MAX_NAME_WORDS`].
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in fold(text).split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word: String = word.chars().take(MAX_TERM_CHARS).collect();
        if !words.contains(&word) {
            words.push(word);
            if words.len() == MAX_NAME_WORDS {
                break;
            }
        }
    }
    words
}

/// The digits of a phone number.
#[must_use]
pub fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).take(MAX_TERM_CHARS).collect()
}

/// A folded e-mail, cut at [`MAX_TERM_CHARS`]: folding can lengthen a text far beyond what an index of
/// PostgreSQL takes.
#[must_use]
pub fn email(text: &str) -> String {
    fold(text.trim()).chars().take(MAX_TERM_CHARS).collect()
}

/// A loyalty card's number as it is compared.
#[must_use]
pub fn card(text: &str) -> String {
    text.trim().to_ascii_uppercase()
}

/// Everything a customer can be found by, each once, sorted.
#[must_use]
pub fn terms(customer: &Customer) -> Vec<Term> {
    let mut terms = content_terms(&customer.content);
    terms.extend(number_terms(customer));
    each_once(terms)
}

/// The same without what was entered: of two versions of a customer with equal content only these differ.
#[must_use]
pub fn terms_of_numbers(customer: &Customer) -> Vec<Term> {
    each_once(number_terms(customer).collect())
}

fn number_terms(customer: &Customer) -> impl Iterator<Item = Term> {
    let account = customer.account_number.iter().map(|n| Term { kind: TermKind::Account, text: n.clone() });
    let cards = customer.loyalty_cards.iter().map(|n| Term { kind: TermKind::Card, text: card(n) });
    account.chain(cards)
}

fn each_once(mut terms: Vec<Term>) -> Vec<Term> {
    terms.retain(|term| !term.text.is_empty());
    terms.sort_unstable();
    terms.dedup();
    terms
}

fn content_terms(content: &Content) -> Vec<Term> {
    let names = words(&content.full_name()).into_iter().map(|text| Term { kind: TermKind::Name, text });
    let contacts = content.contacts.iter().map(|contact| match contact.kind {
        ContactKind::Email => Term { kind: TermKind::Email, text: email(&contact.value) },
        ContactKind::Phone => Term { kind: TermKind::Phone, text: digits(&contact.value) },
    });
    names.chain(contacts).collect()
}

/// The end (excluded) of the range of terms that begin with `prefix`, under byte order: collation "C" in
/// PostgreSQL, BINARY in SQLite.
#[must_use]
pub fn prefix_end(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_folding_ignores_case_and_accents() {
        assert_eq!(fold("Müller"), "muller");
        assert_eq!(fold("STRASSE"), fold("Straße"));
        assert_eq!(fold("Ångström"), "angstrom");
        assert_eq!(fold("Łukasz"), "lukasz");
        assert_eq!(words("Jean-Luc  d'Arc jean"), ["jean", "luc", "d", "arc"]);
        assert_eq!(digits("+49 (0)30 / 12-34"), "490301234");
    }

    #[test]
    fn c3_customers_of_one_content_differ_only_in_the_terms_of_numbers() {
        let content =
            Content { party: crate::Party::Organization { name: "Card 7".to_owned() }, ..Content::blank() };
        let customer = |account: Option<&str>, cards: &[&str]| Customer {
            id: crate::CustomerId(uuid::Uuid::from_u128(1)),
            account_number: account.map(str::to_owned),
            content: content.clone(),
            loyalty_cards: cards.iter().map(|card| (*card).to_owned()).collect(),
            created_at: crate::Micros(0),
        };
        let (old, new) = (customer(None, &["a1"]), customer(Some("7"), &["A1", "7"]));
        let beyond = |all: Vec<Term>, other: Vec<Term>| -> Vec<Term> {
            all.into_iter().filter(|term| !other.contains(term)).collect()
        };
        let numbers = beyond(terms_of_numbers(&new), terms_of_numbers(&old));
        assert_eq!(beyond(terms(&new), terms(&old)), numbers);
        assert_eq!(numbers.len(), 2);
        assert_eq!(beyond(terms(&old), terms(&new)), []);
    }

    #[test]
    fn prefixes_bound_their_range() {
        for word in ["a", "ab", "aß", "az\u{10FFFE}"] {
            assert!(word >= "a" && *word < *prefix_end("a"), "{word}");
        }
        assert!(*"b" > *prefix_end("a"));
    }
}
