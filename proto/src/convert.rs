//! The one place that converts between protobuf and the domain.

mod read;
mod settings;
mod write;

pub use read::{address, content, customer, micros, operation, update};
pub use settings::{channel_id, profile, schedule};

#[cfg(test)]
mod tests;
