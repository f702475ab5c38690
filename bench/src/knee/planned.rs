//! The same search in virtual time (rule B10): each run is a simulation.

use rts_emulator::Profile;

use super::{KneeArgs, Seen, knee, search::Search, sort};
use crate::{
    cli::ChecksArgs,
    error::Error,
    measured::Measured,
    plan::{self, Schedules, overhead::Overhead, scenario::Scenario},
    result::{Mode, ResultFile, Setup},
    trust,
};

/// What a store, and the way to it, add to a sync create, and how long an async create takes, in milliseconds.
const OVERHEAD_MS: (f64, f64) = (4.0, 1.6);
/// Pauses between two runs of the jobs, in seconds.
const SCHEDULES: Schedules = Schedules([0.5; 3]);

/// Finds the knees of every mode.
///
/// # Errors
///
/// A profile that makes no sense.
pub fn find(args: &KneeArgs, command: Vec<String>) -> Result<ResultFile, Error> {
    let profile = args.headquarters.read()?.unwrap_or_default();
    let (mut runs, mut knees) = (Vec::new(), Vec::new());
    for mode in Mode::distinct(&args.modes) {
        let (measured, search) = look(args, &profile, mode)?;
        runs.extend(measured.iter().map(trust::run_that_changes));
        knees.push(knee(args.slo, mode, &search));
    }
    sort(&mut runs);
    let setup = Setup { assumed: Some(plan::assumed(OVERHEAD_MS, SCHEDULES, 0)), ..args.setup() };
    let checks = ChecksArgs { slo: Vec::new(), strict: args.strict }.judge(&runs);
    Ok(ResultFile { checks, knees, ..plan::simulated_result(setup, &profile, command, runs) })
}

/// Looks for the knee of one mode.
pub fn look(args: &KneeArgs, profile: &Profile, mode: Mode) -> Result<(Vec<Measured>, Search), Error> {
    let capacity_per_s = profile.limit_per_s();
    let mut search = Search::new(args.wanted(capacity_per_s));
    let mut measured = Vec::new();
    while let Some(next) = search.next() {
        let load = args.load(next, search.seen.len() as u64);
        let overhead = Overhead::fixed(OVERHEAD_MS.0, OVERHEAD_MS.1);
        let scenario = Scenario {
            seed: args.seed.wrapping_add(search.seen.len() as u64),
            rts_timeout: args.headquarters.timeout(),
            probe_per_s: args.headquarters.probe_rate,
            warmup: load.warmup,
            measured: load.measured,
            goal: args.slo.time(),
            follow_every: load.follow_every(args.sample.into(), 1),
            ..Scenario::new(profile.clone(), mode, load.channels, overhead, plan::jobs(SCHEDULES))
        };
        let run = plan::simulated(&scenario, mode, next.per_s, load.arrivals())?;
        search.add(Seen::of(&run));
        measured.push(run);
    }
    Ok((measured, search))
}
