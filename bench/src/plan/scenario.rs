//! What a run simulates.

use std::time::Duration;

use rts_emulator::Profile;

use super::{jobs::Jobs, overhead::Overhead};
use crate::result::Mode;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What headquarters is like.
    pub profile: Profile,
    /// Seed of everything that chance decides.
    pub seed: u64,
    /// Of which repetition it is, from 1.
    pub repeat: u32,
    /// How each store creates; its name is `store-` and its number, from 1.
    pub modes: Vec<Mode>,
    /// What the stores do besides.
    pub overhead: Overhead,
    /// The jobs.
    pub jobs: Jobs,
    /// Workers that the customer sync job takes from calls while it runs.
    pub conversion_workers: u32,
    /// How long a store waits for headquarters.
    pub rts_timeout: Duration,
    /// Calls per second of other work at headquarters.
    pub probe_per_s: f64,
    /// Load before anything is measured.
    pub warmup: Duration,
    /// How long is measured.
    pub measured: Duration,
    /// Every so many creates is followed until every store finds it.
    pub follow_every: u64,
    /// What calls are named by.
    pub names: Names,
    /// Creates that are acknowledged within this time are counted apart.
    pub goal: Duration,
}

/// What calls are named by, which decides what chance gives them (rule R3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Their number in the run.
    Numbers,
    /// The GUIDs of a session that was measured.
    Session {
        /// Place of the run in the session.
        run: u64,
        /// When the session began, in microseconds of wall time.
        epoch_micros: i64,
    },
}

impl Scenario {
    /// All stores in the same mode, nothing else at headquarters, nobody followed, no goal; the rest by struct update.
    #[must_use]
    pub fn new(profile: Profile, mode: Mode, stores: usize, overhead: Overhead, jobs: Jobs) -> Self {
        Self {
            profile,
            seed: 1,
            repeat: 1,
            modes: vec![mode; stores],
            overhead,
            jobs,
            conversion_workers: 0,
            rts_timeout: Duration::from_secs(2),
            probe_per_s: 0.0,
            warmup: Duration::ZERO,
            measured: Duration::ZERO,
            follow_every: u64::MAX,
            names: Names::Numbers,
            goal: Duration::MAX,
        }
    }
}
