//! What a create must keep: so many of them acknowledged within some time. One that fails does not keep it.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    slo::{quantile, quantile_name, time_ms},
    verdict::millis,
};

/// What a create must keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// Share of the creates that have to be acknowledged in time, 0.5 to 0.9999.
    pub share: f64,
    /// The time, in milliseconds.
    pub ms: f64,
}

impl Goal {
    /// The time.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.ms / 1e3)
    }
}

impl FromStr for Goal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "is not a goal: use a percentile and its time, such as p99=500ms or p90=1s";
        let (percentile, time) = text.split_once('=').ok_or(WRONG)?;
        let (share, ms) = quantile(percentile).zip(time_ms(time)).ok_or(WRONG)?;
        if (1.0..=600_000.0).contains(&ms) { Ok(Self { share, ms }) } else { Err("is not from 1ms to 600s") }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} within {}", quantile_name(self.share), millis(self.ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z1_a_goal_is_a_percentile_and_its_time() {
        for goal in ["p99", "99=5ms", "p9=5ms", "p99=5", "p99=0ms", "p99999=1s", "p99=xs", "p-9=1s"] {
            assert!(goal.parse::<Goal>().is_err(), "{goal}");
        }
        assert_eq!("p999=2s".parse::<Goal>().unwrap().to_string(), "p999 within 2.00 s");
    }
}
