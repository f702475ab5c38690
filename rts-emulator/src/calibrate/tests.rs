//! Logs made up by SimPy (`reference/simpy_calls.py`), with known parameters, and files that cannot tell.

use super::*;
use crate::profile::GrpcCode;

macro_rules! calls {
    ($name:literal) => {
        include_str!(concat!("../../reference/calls/", $name, ".csv"))
    };
}

fn fit(text: &str) -> Result<Fit, CalibrateError> {
    calibrate(&Observed::parse(text)?)
}

fn near(found: f64, expected: f64, by: f64) {
    assert!((found / expected - 1.0).abs() <= by, "{found}, {expected} expected");
}

#[test]
fn r7_workers_and_service_times_are_recovered() {
    for (text, workers, mean_ms, cv) in [
        (calls!("one-worker"), 1, 30.0, 0.4),
        (calls!("four-exponential"), 4, 20.0, 1.0),
        (calls!("eight-lognormal"), 8, 40.0, 0.5),
        (calls!("four-constant"), 4, 25.0, 0.0),
    ] {
        let Fit { profile, unexplained, .. } = fit(text).unwrap();
        assert_eq!(profile.workers, workers);
        near(profile.service.mean(), mean_ms, 0.05);
        let found = match profile.service.distribution {
            Distribution::Constant => 0.0,
            Distribution::Exponential => 1.0,
            _ => profile.service.cv.unwrap(),
        };
        assert!((found - cv).abs() <= 0.1 * cv, "{found}, {cv} expected");
        assert_eq!((profile.serial_section, profile.scalability), (None, None));
        assert!(unexplained < 0.2, "{unexplained}");
        near(profile.capacity_per_s(), f64::from(workers) / mean_ms * 1e3, 0.05);
    }
}

#[test]
fn r7_a_serial_section_is_recovered() {
    let Fit { profile, .. } = fit(calls!("serial")).unwrap();
    assert!((profile.serial_section.unwrap().share - 0.4).abs() < 0.04, "{profile:?}");
    near(profile.service.mean(), 40.0, 0.05);
    near(profile.capacity_per_s(), 62.5, 0.05);
    assert!((5..=7).contains(&profile.workers), "{}", profile.workers);
}

#[test]
fn r7_slowing_is_recovered() {
    let Fit { profile, .. } = fit(calls!("slowing")).unwrap();
    assert!((8..=9).contains(&profile.workers), "{}", profile.workers);
    near(profile.service.mean(), 40.0, 0.05);
    near(profile.capacity_per_s(), 8.0 / 0.04 / 1.91, 0.08);
    let (found, truth) = (profile.scalability.unwrap(), Scalability { contention: 0.05, coherency: 0.01 });
    for calls in [2, 4, 8] {
        near(found.slowness(calls), truth.slowness(calls), 0.06);
    }
}

#[test]
fn r7_a_file_that_cannot_tell_is_refused() {
    assert!(matches!(fit(calls!("never-busy")), Err(CalibrateError::NeverBusy { .. })));
    assert!(matches!(fit(calls!("never-idle")), Err(CalibrateError::NeverIdle(1..))));
    let few: String = calls!("one-worker").lines().take(300).map(|line| format!("{line}\n")).collect();
    assert_eq!(fit(&few), Err(CalibrateError::TooFew(298)));
    // The second of two takes 900 ms or hardly longer than the first, and no queue makes that of 10 ms.
    let mut nonsense = "start_ms,duration_ms,status\n".to_owned();
    for n in 0..1_000 {
        let second = if n % 2 == 0 { 900 } else { 11 };
        nonsense += &format!("{0},10,OK\n{0}.5,{second},OK\n", n * 5_000);
    }
    let told = fit(&nonsense);
    assert!(matches!(told, Err(CalibrateError::Unexplained(_))), "{told:?}");
}

#[test]
fn z1_a_bad_file_is_told_with_its_line() {
    let head = "start_s,method,duration_ms,status\n";
    let wrong = |text: &str| Observed::parse(text).unwrap_err().to_string();
    assert!(wrong("").contains("start_ms"));
    assert!(wrong("start_ms,status\n").contains("duration_ms"));
    assert_eq!(wrong(&format!("{head}1,get,x,OK\n")), "line 2: the duration is not a number");
    assert_eq!(wrong(&format!("# mine\n{head}now,get,1,OK\n")), "line 3: the start is not a number");
    assert_eq!(wrong(&format!("{head}1,get,-1,OK\n")), "line 2: the duration is negative");
    assert_eq!(wrong(&format!("{head}1,get,1\n")), "line 2: has no status");
    assert_eq!(wrong(&format!("{head}1,get,inf,OK\n")), "line 2: the duration is not a number");
    let read =
        Observed::parse(&format!("{head}2,get,5,OK\n1,get,3,INTERNAL\n3,get,1,UNAVAILABLE\n")).unwrap();
    assert_eq!((read.served().len(), read.refused()), (2, 1));
    assert_eq!(read.served()[0], log::Interval { start: 1_000.0, end: 1_003.0 });
    assert_eq!(read.failed_when_served(), [(GrpcCode::Internal, 0.5)].into());
}

#[test]
fn r7_what_was_found_is_a_profile_with_its_doubts() {
    let fit = fit(calls!("four-constant")).unwrap();
    let toml = fit.to_toml("calls.csv").unwrap();
    assert!(toml.starts_with("# Calibrated from calls.csv: 4000 served calls") && toml.contains("# Doubt: "));
    assert_eq!(Profile::parse(&toml).unwrap(), fit.profile);
    let text = fit.to_string();
    assert!(text.starts_with("workers        4\nservice        constant, mean 25.00 ms\n"), "{text}");
}
