//! gRPC statuses with the standard error details (rule Z1): ErrorInfo always, BadRequest for fields, RetryInfo
//! together with the `grpc-retry-pushback-ms` trailer.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The domain of every ErrorInfo.
const DOMAIN: &str = "tillsync";

/// Longest message; a very long one would break the HTTP/2 header list.
const MAX_MESSAGE_CHARS: usize = 500;

/// Trailer by which a server asks a client to wait before it tries again.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What is wrong, before it has a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<(String, String)>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with a stable reason and a message for people.
    #[must_use]
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    /// Adds something a program can read.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a field that is to blame, and what is wrong with it.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.violations.push((field.into(), description.into()));
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The status to answer with.
    #[must_use]
    pub fn into_status(self, code: Code) -> Status {
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, self.metadata);
        if !self.violations.is_empty() {
            let violations = self.violations.into_iter();
            details.set_bad_request(
                violations
                    .map(|(field, description)| FieldViolation::new(field, description))
                    .collect::<Vec<_>>(),
            );
        }
        if let Some(pause) = self.retry_after {
            details.set_retry_info(Some(pause));
        }
        let message: String = self.message.chars().take(MAX_MESSAGE_CHARS).collect();
        let mut status = Status::with_error_details(code, message, details);
        if let Some(pause) = self.retry_after {
            let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            status.metadata_mut().insert(PUSHBACK, MetadataValue::from(millis));
        }
        status
    }
}

/// The reason in a status's ErrorInfo, if there is one.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// Something that a status's ErrorInfo says, such as what would lift the refusal.
#[must_use]
pub fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info().and_then(|mut info| info.metadata.remove(key))
}

/// The gRPC name of a code, such as `DEADLINE_EXCEEDED`.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z1_a_status_carries_reason_fields_and_retry_hint() {
        let status = Problem::new("OVERLOADED", "x".repeat(9_000))
            .with("missing", "time")
            .field("customer.name", "is empty")
            .retry_after(Duration::from_millis(250))
            .into_status(Code::ResourceExhausted);
        assert_eq!(status.message().len(), MAX_MESSAGE_CHARS);
        assert_eq!(reason(&status).as_deref(), Some("OVERLOADED"));
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "customer.name");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(250)));
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "250");
    }
}
