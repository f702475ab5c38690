//! Scenarios over real servers, processes that are killed, and checks of ARCHITECTURE.md.

mod architecture;
