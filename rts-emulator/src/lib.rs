//! The RTS emulator.
