//! Feature flags (rules E0 to E4, F1).

use std::fmt;

use crate::pb;

/// A feature flag, made at headquarters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Performance improvements for customer orders and transactions: a prerequisite and nothing else.
    E0,
    /// A new address is saved without a call to headquarters.
    E1,
    /// An async create keeps title, affiliations, secondary contacts and attributes.
    E2,
    /// Edits of customers and addresses are logged as operations instead of calls to headquarters.
    E3,
    /// The list of synchronization statuses at headquarters.
    E4,
}

impl Feature {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::E0, Self::E1, Self::E2, Self::E3, Self::E4];

    /// The flags that must be on before this one can be switched on (rule F1).
    #[must_use]
    pub fn needs(self) -> &'static [Self] {
        match self {
            Self::E3 => &[Self::E0, Self::E1, Self::E2],
            Self::E0 | Self::E1 | Self::E2 | Self::E4 => &[],
        }
    }

    /// Its bit in stored sets.
    fn bit(self) -> i64 {
        match self {
            Self::E0 => 1,
            Self::E1 => 1 << 1,
            Self::E2 => 1 << 2,
            Self::E3 => 1 << 3,
            Self::E4 => 1 << 4,
        }
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
            pb::common::Feature::AsyncAddresses => Ok(Self::E1),
            pb::common::Feature::EnhancedAsyncCreate => Ok(Self::E2),
            pb::common::Feature::AsyncEdit => Ok(Self::E3),
            pb::common::Feature::OperationsAudit => Ok(Self::E4),
        }
    }
}

impl From<Feature> for pb::common::Feature {
    fn from(feature: Feature) -> Self {
        match feature {
            Feature::E0 => Self::OrderPerformance,
            Feature::E1 => Self::AsyncAddresses,
            Feature::E2 => Self::EnhancedAsyncCreate,
            Feature::E3 => Self::AsyncEdit,
            Feature::E4 => Self::OperationsAudit,
        }
    }
}

/// The set of flags that are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(i64);

impl Features {
    /// Whether a flag is on.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    /// The same set with one flag switched.
    #[must_use]
    pub fn with(self, feature: Feature, enabled: bool) -> Self {
        if enabled { Self(self.0 | feature.bit()) } else { Self(self.0 & !feature.bit()) }
    }

    /// The flags that are on.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| self.has(*feature))
    }

    /// What a switch of `feature` lacks: the flags that it needs and that are off, or, when it is switched off,
    /// the flags that need it and are on (rule F1). Empty if it can be switched.
    #[must_use]
    pub fn in_the_way(self, feature: Feature, enabled: bool) -> Vec<Feature> {
        let against = |other: &Feature| match enabled {
            true => feature.needs().contains(other) && !self.has(*other),
            false => other.needs().contains(&feature) && self.has(*other),
        };
        Feature::ALL.into_iter().filter(against).collect()
    }

    /// For storing; [`Features::from_bits`] reads it back.
    #[must_use]
    pub fn bits(self) -> i64 {
        self.0
    }

    /// From storage. Bits that this version does not know are left out.
    #[must_use]
    pub fn from_bits(bits: i64) -> Self {
        Feature::ALL.into_iter().filter(|feature| bits & feature.bit() != 0).collect()
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
    fn sets_are_stored_and_read_back() {
        let all: Features = Feature::ALL.into_iter().collect();
        assert_eq!(Features::from_bits(all.bits() | 0x4000), all);
        assert!(!all.with(Feature::E2, false).has(Feature::E2));
    }

    #[test]
    fn f1_a_flag_needs_others_and_keeps_them_on() {
        let on: Features = [Feature::E0, Feature::E2].into_iter().collect();
        assert_eq!(on.in_the_way(Feature::E3, true), [Feature::E1]);
        assert_eq!(
            Features::default().in_the_way(Feature::E3, true),
            [Feature::E0, Feature::E1, Feature::E2]
        );
        let all = on.with(Feature::E1, true).with(Feature::E3, true);
        assert_eq!(all.in_the_way(Feature::E1, false), [Feature::E3]);
        assert!(
            all.in_the_way(Feature::E3, false).is_empty() && all.in_the_way(Feature::E4, true).is_empty()
        );
    }
}
