//! Observed calls: CSV with the columns start, duration and status.

use std::collections::BTreeMap;

use serde::{
    Deserialize as _,
    de::{
        IntoDeserializer as _,
        value::{self, StrDeserializer},
    },
};

use crate::profile::GrpcCode;

/// Most calls that are read.
pub const MAX_CALLS: usize = 1_000_000;

/// What is wrong with a file of calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No head, or one that lacks a column.
    #[error(
        "the first line has to name the columns start_ms (or start_s), duration_ms (or duration_s) and status"
    )]
    Head,
    /// A line that is not a call.
    #[error("line {line}: {wrong}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// More than [`MAX_CALLS`].
    #[error("more than {MAX_CALLS} calls; take a part of them")]
    TooLong,
}

/// From when to when a call took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) start: f64,
    pub(super) end: f64,
}

/// Calls as they were observed, by their start.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    calls: Vec<(Interval, String)>,
}

impl Observed {
    /// Reads a file. Lines that begin with # are passed over; the order does not matter, nor do further columns.
    ///
    /// # Errors
    ///
    /// [`LogError`], which names the line.
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let (_, head) = lines.next().ok_or(LogError::Head)?;
        let names: Vec<&str> = head.split(',').map(str::trim).collect();
        let column = |name: &str| names.iter().position(|column| *column == name);
        let time = |name: &str| {
            let of = |unit: &str, ms: f64| column(&format!("{name}_{unit}")).map(|place| (place, ms));
            of("ms", 1.0).or_else(|| of("s", 1e3)).ok_or(LogError::Head)
        };
        let (start, duration) = (time("start")?, time("duration")?);
        let status = column("status").ok_or(LogError::Head)?;
        let mut calls = Vec::new();
        for (line, text) in lines {
            if calls.len() >= MAX_CALLS {
                return Err(LogError::TooLong);
            }
            let wrong = |wrong| LogError::Line { line, wrong };
            let cells: Vec<&str> = text.split(',').map(str::trim).collect();
            let number = |(place, ms): (usize, f64), what| {
                let number = cells.get(place).and_then(|cell| cell.parse::<f64>().ok());
                number
                    .filter(|number| number.is_finite())
                    .map(|number| number * ms)
                    .ok_or_else(|| wrong(what))
            };
            let start = number(start, "the start is not a number")?;
            let duration = number(duration, "the duration is not a number")?;
            if duration < 0.0 {
                return Err(wrong("the duration is negative"));
            }
            let status =
                cells.get(status).filter(|cell| !cell.is_empty()).ok_or_else(|| wrong("has no status"))?;
            calls.push((Interval { start, end: start + duration }, (*status).to_owned()));
        }
        calls.sort_by(|a, b| a.0.start.total_cmp(&b.0.start));
        Ok(Self { calls })
    }

    /// Calls that a worker has served: answered, or failed in another way than by being refused or broken off.
    pub(super) fn served(&self) -> Vec<Interval> {
        self.calls.iter().filter(|(_, status)| !is_refusal(status)).map(|(call, _)| *call).collect()
    }

    /// How many others there are.
    pub(super) fn refused(&self) -> usize {
        self.calls.iter().filter(|(_, status)| is_refusal(status)).count()
    }

    /// Shares of served calls that failed, by code.
    pub(super) fn failed_when_served(&self) -> BTreeMap<GrpcCode, f64> {
        let served = self.served().len().max(1) as f64;
        let mut shares = BTreeMap::new();
        for (_, status) in self.calls.iter().filter(|(_, status)| !is_refusal(status)) {
            let name: StrDeserializer<'_, value::Error> = status.as_str().into_deserializer();
            if let Ok(code) = GrpcCode::deserialize(name) {
                *shares.entry(code).or_insert(0.0) += 1.0 / served;
            }
        }
        shares
    }
}

/// Whether a status says that no worker has served the call to its end.
fn is_refusal(status: &str) -> bool {
    ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"].contains(&status)
}
