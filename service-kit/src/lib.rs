//! Mechanics without meaning.
