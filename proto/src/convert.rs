//! The one place that converts between protobuf and the domain.

mod read;
mod settings;
mod write;

pub use read::{address, content, customer, fingerprint, micros, operation, update};
pub use settings::{attribute_definition, channel_id, job_run, profile, schedule};
pub use write::{pending, stored};

#[cfg(test)]
mod tests;
