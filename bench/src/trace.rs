//! Recorded arrivals, replayed at a chosen speed (rule B2). The format is described in `traces/README.md`.

use std::{collections::HashMap, str::FromStr, time::Duration};

use prost_types::Timestamp;

use crate::arrivals::{Arrival, MAX_ARRIVALS};

/// The optional first line names the time of the first arrival.
const FIRST_ARRIVAL: &str = "# first arrival:";
const DAY_MS: u64 = 86_400_000;
/// Latest arrival: what is computed from it stays far from the end of its numbers.
const MAX_OFFSET_MS: u64 = 100 * 366 * DAY_MS;

/// A trace as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Recorded time of the first arrival in milliseconds after some midnight; 0 if the trace does not say.
    first_ms: u64,
    /// Whether that midnight is that of 1970-01-01.
    dated: bool,
    /// Milliseconds since the first arrival, ascending, and the store's hash.
    rows: Vec<(u64, u64)>,
}

/// Which part of a trace to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// The day with the most arrivals.
    Busiest,
    /// This day, counted from 1970-01-01.
    Date(u64),
}

/// What is wrong with a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// A line that is not `offset_ms,store`.
    #[error("line {line}: {wrong}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// No arrival at all, or none on the day that was asked for.
    #[error("no arrival {0}")]
    Empty(&'static str),
    /// A date was asked for, and the trace does not say when it was recorded.
    #[error("it does not say on which day it begins; use --day busiest")]
    Undated,
}

impl Trace {
    /// How many arrivals fell into each hour of the day, all days together.
    #[must_use]
    pub fn by_hour(&self) -> [u64; 24] {
        let mut hours = [0; 24];
        for (offset_ms, _) in &self.rows {
            hours[((self.first_ms + offset_ms) % DAY_MS / 3_600_000) as usize] += 1;
        }
        hours
    }

    /// Reads a trace of at most [`MAX_ARRIVALS`] rows.
    ///
    /// # Errors
    ///
    /// [`TraceError::Line`] or [`TraceError::Empty`].
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut trace = Self { first_ms: 0, dated: false, rows: Vec::new() };
        let mut header = false;
        for (line, content) in (1..).zip(text.lines()) {
            let wrong = |wrong| TraceError::Line { line, wrong };
            let content = content.trim();
            if let Some(time) = content.strip_prefix(FIRST_ARRIVAL) {
                let time = Timestamp::from_str(time.trim()).ok();
                let seconds = time.and_then(|time| u64::try_from(time.seconds).ok());
                let seconds = seconds.ok_or_else(|| wrong("the time is not like 2010-12-01T08:26:00Z"))?;
                (trace.first_ms, trace.dated) = (seconds * 1_000, true);
            } else if content.is_empty() || content.starts_with('#') {
            } else if !header {
                header = true;
                if content != "offset_ms,store" {
                    return Err(wrong("the header is not offset_ms,store"));
                }
            } else {
                let (offset, store) = content.split_once(',').ok_or_else(|| wrong("there is no comma"))?;
                let offset =
                    offset.parse().map_err(|_| wrong("offset_ms is not a whole number, 0 or more"))?;
                if offset > MAX_OFFSET_MS {
                    return Err(wrong("offset_ms is more than 100 years"));
                }
                if trace.rows.last().is_some_and(|(before, _)| *before > offset) {
                    return Err(wrong("offset_ms is less than in the line before"));
                }
                if store.is_empty() || store.contains(',') {
                    return Err(wrong("store is not one word"));
                }
                if trace.rows.len() == MAX_ARRIVALS {
                    return Err(wrong("too many rows"));
                }
                trace.rows.push((offset, hash(store)));
            }
        }
        if trace.rows.is_empty() { Err(TraceError::Empty("in the file")) } else { Ok(trace) }
    }

    /// Only the arrivals of one day. Without dates a day is 24 hours from the first arrival.
    ///
    /// # Errors
    ///
    /// [`TraceError::Empty`] or [`TraceError::Undated`].
    pub fn day(mut self, day: Day) -> Result<Self, TraceError> {
        let first_ms = self.first_ms;
        let day_of = |offset: u64| first_ms.saturating_add(offset) / DAY_MS;
        let wanted = match day {
            Day::Date(_) if !self.dated => return Err(TraceError::Undated),
            Day::Date(date) => date,
            Day::Busiest => {
                let mut counts: HashMap<u64, usize> = HashMap::new();
                for (offset, _) in &self.rows {
                    *counts.entry(day_of(*offset)).or_default() += 1;
                }
                let busiest = counts.into_iter().max_by_key(|(day, count)| (*count, u64::MAX - day));
                busiest.map_or(0, |(day, _)| day)
            }
        };
        self.rows.retain(|(offset, _)| day_of(*offset) == wanted);
        if self.rows.is_empty() { Err(TraceError::Empty("on that day")) } else { Ok(self) }
    }

    /// Shortens every pause that is longer than `longest` to it.
    #[must_use]
    pub fn skip_idle(mut self, longest: Duration) -> Self {
        let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        let (mut before, mut now) = (self.rows.first().map_or(0, |row| row.0), 0_u64);
        for (offset, _) in &mut self.rows {
            now = now.saturating_add((*offset - before).min(longest_ms));
            before = std::mem::replace(offset, now);
        }
        self
    }

    /// The arrivals at `speedup` times the recorded speed, from the first one on, no longer than `length`.
    #[must_use]
    pub fn arrivals(&self, speedup: f64, length: Duration, channels: usize) -> Vec<Arrival> {
        let first = self.rows.first().map_or(0, |row| row.0);
        let channels = u64::try_from(channels.max(1)).unwrap_or(1);
        self.rows
            .iter()
            .map(|(offset, store)| Arrival {
                due: Duration::from_millis(offset - first).div_f64(speedup),
                channel: usize::try_from(store % channels).unwrap_or(0),
            })
            .take_while(|arrival| arrival.due <= length)
            .collect()
    }

    /// How long the replay lasts in all.
    #[must_use]
    pub fn length(&self, speedup: f64) -> Duration {
        let first = self.rows.first().map_or(0, |row| row.0);
        let last = self.rows.last().map_or(0, |row| row.0);
        Duration::from_millis(last - first).div_f64(speedup)
    }
}

impl FromStr for Day {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "busiest" {
            return Ok(Self::Busiest);
        }
        let midnight = Timestamp::from_str(&format!("{text}T00:00:00Z")).ok();
        let seconds = midnight.and_then(|midnight| u64::try_from(midnight.seconds).ok());
        Ok(Self::Date(seconds.ok_or("is neither a date such as 2011-10-06 nor \"busiest\"")? / 86_400))
    }
}

/// FNV-1a: the same store is the same channel in every version and on every machine.
fn hash(store: &str) -> u64 {
    store.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVOICES: &str = include_str!("../traces/online-retail-invoices.csv");
    const NEW_CUSTOMERS: &str = include_str!("../traces/online-retail-new-customers.csv");

    fn line(text: &str) -> usize {
        match Trace::parse(text) {
            Err(TraceError::Line { line, .. }) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        assert_eq!(line("time,shop\n1,GB"), 1);
        for (row, text) in
            [(3, "x,GB"), (3, "5"), (3, "-1,GB"), (3, "1.5,GB"), (3, "5,"), (3, "5,GB,FR"), (4, "9,A\n8,A")]
        {
            assert_eq!(line(&format!("offset_ms,store\n0,GB\n{text}")), row, "{text}");
        }
        assert_eq!(line("# first arrival: yesterday\noffset_ms,store\n0,GB"), 1);
        assert_eq!(Trace::parse("offset_ms,store\n\n"), Err(TraceError::Empty("in the file")));
        assert_eq!(Trace::parse(""), Err(TraceError::Empty("in the file")));
        assert!("2011-13-40".parse::<Day>().is_err());
        assert!("monday".parse::<Day>().is_err());
    }

    #[test]
    fn the_recorded_traces_have_the_days_that_their_readme_names() {
        for (text, rows, day, count) in
            [(INVOICES, 25_900, "2011-10-06", 218), (NEW_CUSTOMERS, 4_340, "2010-12-01", 96)]
        {
            let trace = Trace::parse(text).unwrap();
            assert_eq!(trace.rows.len(), rows);
            let day = trace.clone().day(day.parse().unwrap()).unwrap();
            assert_eq!(day.rows.len(), count);
            assert_eq!(trace.clone().day(Day::Busiest).unwrap(), day);
            assert!(trace.day("2011-12-25".parse().unwrap()).is_err());
        }
    }

    #[test]
    fn a_replay_is_faster_and_keeps_its_proportions() {
        let trace = Trace::parse("offset_ms,store\n1000,A\n2000,B\n5000,A\n").unwrap();
        let dues = |trace: &Trace, length| -> Vec<u128> {
            trace.arrivals(10.0, Duration::from_millis(length), 2).iter().map(|a| a.due.as_millis()).collect()
        };
        assert_eq!(dues(&trace, 10_000), [0, 100, 400]);
        assert_eq!(dues(&trace, 399), [0, 100]);
        assert_eq!(dues(&trace.clone().skip_idle(Duration::from_secs(2)), 10_000), [0, 100, 300]);
        assert_eq!(trace.length(10.0), Duration::from_millis(400));
        let arrivals = trace.arrivals(1.0, Duration::from_secs(9), 2);
        assert_eq!(arrivals[0].channel, arrivals[2].channel);
        assert_ne!(arrivals[0].channel, arrivals[1].channel);
        assert_eq!(trace.day("2011-10-06".parse().unwrap()), Err(TraceError::Undated));
    }
}
