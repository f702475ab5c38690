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
//! | [`conversion`], [`sync_job`] | makes uploaded customers real |
//! | [`board`], [`contacts`] | schedules and channels, as streams and jobs see them |
//! | [`store`] | transactions, on SQLite and PostgreSQL |
//! | [`status`] | from refusals to gRPC statuses |
//! | [`metrics`] | what is measured |

#![cfg_attr(doc, allow(rustdoc::private_intra_doc_links))]

mod admin;
mod board;
mod config;
mod contacts;
mod conversion;
mod creates;
mod customers;
mod error;
mod exchange;
mod grpc;
mod hq;
mod metrics;
mod server;
mod status;
mod store;
mod sync_job;

pub use config::{Config, NotANumberFormat, NumberFormat};
pub use server::{Hq, OpenError, ServeError, open, serve};
