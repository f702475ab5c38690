//! What headquarters is told at its start.

use service_kit::{database::DatabaseUrl, door::DoorConfig};
use tillsync_proto::{Job, Schedule};

use crate::numbers::NumberFormat;

/// How headquarters is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the data is.
    pub database: DatabaseUrl,
    /// Format of account numbers on a new database. Later it is changed through the admin service, as is that of
    /// cards.
    pub number_format: NumberFormat,
    /// Format of the loyalty card numbers that headquarters gives, on a new database.
    pub card_format: NumberFormat,
    /// Schedules other than the default, for the first start on a new database. Later they are changed through
    /// the admin service.
    pub schedules: Vec<Schedule>,
    /// How long arrivals may wait without any being processed before that is an error (rule X10).
    pub watchdog: std::time::Duration,
    /// Who may come in.
    pub door: DoorConfig,
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
            watchdog: std::time::Duration::from_secs(60),
            door: DoorConfig::default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x8_every_job_has_a_schedule_at_the_first_start() {
        let held = Schedule { held: true, ..Schedule::default_for(Job::CustomerSync) };
        let config = Config { schedules: vec![held], ..Config::default() };
        let first = config.first_schedules();
        assert_eq!(first.len(), Job::ALL.len());
        assert!(first.contains(&held));
    }
}
