//! Search criteria and page tokens, checked.

use std::str::FromStr;

use uuid::Uuid;

use crate::{
    Term, TermKind, Violations,
    id::MAX_NUMBER_CHARS,
    search::{card, digits, email, prefix_end, words},
};

/// Longest search text, in characters.
const MAX_QUERY_CHARS: usize = 200;

/// What to search for (rule C3), folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Criterion {
    /// Customers with a name word that begins with any of these; more of them first. Not empty.
    Name(Vec<String>),
    /// The e-mail begins with this.
    Email(String),
    /// The phone's digits begin with this.
    Phone(String),
    /// The account number is this.
    Account(String),
    /// A loyalty card's number is this.
    Card(String),
}

impl Criterion {
    /// Whether a customer with these terms is found.
    #[must_use]
    pub fn matches(&self, terms: &[Term]) -> bool {
        self.rank(terms) > 0
    }

    /// How well a customer with these terms matches: 0 is not at all. For names two points for each word
    /// that is there whole, one for each that is there as a beginning.
    #[must_use]
    pub fn rank(&self, terms: &[Term]) -> usize {
        let of = |kind| terms.iter().filter(move |term| term.kind == kind).map(|term| term.text.as_str());
        match self {
            Self::Name(words) => words
                .iter()
                .map(|word| {
                    let points = of(TermKind::Name).map(|name| match name {
                        name if name == word => 2,
                        name if name.starts_with(word.as_str()) => 1,
                        _ => 0,
                    });
                    points.max().unwrap_or(0)
                })
                .sum(),
            Self::Email(text) => of(TermKind::Email).any(|t| t.starts_with(text.as_str())).into(),
            Self::Phone(text) => of(TermKind::Phone).any(|t| t.starts_with(text.as_str())).into(),
            Self::Account(text) => of(TermKind::Account).any(|t| t == text).into(),
            Self::Card(text) => of(TermKind::Card).any(|t| t == text).into(),
        }
    }

    /// The terms that match: their kind, and for each word the first, the end (excluded), and the points of the first, which is
    /// the word whole.
    #[must_use]
    pub fn ranges(&self) -> (TermKind, Vec<(String, String, i64)>) {
        let prefix = |text: &String, whole| (text.clone(), prefix_end(text), whole);
        // The smallest text behind this one: no text holds a NUL.
        let exact = |text: &String| vec![(text.clone(), format!("{text}\u{1}"), 1)];
        match self {
            Self::Name(words) => (TermKind::Name, words.iter().map(|word| prefix(word, 2)).collect()),
            Self::Email(text) => (TermKind::Email, vec![prefix(text, 1)]),
            Self::Phone(text) => (TermKind::Phone, vec![prefix(text, 1)]),
            Self::Account(text) => (TermKind::Account, exact(text)),
            Self::Card(text) => (TermKind::Card, exact(text)),
        }
    }

    /// By name, as entered.
    ///
    /// # Errors
    ///
    /// Empty, too long, NUL, or without a letter or digit.
    pub fn name(text: &str) -> Result<Self, Violations> {
        let words = words(check("name", text, MAX_QUERY_CHARS)?);
        if words.is_empty() {
            return Err(Violations::one("name", "has no letter or digit to search for"));
        }
        Ok(Self::Name(words))
    }

    /// By e-mail, as entered.
    ///
    /// # Errors
    ///
    /// Empty, too long, or NUL.
    pub fn email(text: &str) -> Result<Self, Violations> {
        Ok(Self::Email(email(check("email", text, MAX_QUERY_CHARS)?)))
    }

    /// By phone, as entered.
    ///
    /// # Errors
    ///
    /// Empty, too long, NUL, or without a digit.
    pub fn phone(text: &str) -> Result<Self, Violations> {
        let digits = digits(check("phone", text, MAX_QUERY_CHARS)?);
        if digits.is_empty() {
            return Err(Violations::one("phone", "has no digit to search for"));
        }
        Ok(Self::Phone(digits))
    }

    /// By account number.
    ///
    /// # Errors
    ///
    /// Empty, too long, or NUL.
    pub fn account(text: &str) -> Result<Self, Violations> {
        Ok(Self::Account(check("account_number", text, MAX_NUMBER_CHARS)?.trim().to_owned()))
    }

    /// By loyalty card number.
    ///
    /// # Errors
    ///
    /// Empty, too long, or NUL.
    pub fn card(text: &str) -> Result<Self, Violations> {
        Ok(Self::Card(card(check("loyalty_card", text, MAX_NUMBER_CHARS)?)))
    }
}

fn check<'a>(field: &str, text: &'a str, max: usize) -> Result<&'a str, Violations> {
    if text.trim().is_empty() {
        Err(Violations::one(field, "is empty"))
    } else if text.chars().count() > max {
        Err(Violations::one(field, format!("is longer than {max} characters")))
    } else if text.contains('\0') {
        Err(Violations::one(field, "holds a NUL character"))
    } else {
        Ok(text)
    }
}

/// Where a page ended: opaque to callers, bound to the query it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageToken {
    /// Fingerprint of the query.
    query: Uuid,
    /// What the query's own order needs to go on: a GUID, or a number in its low bits.
    pub after: Uuid,
}

/// Namespace of query fingerprints; drawn once for this purpose.
const QUERY: Uuid = Uuid::from_u128(0x1c6e_9a05_3c0b_4f2d_8b1f_0a72_4d90_e3b7);

impl PageToken {
    /// A token for the page after `after` of a query written out in any stable way.
    #[must_use]
    pub fn new(query: &str, after: Uuid) -> Self {
        Self { query: Uuid::new_v5(&QUERY, query.as_bytes()), after }
    }

    /// The same for a query ordered by number.
    #[must_use]
    pub fn at_number(query: &str, after: u64) -> Self {
        Self::new(query, Uuid::from_u128(after.into()))
    }

    /// Reads a token that a caller sent with a query. Empty is the start.
    ///
    /// # Errors
    ///
    /// `None` inside is never an error; a token of another query or no token at all is.
    pub fn parse(query: &str, token: &str) -> Result<Option<Uuid>, BadPageToken> {
        if token.is_empty() {
            return Ok(None);
        }
        let token: Self = token.parse()?;
        if token.query == Self::new(query, token.after).query {
            Ok(Some(token.after))
        } else {
            Err(BadPageToken)
        }
    }

    /// The same for a query ordered by number.
    ///
    /// # Errors
    ///
    /// As [`PageToken::parse`].
    pub fn parse_number(query: &str, token: &str) -> Result<Option<u64>, BadPageToken> {
        let after = Self::parse(query, token)?;
        after.map(|after| u64::try_from(after.as_u128()).map_err(|_| BadPageToken)).transpose()
    }
}

/// A page token that was not made by this query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a page token of this query")]
pub struct BadPageToken;

impl std::fmt::Display for PageToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.query.simple(), self.after.simple())
    }
}

impl FromStr for PageToken {
    type Err = BadPageToken;

    fn from_str(text: &str) -> Result<Self, BadPageToken> {
        let (query, after) = text.split_at_checked(32).ok_or(BadPageToken)?;
        let part = |text: &str| (text.len() == 32).then(|| Uuid::try_parse(text).ok()).flatten();
        Ok(Self { query: part(query).ok_or(BadPageToken)?, after: part(after).ok_or(BadPageToken)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_tokens_belong_to_their_query() {
        let token = PageToken::at_number("name:smith", 20).to_string();
        assert_eq!(PageToken::parse_number("name:smith", &token), Ok(Some(20)));
        assert_eq!(PageToken::parse_number("name:jones", &token), Err(BadPageToken));
        assert_eq!(PageToken::parse("q", "nonsense"), Err(BadPageToken));
        assert_eq!(PageToken::parse("q", ""), Ok(None));
    }

    #[test]
    fn c3_more_matching_words_rank_first() {
        let terms = |words: &[&str]| -> Vec<Term> {
            words.iter().map(|w| Term { kind: TermKind::Name, text: (*w).to_owned() }).collect()
        };
        let query = Criterion::name("Ann Müller").unwrap();
        assert_eq!(query.rank(&terms(&["ann", "muller"])), 4);
        assert_eq!(query.rank(&terms(&["anna", "muller"])), 3);
        assert_eq!(query.rank(&terms(&["bob", "miller"])), 0);
        assert!(Criterion::name("!?").is_err());
        assert!(Criterion::phone("call me").is_err());
    }
}
