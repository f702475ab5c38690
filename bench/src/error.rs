//! What can go wrong, and the exit code that says so.

use std::{io, path::PathBuf, process::ExitCode};

use service_kit::{
    config::{EXIT_USAGE, ListenError},
    problem::{code_name, metadata, reason},
    way::WayError,
};
use tonic::Status;

/// Exit code when a service cannot be had (`EX_UNAVAILABLE` of sysexits.h).
const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code when a file cannot be written (`EX_IOERR`).
const EXIT_IO: u8 = 74;

/// Why the harness stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file that cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not a result.
    #[error("{path} is not a result of this version")]
    NotResult {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Not an address, or what is to be shown there cannot be used.
    #[error(transparent)]
    Way(WayError),
    /// Nobody answers there.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// Nobody answers where a command goes.
    #[error("{service} does not answer at {address}; `tillsync up` starts a chain to try things on")]
    Away {
        /// Who should.
        service: &'static str,
        /// Where.
        address: String,
    },
    /// A service refused.
    #[error("{service}: {code}: {message}")]
    Service {
        /// Its name or address.
        service: String,
        /// The gRPC status name.
        code: &'static str,
        /// What it said.
        message: String,
    },
    /// A port that somebody else has.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// 1070 did not bring the profile.
    #[error(
        "{0}: the changed profile did not arrive in time; is the channel connected to this headquarters?"
    )]
    ModeTimeout(String),
    /// The searchable tables of a channel stay behind its log.
    #[error("{0}: the searchable tables stay behind the log")]
    LevelTimeout(String),
    /// Customers do not get on.
    #[error("{0}: nothing moves any more")]
    Stands(String),
    /// An embedded service did not start.
    #[error("cannot start {service}: {message}")]
    Start {
        /// Which.
        service: &'static str,
        /// Why.
        message: String,
    },
    /// A process that makes calls.
    #[error("a generator: {0}")]
    Generator(String),
    /// The operating system refused a thread, a port, a folder or a signal handler.
    #[error("the operating system refused")]
    System(#[from] io::Error),
}

impl Error {
    /// A refusal by a service.
    pub(crate) fn service(service: &str, status: Status) -> Self {
        Self::Service {
            service: service.to_owned(),
            code: code_name(status.code()),
            message: status.message().to_owned(),
        }
    }

    /// A refusal that a person is to read: with its reason, and what would lift it.
    pub(crate) fn refused(service: &str, status: &Status) -> Self {
        let told =
            [reason(status), metadata(status, "lifted_by").map(|lifted| format!("lifted by {lifted}"))];
        let told: Vec<String> = told.into_iter().flatten().collect();
        let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) };
        Self::Service {
            service: service.to_owned(),
            code: code_name(status.code()),
            message: format!("{}{told}", status.message()),
        }
    }

    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) | Self::Read { .. } | Self::NotResult { .. } | Self::Way(_) => EXIT_USAGE,
            Self::Write { .. } | Self::System(_) => EXIT_IO,
            _ => EXIT_UNAVAILABLE,
        })
    }
}
