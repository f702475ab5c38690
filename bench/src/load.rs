//! What a run offers: how many creates fall due when, and at which channel. The schedule is never kept as a whole
//! unless it was recorded, so that a long run takes no more memory than a short one.

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{
    arrivals::{Arrival, constant, poisson, varying},
    counts::Window,
};

/// What all modes are put to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// Creates per second.
    pub per_s: f64,
    /// How many times faster than recorded; traces only.
    pub speedup: Option<f64>,
    /// Load before anything is measured.
    pub warmup: Duration,
    /// How long is measured.
    pub measured: Duration,
    /// When they fall due.
    pub dues: Dues,
    /// At how many channels.
    pub channels: usize,
}

/// When creates fall due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Dues {
    /// With this seed.
    Poisson(u64),
    /// At equal distances.
    Constant,
    /// With this seed, at a rate that follows pairs of seconds and creates per second.
    Curve(u64, Arc<[(f64, f64)]>),
    /// Closed-loop: when the answer to the one before has come, by so many callers. It has no schedule.
    Closed(u16),
    /// Then.
    Listed(Arc<[Arrival]>),
}

impl Load {
    /// When creates fall due, the same each time.
    #[must_use]
    pub fn arrivals(&self) -> Box<dyn Iterator<Item = Arrival> + Send> {
        let length = self.warmup + self.measured;
        match &self.dues {
            Dues::Poisson(seed) => {
                Box::new(poisson(self.per_s, length, self.channels, StdRng::seed_from_u64(*seed)))
            }
            Dues::Constant => Box::new(constant(self.per_s, length, self.channels)),
            Dues::Closed(_) => Box::new(std::iter::empty()),
            Dues::Curve(seed, points) => {
                let rng = StdRng::seed_from_u64(*seed);
                Box::new(varying(Arc::clone(points), length, self.channels, rng))
            }
            Dues::Listed(arrivals) => {
                let arrivals = Arc::clone(arrivals);
                Box::new((0..arrivals.len()).map(move |place| arrivals[place]))
            }
        }
    }

    /// What of it is measured.
    #[must_use]
    pub fn window(&self) -> Window {
        Window { start: self.warmup, end: self.warmup + self.measured }
    }

    /// How many are expected to fall due while it is measured.
    #[must_use]
    pub fn expected(&self) -> u64 {
        match &self.dues {
            Dues::Listed(arrivals) => {
                arrivals.iter().filter(|arrival| arrival.due >= self.warmup).count() as u64
            }
            // Nobody knows: as if each call took 50 ms.
            Dues::Closed(callers) => u64::from(*callers) * 20 * self.measured.as_secs(),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
            Dues::Poisson(_) | Dues::Constant | Dues::Curve(..) => {
                (self.per_s * self.measured.as_secs_f64()).round() as u64
            }
        }
    }

    /// Every how many arrivals one is followed, so that those followed are spread evenly and no more than `sample`. Of
    /// several generators only the first follows, whose creates are those with a multiple of their count as number.
    #[must_use]
    pub fn follow_every(&self, sample: usize, generators: u64) -> u64 {
        every(self.expected(), sample).checked_next_multiple_of(generators).unwrap_or(u64::MAX)
    }

    /// The same for another repetition, from 1: Poisson arrivals are drawn anew, so that repetitions are independent.
    #[must_use]
    pub fn repeated(&self, repeat: u32) -> Self {
        let mut load = self.clone();
        if let Dues::Poisson(seed) | Dues::Curve(seed, _) = &mut load.dues {
            // An odd factor: no two repetitions of two seeds near each other are the same.
            *seed = seed.wrapping_add(u64::from(repeat - 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        load
    }
}

/// Of so many, every how many make no more than `sample`.
#[must_use]
pub fn every(of: u64, sample: usize) -> u64 {
    if sample == 0 { u64::MAX } else { of.div_ceil(sample as u64).max(1) }
}
