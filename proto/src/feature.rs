//! Feature flags (rules E0 to E3, F1).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pb;

/// A feature flag, made at headquarters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Feature {
    /// Performance improvements for customer orders and transactions: a prerequisite only.
    E0,
    /// Addresses are saved without a call to headquarters.
    E1,
    /// An async create keeps title, affiliations, secondary contacts and attributes.
    E2,
    /// Edits are logged as operations.
    E3,
}

impl Feature {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::E0, Self::E1, Self::E2, Self::E3];

    /// The flags that must be on before this one can be (rule F1).
    #[must_use]
    pub fn needs(self) -> &'static [Self] {
        match self {
            Self::E3 => &[Self::E0, Self::E1, Self::E2],
            Self::E0 | Self::E1 | Self::E2 => &[],
        }
    }

    /// Its number in stored sets.
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A feature that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a known feature")]
pub struct UnknownFeature;

impl TryFrom<pb::common::Feature> for Feature {
    type Error = UnknownFeature;

    fn try_from(feature: pb::common::Feature) -> Result<Self, UnknownFeature> {
        match feature {
            pb::common::Feature::Unspecified => Err(UnknownFeature),
            pb::common::Feature::OrderPerformance => Ok(Self::E0),
            pb::common::Feature::AsyncAddress => Ok(Self::E1),
            pb::common::Feature::EnhancedAsyncCreate => Ok(Self::E2),
            pb::common::Feature::AsyncEdit => Ok(Self::E3),
        }
    }
}

impl From<Feature> for pb::common::Feature {
    fn from(feature: Feature) -> Self {
        match feature {
            Feature::E0 => Self::OrderPerformance,
            Feature::E1 => Self::AsyncAddress,
            Feature::E2 => Self::EnhancedAsyncCreate,
            Feature::E3 => Self::AsyncEdit,
        }
    }
}

/// The set of flags that are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u8);

impl Features {
    /// Whether a flag is on.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    /// The same set with one flag switched, without regard to what it needs.
    #[must_use]
    pub fn with(self, feature: Feature, enabled: bool) -> Self {
        if enabled { Self(self.0 | feature.bit()) } else { Self(self.0 & !feature.bit()) }
    }

    /// The flags that stand in the way of switching one (rule F1): those it needs that are off, or, when
    /// switching off, those that are on and need it.
    #[must_use]
    pub fn blockers(self, feature: Feature, enabled: bool) -> Vec<Feature> {
        if enabled {
            feature.needs().iter().copied().filter(|need| !self.has(*need)).collect()
        } else {
            self.iter().filter(|other| other.needs().contains(&feature)).collect()
        }
    }

    /// The flags that are on.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| self.has(*feature))
    }

    /// For storing; [`Features::from_bits`] reads it back.
    #[must_use]
    pub fn bits(self) -> i64 {
        self.0.into()
    }

    /// From storage. Bits that this version does not know are left out.
    #[must_use]
    pub fn from_bits(bits: i64) -> Self {
        Feature::ALL.into_iter().filter(|f| bits & i64::from(f.bit()) != 0).collect()
    }
}

impl FromIterator<Feature> for Features {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        features.into_iter().fold(Self::default(), |set, feature| set.with(feature, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_e3_needs_the_others_and_holds_them() {
        let none = Features::default();
        assert_eq!(none.blockers(Feature::E3, true), [Feature::E0, Feature::E1, Feature::E2]);
        let all: Features = Feature::ALL.into_iter().collect();
        assert_eq!(all.blockers(Feature::E1, false), [Feature::E3]);
        assert!(all.blockers(Feature::E3, false).is_empty());
        assert_eq!(Features::from_bits(all.bits() | 0x40), all);
    }
}
