//! A scenario as it is written: TOML, checked as a whole before anything is started.

use std::{fs, path::Path, time::Duration};

use rts_emulator::Profile;
use serde::Deserialize;

use crate::{
    arrivals::MAX_ARRIVALS,
    error::Error,
    load::{Dues, Load},
    result::{Arrivals, Event, Mode},
    session::{read_profile, read_trace},
    slo::Slo,
};

/// Most seconds of a scenario, most events, and most points of its traffic.
const LONGEST_S: f64 = 3_600.0;
const MAX_EVENTS: usize = 100;
const MAX_POINTS: usize = 1_000;
/// Highest rate.
const MOST_PER_S: f64 = 100_000.0;

/// What happens at an instant.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Headquarters is out for this long.
    Outage(Duration),
    /// The stores have no way to headquarters.
    Cut,
    /// They have one again.
    Mend,
    /// The stores create in another mode.
    Mode(Mode),
    /// Headquarters is like this from now on.
    Profile(Box<Profile>),
}

/// An action and its instant, from the start of the load.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// When.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// A checked scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What to look for, a paragraph.
    pub look_for: String,
    /// Stores.
    pub stores: u8,
    /// Modes to compare.
    pub modes: Vec<Mode>,
    /// What headquarters is like at first.
    pub profile: Profile,
    /// How long a channel waits for headquarters.
    pub rts_timeout: Duration,
    /// Calls per second of the probe.
    pub probe_per_s: f64,
    /// When creates fall due.
    pub load: Load,
    /// Where they come from, for the result.
    pub arrivals: Arrivals,
    /// What else happens, in the order of time.
    pub dues: Vec<Due>,
    /// The same in words.
    pub events: Vec<Event>,
    /// What it has to keep.
    pub goals: Vec<Slo>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    look_for: String,
    #[serde(default = "two")]
    stores: u8,
    modes: Vec<Mode>,
    seconds: Option<f64>,
    profile: Option<WrittenProfile>,
    #[serde(default = "rts_timeout_s")]
    rts_timeout_s: f64,
    #[serde(default)]
    probe_per_s: f64,
    traffic: Traffic,
    #[serde(default)]
    at: Vec<At>,
    #[serde(default)]
    goals: Vec<String>,
}

fn two() -> u8 {
    2
}

fn rts_timeout_s() -> f64 {
    2.0
}

/// A preset or a file by its name, or a profile in place.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WrittenProfile {
    Named(String),
    InPlace(toml::Table),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Traffic {
    /// Pairs of seconds and creates per second, with straight lines between them.
    rate: Option<Vec<(f64, f64)>>,
    /// A recorded trace, beside the scenario's file.
    trace: Option<String>,
    day: Option<String>,
    speedup: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    seconds: f64,
    #[serde(rename = "do")]
    action: Kind,
    for_s: Option<f64>,
    mode: Option<Mode>,
    profile: Option<WrittenProfile>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Outage,
    Offline,
    Mode,
    Profile,
}

/// Reads a scenario; all its times become `shorten` times as long, and its creates fall due at so many channels, if
/// they are not those that it asks for itself.
///
/// # Errors
///
/// [`Error::Read`], or [`Error::Usage`] that names the file, the place and what is wrong.
pub fn read(path: &Path, shorten: f64, seed: u64, channels: Option<usize>) -> Result<Scenario, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder, shorten, seed, channels).map_err(|error| match error {
        Error::Usage(text) => Error::Usage(format!("{}: {text}", path.display())),
        other => other,
    })
}

fn parse(
    text: &str,
    folder: &Path,
    shorten: f64,
    seed: u64,
    channels: Option<usize>,
) -> Result<Scenario, Error> {
    let written: Written =
        toml::from_str(text).map_err(|error| Error::Usage(one_line(&error.to_string())))?;
    let wrong = |text: String| Err(Error::Usage(text));
    if !(1..=16).contains(&written.stores) {
        return wrong(format!("stores = {}: use 1 to 16", written.stores));
    }
    if written.modes.is_empty() || written.modes.len() > Mode::ALL.len() {
        return wrong("modes: use one to three of sync, sync-fallback, async".to_owned());
    }
    within("rts_timeout_s", written.rts_timeout_s, 0.01, 600.0)?;
    within("probe_per_s", written.probe_per_s, 0.0, 1_000.0)?;
    let profile =
        written.profile.as_ref().map(|profile| profile.read(folder)).transpose()?.unwrap_or_default();
    let (load, arrivals) = written.load(folder, shorten, seed, channels)?;
    let (dues, events) = written.dues(folder, shorten, load.measured)?;
    let goals = written.goals.iter().map(|goal| goal.parse().map_err(|why| format!("goals: {goal} {why}")));
    Ok(Scenario {
        stores: written.stores,
        profile,
        rts_timeout: Duration::from_secs_f64(written.rts_timeout_s),
        probe_per_s: written.probe_per_s,
        load,
        arrivals,
        dues,
        events,
        goals: goals.collect::<Result<_, String>>().map_err(Error::Usage)?,
        name: written.name,
        look_for: written.look_for.split_whitespace().collect::<Vec<_>>().join(" "),
        modes: written.modes,
    })
}

impl Written {
    fn load(
        &self,
        folder: &Path,
        shorten: f64,
        seed: u64,
        channels: Option<usize>,
    ) -> Result<(Load, Arrivals), Error> {
        let channels = channels.unwrap_or(self.stores.into());
        let rest = |per_s: f64, speedup, measured, dues| Load {
            per_s,
            speedup,
            warmup: Duration::ZERO,
            measured,
            dues,
            channels,
        };
        match (&self.traffic.rate, &self.traffic.trace) {
            (Some(points), None) => {
                let seconds = self.seconds.ok_or_else(|| Error::Usage("seconds is missing".to_owned()))?;
                within("seconds", seconds, 1.0, LONGEST_S)?;
                let mean = check(points, seconds)?;
                let points: Vec<(f64, f64)> =
                    points.iter().map(|(at, per_s)| (at * shorten, *per_s)).collect();
                let measured = Duration::from_secs_f64(seconds * shorten);
                Ok((rest(mean, None, measured, Dues::Curve(seed, points.into())), Arrivals::Curve))
            }
            (None, Some(file)) => {
                let speedup = self.traffic.speedup.unwrap_or(1_000.0) / shorten;
                within("traffic.speedup", speedup, 0.001, 1e9)?;
                let trace = read_trace(&folder.join(file), self.traffic.day.as_deref(), None)?;
                let longest = Duration::from_secs_f64(self.seconds.unwrap_or(LONGEST_S) * shorten);
                let measured = (trace.length(speedup) + Duration::from_millis(250)).min(longest);
                let arrivals = trace.arrivals(speedup, measured, channels);
                let per_s = arrivals.len() as f64 / measured.as_secs_f64();
                let file = Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
                let source = Arrivals::Trace { file, day: self.traffic.day.clone(), skip_idle_s: None };
                Ok((rest(per_s, Some(speedup), measured, Dues::Listed(arrivals.into())), source))
            }
            _ => Err(Error::Usage("traffic has either rate or trace".to_owned())),
        }
    }

    fn dues(&self, folder: &Path, shorten: f64, length: Duration) -> Result<(Vec<Due>, Vec<Event>), Error> {
        if self.at.len() > MAX_EVENTS {
            return Err(Error::Usage(format!("these are {} events; at most {MAX_EVENTS}", self.at.len())));
        }
        let (mut dues, mut events) = (Vec::new(), Vec::new());
        for at in &self.at {
            let last = length.as_secs_f64() / shorten;
            within("at.seconds", at.seconds, 0.0, last)?;
            let when = Duration::from_secs_f64(at.seconds * shorten);
            let lasting = || {
                let seconds = at.for_s.ok_or_else(|| Error::Usage("at.for_s is missing".to_owned()))?;
                within("at.for_s", seconds, 0.01, LONGEST_S)?;
                Ok::<_, Error>(Duration::from_secs_f64(seconds * shorten))
            };
            let mut due = |at: Duration, action: Action, what: String| {
                dues.push(Due { at, action });
                events.push(Event { at_s: at.as_secs_f64(), what });
            };
            match at.action {
                Kind::Outage => {
                    let time = lasting()?;
                    due(
                        when,
                        Action::Outage(time),
                        format!("headquarters out for {:.1} s", time.as_secs_f64()),
                    );
                }
                Kind::Offline => {
                    due(when, Action::Cut, "stores offline".to_owned());
                    due(when + lasting()?, Action::Mend, "stores back".to_owned());
                }
                Kind::Mode => {
                    let mode = at.mode.ok_or_else(|| Error::Usage("at.mode is missing".to_owned()))?;
                    due(when, Action::Mode(mode), format!("from now on {mode}"));
                }
                Kind::Profile => {
                    let profile = at.profile.as_ref();
                    let profile = profile.ok_or_else(|| Error::Usage("at.profile is missing".to_owned()))?;
                    let what = match profile {
                        WrittenProfile::Named(name) => format!("headquarters: {name}"),
                        WrittenProfile::InPlace(_) => "headquarters changes".to_owned(),
                    };
                    due(when, Action::Profile(Box::new(profile.read(folder)?)), what);
                }
            }
        }
        dues.sort_by_key(|due| due.at);
        events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        Ok((dues, events))
    }
}

impl WrittenProfile {
    fn read(&self, folder: &Path) -> Result<Profile, Error> {
        match self {
            Self::Named(name) if name.ends_with(".toml") => read_profile(&folder.join(name)),
            Self::Named(name) => read_profile(Path::new(name)),
            Self::InPlace(table) => {
                let text = toml::to_string(table).map_err(|error| Error::Usage(error.to_string()))?;
                Profile::parse(&text).map_err(|error| Error::Usage(format!("profile: {error}")))
            }
        }
    }
}

/// Whether a curve makes sense; gives its mean rate.
fn check(points: &[(f64, f64)], seconds: f64) -> Result<f64, Error> {
    let wrong = |text: &str| Err(Error::Usage(format!("traffic.rate: {text}")));
    if points.is_empty() || points.len() > MAX_POINTS {
        return wrong("use 1 to 1000 points");
    }
    if !points.is_sorted_by(|a, b| a.0 < b.0) || points[0].0 < 0.0 {
        return wrong("the seconds have to ascend, from 0");
    }
    if points.iter().any(|(_, per_s)| !(0.0..=MOST_PER_S).contains(per_s)) {
        return wrong("a rate is 0 to 100000 creates per second");
    }
    let mean = crate::arrivals::mean_rate(points, seconds);
    if mean <= 0.0 || mean * seconds > MAX_ARRIVALS as f64 {
        return wrong("there are no creates, or too many");
    }
    Ok(mean)
}

fn within(what: &str, figure: f64, least: f64, most: f64) -> Result<(), Error> {
    if (least..=most).contains(&figure) {
        return Ok(());
    }
    Err(Error::Usage(format!("{what} = {figure}: use {least} to {most}")))
}

/// An error of TOML in one line: where, and what.
fn one_line(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains('|') && !line.trim().is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "Test"
        look_for = """What
        to see."""
        modes = ["sync", "async"]
        seconds = 10
        goals = ["async:p99=1s"]
        profile = "idle"
        [traffic]
        rate = [[0, 10], [5, 50]]
        [[at]]
        seconds = 8
        do = "mode"
        mode = "async"
        [[at]]
        seconds = 2
        do = "offline"
        for_s = 3
        [[at]]
        seconds = 1
        do = "profile"
        profile = "default"
    "#;

    fn parsed(text: &str) -> Result<Scenario, Error> {
        parse(text, Path::new("/nowhere"), 0.5, 1, None)
    }

    #[test]
    fn a_scenario_is_read_and_shortened() {
        let scenario = parsed(GOOD).unwrap();
        assert_eq!((scenario.look_for.as_str(), scenario.stores), ("What to see.", 2));
        assert_eq!(scenario.load.measured, Duration::from_secs(5));
        // 10 to 50 in five seconds, then 50: 30 and 50, half of the time each.
        assert!((scenario.load.per_s - 40.0).abs() < 1e-9);
        let events: Vec<(f64, &str)> = scenario.events.iter().map(|e| (e.at_s, e.what.as_str())).collect();
        assert_eq!(
            events,
            [
                (0.5, "headquarters: default"),
                (1.0, "stores offline"),
                (2.5, "stores back"),
                (4.0, "from now on async")
            ]
        );
        assert_eq!(scenario.dues.len(), 4);
    }

    #[test]
    fn every_scenario_that_ships_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
        assert_eq!(files.len(), 8);
        for file in files {
            let scenario = read(&file, 1.0, 1, None).unwrap();
            // Over a chain that is there already, nobody creates at a store that it does not have.
            let one = read(&file, 1.0, 1, Some(1)).unwrap();
            assert!(one.load.arrivals().all(|arrival| arrival.channel == 0));
            assert!(scenario.look_for.len() > 200 && !scenario.goals.is_empty(), "{}", file.display());
            let expected = scenario.load.expected() as f64;
            let arrivals = scenario.load.arrivals().count() as f64;
            assert!((arrivals - expected).abs() <= 5.0 * expected.sqrt(), "{}: {arrivals}", file.display());
        }
    }

    #[test]
    fn z1_what_makes_no_sense_is_told_with_its_place() {
        for (from, to, told) in [
            ("seconds = 10", "seconds = 0", "seconds = 0"),
            ("seconds = 10", "", "seconds is missing"),
            ("\"sync\", \"async\"", "\"semi\"", "unknown variant `semi`"),
            ("\"sync\", \"async\"", "", "modes"),
            ("[[0, 10], [5, 50]]", "[[5, 10], [0, 50]]", "ascend"),
            ("[[0, 10], [5, 50]]", "[[0, 0]]", "no creates"),
            ("[[0, 10], [5, 50]]", "[[0, -1]]", "100000"),
            ("rate = [[0, 10], [5, 50]]", "", "either rate or trace"),
            ("for_s = 3", "", "at.for_s is missing"),
            ("mode = \"async\"", "", "at.mode is missing"),
            ("seconds = 8", "seconds = 80", "at.seconds = 80"),
            ("async:p99=1s", "p99", "goals: p99"),
            ("\"default\"", "{ workers = 0 }", "profile"),
            ("\"idle\"", "\"nobody\"", "nobody"),
            ("name =", "nam =", "nam"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = parsed(&text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains('\n'), "{to}: {error}");
        }
    }
}
