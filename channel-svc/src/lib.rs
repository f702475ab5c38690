//! A store: creates, edits, searches; logs operations; exchanges them with headquarters.
//!
//! [`open`] makes or opens the database and brings the tables level with the log; [`serve`] serves on a
//! listener, follows the log and runs the jobs, until a token is cancelled.
//!
//! | module | what it does |
//! |---|---|
//! | `config`, `open` | what a channel is told, and how it is put together |
//! | `grpc` | wire in, wire out |
//! | `customers`, `create`, `edit`, `find`, `watch` | the use cases of the point of sale |
//! | `breaker` | when headquarters is not asked, because it keeps failing |
//! | `report` | the channel as it sees itself |
//! | `log` | where every create is written first; the tail of what is not indexed yet |
//! | `follower` | makes the tables of the log |
//! | `exchange` | P-job, 1010, 1070, 1110: what they do and when |
//! | `terminal`, `terminals` | a till's own service, online and offline; what a store takes from them |
//! | `rts` | the client of headquarters' real-time service |
//! | `store` | the log and the tables on SQLite and on PostgreSQL |
//! | `error`, `status` | why something was refused, and what that is in gRPC |
//! | `watchers`, `metrics` | who is told, and what is counted |
//! | `planted` | bugs that tests plant |
//! | `simulation` | the service on a simulated disk |

#![allow(clippy::duplicate_mod, reason = "the rooms of store/both are compiled for each database")]

mod breaker;
mod config;
mod create;
mod customers;
mod edit;
mod error;
mod exchange;
mod find;
mod follower;
mod grpc;
mod log;
mod metrics;
mod open;
mod others;
mod planted;
mod report;
mod rts;
#[cfg(feature = "simulation")]
pub mod simulation;
mod status;
mod store;
mod terminal;
mod terminals;
mod watch;
mod watchers;

pub use config::Config;
pub use open::{Channel, OpenError, mark_restored, open, serve};
pub use service_kit::serve::ServeError;
pub use store::log_file;
pub use terminal::TerminalConfig;

#[cfg(test)]
mod tests;
