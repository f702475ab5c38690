//! Everything that can go wrong around a chain: processes that are killed, power that fails, disks that fill up or break,
//! networks that are cut. Each is short here and long in `tests/nightly`.

mod broken_disks;
mod cuts;
mod disk;
mod fuzz;
mod kills;
mod ledger;
mod power;
mod raw;
mod wire;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Chance of one seed.
struct Chance(StdRng);

impl Chance {
    fn of(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number below a bound.
    fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// True so many times in a hundred.
    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
