//! What each of the emulator's presets does to sync creates under rising load (rule R8), simulated, as a page.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use rts_emulator::{
    Profile,
    parallel::{in_parallel, threads},
    profile::PRESETS,
};

use super::{
    Schedules, jobs,
    overhead::Overhead,
    scenario::Scenario,
    sim::simulate,
    traffic::{Curve, Sizes, Traffic},
};
use crate::{
    error::Error,
    report,
    result::{Mode, Run},
    say,
};

/// Rates, as shares of what the preset can serve, or of [`UNLIMITED_PER_S`].
const LOADS: [f64; 10] = [0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5];
const UNLIMITED_PER_S: f64 = 100.0;
/// Long enough for two of the longest cycle that a preset has, and two of the platform's windows.
const MEASURED: Duration = Duration::from_secs(600);
/// Two stores, that wait for as long as stores do.
const STORES: usize = 2;
const RTS_TIMEOUT: Duration = Duration::from_secs(2);
/// What a store adds, as in a plan.
const OVERHEAD_MS: (f64, f64) = (4.0, 1.6);
const SEED: u64 = 1;

/// Options.
#[derive(Debug, Clone, Args)]
pub struct ProfilesArgs {
    /// Where to write the page.
    #[arg(long, default_value = "tillsync-report/profiles.html", value_name = "FILE")]
    pub out: PathBuf,
}

/// A preset under rising load.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// What it can serve; absent if nothing limits it.
    pub capacity_per_s: Option<f64>,
    /// By offered rate.
    pub runs: Vec<Run>,
}

/// Simulates, and writes the page.
///
/// # Errors
///
/// [`Error::Write`].
pub fn profiles(args: &ProfilesArgs) -> Result<ExitCode, Error> {
    let wrong = |source| Error::Write { path: args.out.clone(), source };
    if let Some(folder) = args.out.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    fs::write(&args.out, report::profiles(&loaded(threads())?)).map_err(wrong)?;
    say(&format!("Page: {}\n", args.out.display()));
    Ok(ExitCode::SUCCESS)
}

/// Every preset under rising load.
///
/// # Errors
///
/// None that a preset has.
pub fn loaded(threads: usize) -> Result<Vec<Loaded>, Error> {
    let work = PRESETS.iter().flat_map(|(name, _)| LOADS.iter().map(move |load| (*name, *load))).collect();
    let runs = in_parallel(threads, work, |(name, load)| {
        let profile = preset(name)?;
        let capacity = profile.capacity_per_s();
        let per_s = load * if capacity.is_finite() { capacity } else { UNLIMITED_PER_S };
        under(profile, per_s)
    })?;
    let loaded = PRESETS.iter().zip(runs.chunks(LOADS.len())).map(|((name, text), runs)| {
        let capacity = preset(name)?.limit_per_s();
        Ok(Loaded { name, text, capacity_per_s: capacity, runs: runs.to_vec() })
    });
    loaded.collect()
}

fn preset(name: &str) -> Result<Profile, Error> {
    Profile::preset(name).map_err(|error| Error::Usage(error.to_string()))
}

fn under(profile: Profile, per_s: f64) -> Result<Run, Error> {
    let overhead = Overhead::fixed(OVERHEAD_MS.0, OVERHEAD_MS.1);
    let scenario = Scenario {
        seed: SEED,
        rts_timeout: RTS_TIMEOUT,
        measured: MEASURED,
        ..Scenario::new(profile, Mode::Sync, STORES, overhead, jobs(Schedules([0.5; 3])))
    };
    let (curve, sizes) = (Curve::steady(per_s), Sizes::new(&[1.0; STORES]));
    let traffic = Traffic::drawn(&curve, &sizes, MEASURED, SEED);
    let simulated = simulate(&scenario, Mode::Sync, per_s, traffic);
    simulated.map(|simulated| simulated.run()).map_err(|error| Error::Usage(error.to_string()))
}
