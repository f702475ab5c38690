//! What headquarters is told at its start.

use service_kit::database::DatabaseUrl;
use tillsync_proto::{Job, Schedule};

/// How headquarters is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the data is.
    pub database: DatabaseUrl,
    /// Format of account numbers.
    pub number_format: NumberFormat,
    /// Format of the loyalty card numbers that headquarters gives.
    pub card_format: NumberFormat,
    /// Schedules other than the default, for the first start on a new database. Later they are changed through
    /// the admin service.
    pub schedules: Vec<Schedule>,
}

impl Config {
    /// The defaults, on a database.
    #[must_use]
    pub fn new(database: DatabaseUrl) -> Self {
        Self {
            database,
            number_format: NumberFormat::ACCOUNTS,
            card_format: NumberFormat::CARDS,
            schedules: Vec::new(),
        }
    }

    /// One schedule for each job.
    pub(crate) fn first_schedules(&self) -> Vec<Schedule> {
        let of = |job| self.schedules.iter().copied().find(|schedule| schedule.job == job);
        Job::ALL.into_iter().map(|job| of(job).unwrap_or(Schedule::default_for(job))).collect()
    }
}

impl Default for Config {
    /// On the file `hq.db` in the working folder.
    fn default() -> Self {
        Self::new(DatabaseUrl::Sqlite("hq.db".into()))
    }
}

/// The format of a number sequence (rule X6): a prefix and a fixed number of digits. The sequence is
/// exhausted when its digits are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberFormat {
    prefix: std::borrow::Cow<'static, str>,
    digits: usize,
}

/// Why a format is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a number format is a prefix of at most 20 letters, digits and hyphens, then # for each digit: 1 to 18, as in C-########"
)]
pub struct NotANumberFormat;

impl NumberFormat {
    /// Account numbers: C-00000001.
    pub const ACCOUNTS: Self = Self { prefix: std::borrow::Cow::Borrowed("C-"), digits: 8 };
    /// Loyalty cards: L-00000001.
    pub const CARDS: Self = Self { prefix: std::borrow::Cow::Borrowed("L-"), digits: 8 };

    /// The number written out; `None` if it has more digits than the format.
    #[must_use]
    pub fn number(&self, number: i64) -> Option<String> {
        let text = format!("{number:0digits$}", digits = self.digits);
        (text.len() == self.digits).then(|| format!("{}{text}", self.prefix))
    }
}

impl std::str::FromStr for NumberFormat {
    type Err = NotANumberFormat;

    fn from_str(text: &str) -> Result<Self, NotANumberFormat> {
        let prefix = text.trim_end_matches('#');
        let digits = text.len() - prefix.len();
        let known = prefix.len() <= 20 && prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if known && (1..=18).contains(&digits) {
            Ok(Self { prefix: prefix.to_owned().into(), digits })
        } else {
            Err(NotANumberFormat)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x6_numbers_have_a_format_and_an_end() {
        let format: NumberFormat = "C-########".parse().unwrap();
        assert_eq!(format, NumberFormat::ACCOUNTS);
        assert_eq!(format.number(42).as_deref(), Some("C-00000042"));
        assert_eq!(format.number(99_999_999).as_deref(), Some("C-99999999"));
        assert_eq!(format.number(100_000_000), None);
        for bad in ["", "C-", "C_#", "###################", "é#"] {
            assert_eq!(bad.parse::<NumberFormat>(), Err(NotANumberFormat), "{bad}");
        }
    }

    #[test]
    fn x8_every_job_has_a_schedule_at_the_first_start() {
        let held = Schedule { held: true, ..Schedule::default_for(Job::CustomerSync) };
        let config = Config { schedules: vec![held], ..Config::default() };
        let first = config.first_schedules();
        assert_eq!(first.len(), Job::ALL.len());
        assert!(first.contains(&held));
    }
}
