//! Tests of the channel: a real server on port 0, real databases, and a headquarters whose answers the tests
//! script.

mod cases;
mod creates;
mod edits;
mod exchange;
mod flags;
mod headquarters;
mod nonsense;
mod restart;
mod several;
pub(crate) mod shop;
mod store;
mod terminal;
mod unreachable;
mod watch;
