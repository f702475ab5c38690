//! Feature flags (rule E2).

use std::fmt;

use crate::pb;

/// A feature flag, made at headquarters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// An async create keeps title, affiliations, secondary contacts and attributes.
    E2,
}

impl Feature {
    /// All of them, in order.
    pub const ALL: [Self; 1] = [Self::E2];

    /// Its bit in stored sets.
    fn bit(self) -> i64 {
        match self {
            Self::E2 => 1 << 2,
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
            pb::common::Feature::EnhancedAsyncCreate => Ok(Self::E2),
        }
    }
}

impl From<Feature> for pb::common::Feature {
    fn from(feature: Feature) -> Self {
        match feature {
            Feature::E2 => Self::EnhancedAsyncCreate,
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
}
