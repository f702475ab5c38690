//! The database of a store that is measured. Servers of PostgreSQL are the machine's own, started for this.

use clap::ValueEnum;
use serde::Serialize;
use service_kit::throwaway::{Standby, StartError, Throwaway, Wanted};

use crate::{embedded::DURABILITY, error::Error};

/// A database of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    /// SQLite files.
    #[default]
    Sqlite,
    /// A PostgreSQL server.
    Postgresql,
    /// The same with a synchronous standby whose disk has what was acknowledged (on).
    Standby,
    /// The same with a synchronous standby whose queries find what was acknowledged (`remote_apply`).
    StandbyApply,
}

impl Database {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
            Self::Standby => "PostgreSQL, standby (on)",
            Self::StandbyApply => "PostgreSQL, standby (remote_apply)",
        }
    }

    /// What an acknowledgement promises.
    #[must_use]
    pub fn durability(self) -> &'static str {
        match self {
            Self::Sqlite => DURABILITY,
            Self::Postgresql => {
                "PostgreSQL, synchronous_commit=on: an acknowledged create survives a power cut"
            }
            Self::Standby => {
                "PostgreSQL, synchronous_commit=on: an acknowledged create is on the standby's disk too"
            }
            Self::StandbyApply => {
                "PostgreSQL, synchronous_commit=remote_apply: an acknowledged create is found on the standby too"
            }
        }
    }

    /// Its servers, if it has any.
    ///
    /// # Errors
    ///
    /// [`Error::Start`].
    pub fn start(self) -> Result<Option<Throwaway>, Error> {
        let standby = match self {
            Self::Sqlite => return Ok(None),
            Self::Postgresql => None,
            Self::Standby => Some(Standby::On),
            Self::StandbyApply => Some(Standby::RemoteApply),
        };
        let started = Throwaway::start(Wanted { fsync: true, standby });
        let wrong = |error: StartError| Error::Start { service: "PostgreSQL", message: error.to_string() };
        started.map(Some).map_err(wrong)
    }
}
