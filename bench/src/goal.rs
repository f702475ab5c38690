//! What a create must keep: so many of them acknowledged within some time. One that fails does not keep it.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

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
        let digits =
            percentile.strip_prefix('p').filter(|d| d.len() >= 2 && d.bytes().all(|b| b.is_ascii_digit()));
        let share: f64 = format!("0.{}", digits.ok_or(WRONG)?).parse().map_err(|_| WRONG)?;
        let (digits, unit) = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
            (Some(digits), _) => (digits, 1.0),
            (None, Some(digits)) => (digits, 1e3),
            _ => return Err(WRONG),
        };
        let ms = digits.parse::<f64>().map_err(|_| WRONG)? * unit;
        let fits = (0.5..=0.9999).contains(&share) && (1.0..=600_000.0).contains(&ms);
        if fits {
            Ok(Self { share, ms })
        } else {
            Err("is not a percentile from p50 to p9999 and 1ms to 600s")
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:.4}", self.share);
        let digits = digits.trim_start_matches("0.").trim_end_matches('0');
        write!(f, "p{digits:0<2} within {}", crate::verdict::millis(self.ms))
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
