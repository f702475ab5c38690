//! Headquarters: the real-time service, arrivals, the customer sync job, the feed.
//!
//! [`open`] a database, then [`serve`] on a listener.
//!
//! | room | what it does |
//! |---|---|
//! | [`grpc`] | wire in, wire out |
//! | [`creates`], [`customers`] | what the real-time service does |
//! | [`exchange`] | uploads, the feed, configuration, reports |
//! | [`admin`] | what an administrator does |
//! | [`configuration`] | profiles, flags, definitions of attributes, and how far each has come |
//! | [`statuses`] | the synchronization status of operations, and their repair |
//! | [`duplicates`] | notices customers that may be the same |
//! | [`diagnosis`] | answers in words |
//! | [`numbers`] | number sequences |
//! | [`conversion`], [`sync_job`], [`supervision`] | makes uploaded customers real, and notices when that stands still |
//! | [`board`], [`contacts`] | schedules and channels, as streams and jobs see them |
//! | [`store`] | transactions, on SQLite and PostgreSQL |
//! | [`status`] | from refusals to gRPC statuses |
//! | [`metrics`] | what is measured |
//! | [`planted`] | bugs that tests plant |
//! | `simulation` | the service on a simulated disk |

#![allow(clippy::duplicate_mod, reason = "the rooms of store/both are compiled for each database")]
#![cfg_attr(doc, allow(rustdoc::private_intra_doc_links))]

mod admin;
mod board;
mod config;
mod configuration;
mod contacts;
mod conversion;
mod creates;
mod crowd;
mod customers;
mod diagnosis;
mod duplicates;
mod erasure;
mod error;
mod exchange;
mod grpc;
mod hq;
mod metrics;
mod numbers;
mod others;
mod planted;
mod restore;
mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
mod status;
mod statuses;
mod store;
mod supervision;
mod sync_job;

pub use config::Config;
pub use numbers::{NotANumberFormat, NumberFormat};
pub use server::{Hq, OpenError, RestoreError, ServeError, mark_restored, open, serve};
