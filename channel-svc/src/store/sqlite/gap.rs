//! Where the tables hold nobody. GUIDs that tills mint begin with the time (UUID version 7), so that almost each is greater
//! than all that are there: it is found to be new without a look into the index. Random GUIDs gain nothing by it.

use std::sync::{PoisonError, RwLock};

use tillsync_proto::CustomerId;

use crate::planted::planted;

/// Two GUIDs without a customer between them; 0 and 0 before the first batch.
#[derive(Debug, Default)]
pub(crate) struct Gap(RwLock<(u128, u128)>);

impl Gap {
    fn bounds(&self) -> (u128, u128) {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, bounds: (u128, u128)) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    /// Those that the tables may hold.
    pub fn outside(&self, ids: &[CustomerId]) -> Vec<CustomerId> {
        let (low, high) = self.bounds();
        let inside = |id: u128| low < id && id < high;
        ids.iter().copied().filter(|id| !inside(id.0.as_u128())).collect()
    }

    /// Leaves out these, which the tables hold from the next commit on: what is greater stays. Called before that commit, so
    /// that whoever finds a customer neither in the tail nor in the gap looks. False: it begins elsewhere than behind the
    /// last of them.
    pub fn narrow(&self, ids: &[CustomerId]) -> bool {
        let (low, high) = self.bounds();
        if planted("the gap is not narrowed") {
            return low > 0;
        }
        let ids = || ids.iter().map(|id| id.0.as_u128());
        let low = ids().filter(|id| *id < high).fold(low, u128::max);
        self.set((low.min(high), high));
        ids().max() == Some(low)
    }

    /// It is here now: between this customer and the next in the tables, if there is one. Called by whoever writes to them,
    /// while nobody else does.
    pub fn move_behind(&self, id: CustomerId, next: Option<CustomerId>) {
        self.set((id.0.as_u128(), next.map_or(u128::MAX, |next| next.0.as_u128())));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> CustomerId {
        CustomerId(Uuid::from_u128(number))
    }

    proptest! {
        /// Whatever is written in whatever order: who is there is looked for.
        #[test]
        fn whoever_is_there_is_outside(batches in prop::collection::vec((any::<bool>(), prop::collection::vec(0_u128..40, 1..5)), 1..20)) {
            let (gap, mut there) = (Gap::default(), BTreeSet::new());
            for (moves, batch) in batches {
                let ids: Vec<CustomerId> = batch.iter().copied().map(id).collect();
                let follows = gap.narrow(&ids);
                there.extend(ids.iter().copied());
                let last = *ids.iter().max().unwrap();
                if moves && !follows {
                    gap.move_behind(last, there.range(last..).nth(1).copied());
                }
                let there: Vec<CustomerId> = there.iter().copied().collect();
                prop_assert_eq!(gap.outside(&there), there);
            }
        }
    }

    #[test]
    fn who_comes_later_is_known_to_be_new() {
        let gap = Gap::default();
        assert_eq!(gap.outside(&[id(7)]), [id(7)], "nothing is known yet");
        assert!(!gap.narrow(&[id(5), id(7)]));
        gap.move_behind(id(7), None);
        assert_eq!(gap.outside(&[id(3), id(7), id(8), id(1 << 127)]), [id(3), id(7)]);
        assert!(gap.narrow(&[id(8), id(9)]));
        assert_eq!(gap.outside(&[id(8), id(9), id(10)]), [id(8), id(9)]);
        // A clock that is ahead, and the customer that it gave a GUID.
        assert!(gap.narrow(&[id(100)]));
        assert!(!gap.narrow(&[id(10)]));
        gap.move_behind(id(10), Some(id(100)));
        assert_eq!(gap.outside(&[id(10), id(11), id(99), id(100), id(101)]), [id(10), id(100), id(101)]);
    }
}
