//! Identities, and the instant at which something was said to happen.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest account number or loyalty card number, in characters.
pub const MAX_NUMBER_CHARS: usize = 40;

/// The customer GUID: the identity of a customer from the moment the form opens, for ever (rules M6, M7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CustomerId(pub Uuid);

impl CustomerId {
    /// The id of the `index`-th part of a kind that a create carried without an id. Derived, not drawn: the
    /// same request makes the same parts, whichever channel it reaches (rule M9).
    #[must_use]
    pub fn part(self, kind: &str, index: usize) -> Uuid {
        Uuid::new_v5(&self.0, format!("{kind}/{index}").as_bytes())
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there.
    #[error("is required")]
    Empty,
    /// Not a hyphenated GUID.
    #[error("is not a GUID such as 0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c6d")]
    NotGuid,
    /// The nil GUID names nobody.
    #[error("is the nil GUID")]
    Nil,
    /// Not 1 to 60 letters, digits, dots, hyphens and underscores.
    #[error("is not 1 to 60 letters, digits, dots, hyphens and underscores")]
    NotChannel,
    /// Neither a GUID nor an account number.
    #[error("is neither a GUID nor an account number")]
    NotCustomer,
}

impl FromStr for CustomerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_guid(text).map(Self)
    }
}

/// Parses a hyphenated GUID that is not nil.
///
/// # Errors
///
/// [`IdError::Empty`], [`IdError::NotGuid`] or [`IdError::Nil`].
pub fn parse_guid(text: &str) -> Result<Uuid, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    // Only the hyphenated form: what goes in is what comes out.
    let id = (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().ok_or(IdError::NotGuid)?;
    if id.is_nil() { Err(IdError::Nil) } else { Ok(id) }
}

/// A name for a customer that a caller may use: GUID or account number (rule M7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerRef {
    /// By GUID.
    Id(CustomerId),
    /// By account number.
    Account(String),
}

impl FromStr for CustomerRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(IdError::Empty) => Err(IdError::Empty),
            Err(IdError::Nil) => Err(IdError::Nil),
            Err(_) if text.chars().count() > MAX_NUMBER_CHARS || text.contains('\0') => {
                Err(IdError::NotCustomer)
            }
            Err(_) => Ok(Self::Account(text.to_owned())),
        }
    }
}

/// The name of a channel: 1 to 60 letters, digits, dots, hyphens and underscores.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(String);

impl ChannelId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ChannelId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match text.len() {
            0 => Err(IdError::Empty),
            1..=60 if text.chars().all(known) => Ok(Self(text.to_owned())),
            _ => Err(IdError::NotChannel),
        }
    }
}

/// Wall-clock microseconds since 1970-01-01 UTC. For showing only: nothing is ordered or filtered by it
/// (rule X7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// The time from an earlier instant to this one; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_hyphenated_and_not_nil() {
        let text = "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c6d";
        assert_eq!(text.parse::<CustomerId>().map(|id| id.to_string()), Ok(text.to_owned()));
        assert_eq!("".parse::<CustomerId>(), Err(IdError::Empty));
        assert_eq!("0190b6c57e2b7c3a9d6e3f1f0a4b5c6d".parse::<CustomerId>(), Err(IdError::NotGuid));
        assert_eq!("00000000-0000-0000-0000-000000000000".parse::<CustomerId>(), Err(IdError::Nil));
    }

    #[test]
    fn m7_a_customer_is_named_by_guid_or_account_number() {
        assert!(matches!("0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c6d".parse(), Ok(CustomerRef::Id(_))));
        assert_eq!("C-000042".parse(), Ok(CustomerRef::Account("C-000042".to_owned())));
        assert_eq!("x".repeat(41).parse::<CustomerRef>(), Err(IdError::NotCustomer));
        assert_eq!("a\0".parse::<CustomerRef>(), Err(IdError::NotCustomer));
    }

    #[test]
    fn channel_names_have_a_shape() {
        assert!("store-1.north_2".parse::<ChannelId>().is_ok());
        for bad in ["", "a b", "a/b", "é", &"x".repeat(61)] {
            assert!(bad.parse::<ChannelId>().is_err(), "{bad:?}");
        }
    }
}
