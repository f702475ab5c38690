//! Ways to services (rule B8); they are made in service-kit.

use service_kit::way::WayError;
pub use service_kit::way::{Credentials, Way};

use crate::error::Error;

/// Connects to an address that asks for no credentials.
///
/// # Errors
///
/// [`Error::Way`], or [`Error::Connect`].
pub async fn connect(address: &str) -> Result<Way, Error> {
    Ok(Credentials::default().connect(address).await?)
}

impl From<WayError> for Error {
    fn from(error: WayError) -> Self {
        match error {
            WayError::Connect { address, source } => Self::Connect { address, source },
            error => Self::Way(error),
        }
    }
}
