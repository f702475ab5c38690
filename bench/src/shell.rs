//! `tillsync hq`, `tillsync customer`, `tillsync doctor` and `tillsync token`: what an administrator and a till do, from a shell.

pub mod customer;
pub mod doctor;
pub mod hq;
mod lists;
mod operations;
mod show;
pub mod token;
mod values;

use std::time::Duration;

use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::{
    error::Error,
    way::{Credentials, Way},
};

/// How long a call may take. A run of a job may take a minute.
const CALL: Duration = Duration::from_secs(75);

/// A service that commands go to.
pub(crate) struct Remote {
    channel: Way,
    name: &'static str,
}

impl Remote {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`Error::Way`] or [`Error::Away`].
    pub async fn connect(
        address: &str,
        credentials: &Credentials,
        name: &'static str,
    ) -> Result<Self, Error> {
        match credentials.connect(address).await.map_err(Error::from) {
            Ok(channel) => Ok(Self { channel, name }),
            Err(Error::Connect { address, .. }) => Err(Error::Away { service: name, address }),
            Err(error) => Err(error),
        }
    }

    /// Makes a call.
    ///
    /// # Errors
    ///
    /// The refusal, in words.
    pub async fn call<M, A>(
        &self,
        message: M,
        call: impl AsyncFnOnce(Way, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, Error> {
        let mut request = Request::new(message);
        request.set_timeout(CALL);
        let answer = call(self.channel.clone(), request).await;
        answer.map(Response::into_inner).map_err(|status| Error::refused(self.name, &status))
    }
}

/// Rows in columns, each as wide as its widest.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// The cells of a row.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A time of day, UTC; "-" if there is none.
pub(crate) fn time_of_day(time: Option<&Timestamp>) -> String {
    let Some(time) = time else { return "-".to_owned() };
    let seconds = time.seconds.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A duration in seconds; "-" if there is none.
pub(crate) fn seconds(duration: Option<&prost_types::Duration>) -> String {
    duration.map_or_else(
        || "-".to_owned(),
        |duration| format!("{:.3} s", duration.seconds as f64 + f64::from(duration.nanos) / 1e9),
    )
}

/// "on" or "off".
pub(crate) fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// Reads "on" or "off".
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither on nor off".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [row(["a", "bb", "c"]), row(["ddd", "é", ""])];
        assert_eq!(columns(&rows), "a    bb  c\nddd  é\n");
        assert_eq!(columns(&[]), "");
    }

    #[test]
    fn times_are_written_out() {
        assert_eq!(time_of_day(Some(&Timestamp { seconds: 86_400 + 3_661, nanos: 5 })), "01:01:01Z");
        assert_eq!((time_of_day(None).as_str(), seconds(None).as_str()), ("-", "-"));
        assert_eq!(seconds(Some(&prost_types::Duration { seconds: 1, nanos: 500_000_000 })), "1.500 s");
        assert!(switch("yes").is_err());
    }
}
