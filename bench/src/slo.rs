//! Goals that runs have to keep (service level objectives): `p99=500ms`, `failed=1%`, `async:findable-p50=5s`.

use std::{fmt, str::FromStr};

use crate::{
    result::{Mode, Run, SloOutcome, TwoPercentiles, enough},
    verdict::{millis, number},
};

/// A goal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slo {
    /// Of which mode; of each, if absent.
    pub mode: Option<Mode>,
    /// Of what.
    pub metric: Metric,
    /// The most that it may be, in the metric's unit.
    pub most: f64,
}

/// What a goal is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// This quantile of the answer, in milliseconds; a create that fails takes for ever.
    Answer(f64),
    /// The longest answer, in milliseconds; the same.
    Longest,
    /// Share of the creates that fail, 0 to 1.
    Failed,
    /// Median or 99th percentile, in milliseconds, of the time until every store finds a customer.
    Findable(f64),
    /// The same, until the account number is back.
    Account(f64),
    /// The same, of other work at headquarters.
    Probe(f64),
}

impl Metric {
    /// The figure of a run, and whether it has enough samples; nothing without any. What never ends is infinite.
    #[must_use]
    pub fn of(self, run: &Run) -> Option<(f64, bool)> {
        let two = |two: &TwoPercentiles, quantile: f64| {
            let figure = if quantile < 0.9 { two.p50 } else { two.p99 };
            figure.map(|figure| (figure, enough(two.count, quantile)))
        };
        match self {
            Self::Answer(quantile) => {
                (run.arrivals > 0).then(|| (answer(run, quantile), enough(run.arrivals, quantile)))
            }
            Self::Longest if run.failed() > 0 => Some((f64::INFINITY, true)),
            Self::Longest => run.latency_ms.max.map(|max| (max, true)),
            Self::Failed => (run.arrivals > 0).then(|| (run.failed_share(), true)),
            Self::Findable(quantile) => two(&run.findable_everywhere_ms, quantile),
            Self::Account(quantile) => two(&run.account_number_ms, quantile),
            Self::Probe(quantile) => two(&run.probe_latency_ms, quantile),
        }
    }

    /// The figure in words.
    fn words(self, figure: f64) -> String {
        match self {
            Self::Failed => format!("{} %", number(figure * 100.0)),
            _ if figure.is_infinite() => "never".to_owned(),
            _ => millis(figure),
        }
    }
}

/// A quantile of the answer over all arrivals, of which the failed ones never end.
fn answer(run: &Run, quantile: f64) -> f64 {
    let acknowledged = run.latency_ms.count as f64;
    let of_acknowledged = quantile * run.arrivals as f64 / acknowledged.max(f64::EPSILON);
    if of_acknowledged > 1.0 {
        return f64::INFINITY;
    }
    let latency = &run.latency_ms;
    let known = [
        (0.5, latency.p50),
        (0.9, latency.p90),
        (0.99, latency.p99),
        (0.999, latency.p999),
        (0.9999, latency.p9999),
    ];
    if let Some((_, Some(figure))) = known.iter().find(|(known, _)| (known - of_acknowledged).abs() < 1e-9) {
        return *figure;
    }
    // Between two points of the distribution, on a straight line.
    let points = &run.latency_distribution;
    let place = points.partition_point(|(at, _)| *at < of_acknowledged);
    match (place.checked_sub(1).map(|before| points[before]), points.get(place)) {
        (Some((q0, ms0)), Some((q1, ms1))) if *q1 > q0 => {
            ms0 + (ms1 - ms0) * (of_acknowledged - q0) / (q1 - q0)
        }
        (_, Some((_, ms))) => *ms,
        (Some((_, ms)), None) => ms,
        (None, None) => f64::INFINITY,
    }
}

impl Slo {
    /// How the runs it is about keep it.
    #[must_use]
    pub fn judge(&self, runs: &[Run]) -> Vec<SloOutcome> {
        let concerned = runs.iter().filter(|run| self.mode.is_none_or(|mode| mode == run.mode));
        concerned
            .map(|run| {
                let figure = self.metric.of(run);
                SloOutcome {
                    slo: self.to_string(),
                    mode: run.mode,
                    offered_per_s: run.offered_per_s,
                    figure: figure
                        .map_or_else(|| "nothing measured".to_owned(), |(f, _)| self.metric.words(f)),
                    kept: figure.is_some_and(|(figure, _)| figure <= self.most),
                    few_samples: figure.is_some_and(|(_, enough)| !enough),
                }
            })
            .collect()
    }
}

impl FromStr for Slo {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "is not a goal: use p99=500ms (p50 to p9999, max), failed=1%, findable-p50=5s, \
                             account-p99=10s, probe-p99=1s; before it a mode and a colon, such as async:p99=20ms";
        let (mode, goal) = match text.split_once(':') {
            Some((mode, goal)) => (Some(mode.parse()?), goal),
            None => (None, text),
        };
        let (name, most) = goal.split_once('=').ok_or(WRONG)?;
        let two = |name: &str| match name {
            "p50" => Ok(0.5),
            "p99" => Ok(0.99),
            _ => Err("is not one of p50 and p99: of samples and of the probe no others are kept"),
        };
        let metric = match name.split_once('-') {
            None if name == "failed" => Metric::Failed,
            None if name == "max" => Metric::Longest,
            None => Metric::Answer(quantile(name).ok_or(WRONG)?),
            Some(("findable", quantile)) => Metric::Findable(two(quantile)?),
            Some(("account", quantile)) => Metric::Account(two(quantile)?),
            Some(("probe", quantile)) => Metric::Probe(two(quantile)?),
            Some(_) => return Err(WRONG),
        };
        let most = match metric {
            Metric::Failed => most.strip_suffix('%').and_then(|p| p.parse::<f64>().ok()).map(|p| p / 100.0),
            _ => time_ms(most),
        };
        let most = most.ok_or(WRONG)?;
        let fits = if metric == Metric::Failed { 0.0..=1.0 } else { 0.01..=3.6e6 }.contains(&most);
        if fits {
            Ok(Self { mode, metric, most })
        } else {
            Err("is not from 0 to 100 %, or from 0.01 ms to 3600 s")
        }
    }
}

/// `p99` as 0.99; from p50 to p9999.
pub(crate) fn quantile(name: &str) -> Option<f64> {
    let digits = name.strip_prefix('p').filter(|d| d.len() >= 2 && d.bytes().all(|b| b.is_ascii_digit()))?;
    let quantile: f64 = format!("0.{digits}").parse().ok()?;
    (0.5..=0.9999).contains(&quantile).then_some(quantile)
}

/// `p99` for 0.99.
pub(crate) fn quantile_name(quantile: f64) -> String {
    let digits = format!("{quantile:.4}");
    let digits = digits.trim_start_matches("0.").trim_end_matches('0');
    format!("p{digits:0<2}")
}

/// `500ms` or `2s` in milliseconds.
pub(crate) fn time_ms(text: &str) -> Option<f64> {
    let (digits, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1.0),
        (None, Some(digits)) => (digits, 1e3),
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|time| time * unit)
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mode) = self.mode {
            write!(f, "{mode}: ")?;
        }
        match self.metric {
            Metric::Answer(quantile) => f.write_str(&quantile_name(quantile))?,
            Metric::Longest => f.write_str("max")?,
            Metric::Failed => f.write_str("failed")?,
            Metric::Findable(quantile) => write!(f, "findable {}", quantile_name(quantile))?,
            Metric::Account(quantile) => write!(f, "account number {}", quantile_name(quantile))?,
            Metric::Probe(quantile) => write!(f, "probe {}", quantile_name(quantile))?,
        }
        write!(f, " within {}", self.metric.words(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn slo(text: &str) -> Slo {
        text.parse().unwrap()
    }

    #[test]
    fn z1_a_goal_is_read_or_refused() {
        assert_eq!(slo("p99=500ms"), Slo { mode: None, metric: Metric::Answer(0.99), most: 500.0 });
        assert_eq!(slo("failed=1%").most, 0.01);
        assert_eq!(slo("async:findable-p50=5s").to_string(), "async: findable p50 within 5.00 s");
        assert_eq!(slo("p999=2s").to_string(), "p999 within 2.00 s");
        for wrong in [
            "",
            "p99",
            "p99=5",
            "p9=5ms",
            "p99=xs",
            "failed=5",
            "failed=101%",
            "findable-p90=1s",
            "semi:p99=1s",
            "p99=0ms",
        ] {
            assert!(wrong.parse::<Slo>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn b7_a_create_that_fails_takes_for_ever() {
        let result = testing::result();
        let kept = |text: &str| slo(text).judge(&result.runs).iter().map(|o| o.kept).collect::<Vec<_>>();
        // Sync at 50/s: p50 40 ms, p90 80 ms; at 200/s half of the creates fail.
        assert_eq!(kept("sync:p90=100ms"), [true, false]);
        assert_eq!(kept("sync:p50=10s"), [true, true]);
        assert_eq!(kept("sync:failed=49%"), [true, false]);
        assert_eq!(kept("async:findable-p50=1s"), [false, false]);
        assert_eq!(kept("max=1s").len(), 6);
        let outcome = &slo("sync:p99=1s").judge(&result.runs)[1];
        assert_eq!((outcome.figure.as_str(), outcome.kept, outcome.few_samples), ("never", false, true));
    }
}
