//! The RTS emulator: stands on the path to headquarters' real-time service and makes it as slow, narrow or
//! absent as a profile says (rules R1 to R6).
//!
//! | module | what it does |
//! |---|---|
//! | [`profile`] | what the emulated headquarters is like, as TOML |
//! | [`model`] | the contention model, in virtual time: no clock, socket or thread |
//! | `gate` | runs the model in real time |
//! | `rts`, `control` | the services: calls through the gate, and the control of it |
//! | `alone` | a headquarters in memory |
//! | [`server`] | all of it on a listener |
//! | [`calibrate`] | from observed calls to a profile |
//! | [`cli`] | the command line |
//! | [`check_model`], [`check_queue`] | the model and the live server against queueing theory |
//! | [`overhead`], [`top`] | what it costs itself, and how it is doing |
//! | [`parallel`] | independent work on several threads |
//! | `status`, [`telemetry`] | every status and every metric |

mod alone;
pub mod calibrate;
pub mod check_model;
pub mod check_queue;
pub mod cli;
mod control;
mod gate;
pub mod model;
pub mod overhead;
pub mod parallel;
pub mod profile;
mod rts;
pub mod server;
mod status;
pub mod telemetry;
pub mod top;

pub use profile::{Profile, ProfileError};
pub use server::{Backend, Deps, EmulatorError, serve};
