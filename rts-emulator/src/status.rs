//! Every status that the emulator answers with. Nothing else in this crate names a gRPC code.
//!
//! | what happened | code | reason |
//! |---|---|---|
//! | queue full, longest wait, rate limit, throttle, too many calls | RESOURCE_EXHAUSTED | OVERLOADED, with a retry hint |
//! | outage; an answer that falls into one | UNAVAILABLE | OUTAGE |
//! | failure that the profile asked for | as the profile says | INJECTED |
//! | headquarters cannot be reached, or the connection broke | UNAVAILABLE | HQ_UNREACHABLE |
//! | headquarters did not answer within the caller's deadline | DEADLINE_EXCEEDED | DEADLINE |
//! | the emulator is stopping | UNAVAILABLE | STOPPING |
//! | a profile that is not valid | INVALID_ARGUMENT | BAD_PROFILE |
//! | anything headquarters itself answered | its own | its own |
//!
//! The in-memory headquarters answers as the real one does; see [`Refusal`].

use std::{error::Error as _, time::Duration};

use service_kit::{deadline, problem::Problem};
use tillsync_proto::{Reason as ErrorReason, Violations, reason_name};
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    alone::Refusal,
    model::{Reason, Throttled},
    profile::{GrpcCode, ProfileError},
};

/// Retry hint where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn problem(reason: ErrorReason, message: impl Into<String>) -> Problem {
    Problem::new(reason_name(reason), message)
}

/// The model refused a call.
pub(crate) fn refused(reason: Reason, retry_after: Option<Duration>) -> Status {
    let message = match reason {
        Reason::QueueFull => "headquarters' queue is full",
        Reason::LongestWait => "the call has waited for headquarters as long as it may",
        Reason::RateLimit => "calls come faster than headquarters allows",
        Reason::Throttle(Throttled::Requests) => {
            "the channel has made as many calls in this window as it may"
        }
        Reason::Throttle(Throttled::Execution) => {
            "the channel's calls have taken as much time in this window as they may"
        }
        Reason::Throttle(Throttled::Concurrent) => "the channel has as many calls under way as it may",
        Reason::Throttle(Throttled::Priority) => "headquarters is too busy for calls of this priority",
        Reason::Outage => return outage(),
    };
    let overloaded = problem(ErrorReason::Overloaded, message);
    overloaded.retry_after(retry_after.unwrap_or(RETRY_AFTER)).into_status(Code::ResourceExhausted)
}

/// More calls than the emulator holds at once.
pub(crate) fn too_many() -> Status {
    let overloaded = problem(ErrorReason::Overloaded, "the emulator holds as many calls as it may");
    overloaded.retry_after(RETRY_AFTER).into_status(Code::ResourceExhausted)
}

/// Headquarters is out, or the answer was lost.
pub(crate) fn outage() -> Status {
    problem(ErrorReason::Outage, "the emulated headquarters is out").into_status(Code::Unavailable)
}

/// The emulator is stopping.
pub(crate) fn stopping() -> Status {
    problem(ErrorReason::Stopping, "the emulator is stopping").into_status(Code::Unavailable)
}

/// A failure that the profile asked for.
pub(crate) fn injected(code: GrpcCode) -> Status {
    let code = match code {
        GrpcCode::Cancelled => Code::Cancelled,
        GrpcCode::Unknown => Code::Unknown,
        GrpcCode::InvalidArgument => Code::InvalidArgument,
        GrpcCode::DeadlineExceeded => Code::DeadlineExceeded,
        GrpcCode::NotFound => Code::NotFound,
        GrpcCode::AlreadyExists => Code::AlreadyExists,
        GrpcCode::PermissionDenied => Code::PermissionDenied,
        GrpcCode::ResourceExhausted => Code::ResourceExhausted,
        GrpcCode::FailedPrecondition => Code::FailedPrecondition,
        GrpcCode::Aborted => Code::Aborted,
        GrpcCode::OutOfRange => Code::OutOfRange,
        GrpcCode::Unimplemented => Code::Unimplemented,
        GrpcCode::Internal => Code::Internal,
        GrpcCode::Unavailable => Code::Unavailable,
        GrpcCode::DataLoss => Code::DataLoss,
        GrpcCode::Unauthenticated => Code::Unauthenticated,
    };
    problem(ErrorReason::Injected, "the profile asked for this failure").into_status(code)
}

/// What headquarters answered, as it is; or what went wrong on the way to it, in our words.
pub(crate) fn from_headquarters(mut status: Status) -> Status {
    // Only a status that was made on this side of the connection has a cause.
    if status.source().is_none() {
        strip_framing(status.metadata_mut());
        return status;
    }
    // This is how tonic's client reports that the deadline it was given has passed.
    if status.code() == Code::Cancelled {
        return deadline::exceeded();
    }
    problem(ErrorReason::HqUnreachable, "headquarters cannot be reached").into_status(Code::Unavailable)
}

/// Removes what describes a message's encoding on one connection and is wrong on the next.
pub(crate) fn strip_framing(metadata: &mut MetadataMap) {
    for name in ["content-length", "grpc-encoding", "grpc-accept-encoding", "grpc-timeout"] {
        metadata.remove(name);
    }
}

impl From<ProfileError> for Status {
    fn from(error: ProfileError) -> Self {
        problem(ErrorReason::BadProfile, format!("the profile is not valid: {error}"))
            .field("profile_toml", error.to_string())
            .into_status(Code::InvalidArgument)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (reason, code) = match &refusal {
            Refusal::Invalid(violations) => return invalid(violations),
            Refusal::NotFound => (ErrorReason::NotFound, Code::NotFound),
            Refusal::GuidTaken => (ErrorReason::GuidTaken, Code::AlreadyExists),
            Refusal::CardTaken => (ErrorReason::CardTaken, Code::AlreadyExists),
            Refusal::EtagMismatch => (ErrorReason::EtagMismatch, Code::Aborted),
            Refusal::NumbersExhausted => (ErrorReason::NumbersExhausted, Code::FailedPrecondition),
            Refusal::BadPageToken => (ErrorReason::BadPageToken, Code::InvalidArgument),
        };
        problem(reason, refusal.to_string()).into_status(code)
    }
}

/// Fields of a request that break a rule.
pub(crate) fn invalid(violations: &Violations) -> Status {
    let mut problem = problem(ErrorReason::InvalidField, violations.to_string());
    for violation in violations.as_slice() {
        problem = problem.field(&violation.field, &violation.description);
    }
    problem.into_status(Code::InvalidArgument)
}
