//! The RTS emulator: stands on the path to headquarters' real-time service and makes it as slow, narrow or
//! absent as a profile says (rules R1 to R6).
//!
//! | module | what it does |
//! |---|---|
//! | [`profile`] | what the emulated headquarters is like, as TOML |
//! | [`model`] | the contention model, in virtual time: no clock, socket or thread |

pub mod model;
pub mod profile;
