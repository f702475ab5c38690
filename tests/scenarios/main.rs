//! Scenarios over real servers, processes that are killed, and checks of ARCHITECTURE.md.

#![allow(clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(clippy::too_many_lines, reason = "a scenario is told in its order")]

mod architecture;
mod chain;
mod client;
mod doors;
mod erased;
mod faults;
mod flags;
mod journey;
mod killed;
mod marked;
mod privacy;
mod processes;
mod restored;
mod rulebook;
mod several;
