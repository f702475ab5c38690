//! Headquarters over gRPC: a real server on port 0, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

mod admin;
mod exchange;
mod harness;
mod lifecycle;
mod real_time;
mod repair;
