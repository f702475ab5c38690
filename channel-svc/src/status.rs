//! The two tables between this service and gRPC: what each of its errors is as a status, and what each status
//! of headquarters means for it (rule M5).

use std::{error::Error as _, time::Duration};

use service_kit::{
    config::Chain,
    damage::Trouble,
    door::not_itself,
    problem::{Problem, code_name},
};
use tillsync_proto::{Reason, Violations, reason_name};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::error;

use crate::{
    error::{AWAY_RETRY, Error, RETRY_AFTER},
    rts::{CallError, Failure, FailureKind, Refusal},
};

/// What has to happen before a pending customer is real.
const LIFTS_PENDING: &str = "the P-job, then the customer sync job, then 1010";
/// What has to happen before flag E2 has effect here.
const LIFTS_ENHANCED: &str = "flag E2 switched on at headquarters and carried down by 1110";

fn problem(reason: Reason, message: impl Into<String>) -> Problem {
    Problem::new(reason_name(reason), message)
}

fn invalid(reason: Reason, violations: &Violations) -> Problem {
    let start = problem(reason, violations.to_string());
    violations.as_slice().iter().fold(start, |problem, v| problem.field(&v.field, &v.description))
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let (code, problem) = match error {
            Error::Invalid(violations) => (Code::InvalidArgument, invalid(Reason::InvalidField, &violations)),
            Error::NotItself(error) => return not_itself(error),
            Error::BadPageToken => {
                let problem = problem(Reason::BadPageToken, text);
                (Code::InvalidArgument, problem.field("page_token", "is not a page token of this query"))
            }
            Error::NotFound(_) => (Code::NotFound, problem(Reason::NotFound, text)),
            Error::GuidTaken(id) => (Code::AlreadyExists, problem(Reason::GuidTaken, text).with("id", id)),
            Error::Erased(id) => {
                let problem = problem(Reason::CustomerErased, text).with("customer", id.to_string());
                (Code::FailedPrecondition, problem)
            }
            Error::Pending(id, flag) => {
                let flag = flag.map(|flag| format!("; or flag {flag}, switched on and carried down by 1110"));
                let lifted = format!("{LIFTS_PENDING}{}", flag.unwrap_or_default());
                let problem = problem(Reason::CustomerPending, text).with("customer", id.to_string());
                let problem = problem.with("missing", "account number").with("lifted_by", lifted);
                (Code::FailedPrecondition, problem)
            }
            Error::NeedsEnhanced { fields, cause } => {
                let start = problem(Reason::NeedsEnhancedAsyncCreate, text).with("missing", "flag E2");
                let start = start.with("lifted_by", LIFTS_ENHANCED);
                let start = cause.into_iter().fold(start, |problem, cause| problem.with("cause", cause));
                let described =
                    |problem: Problem, field| problem.field(field, "needs flag E2 on an async create");
                (Code::FailedPrecondition, fields.into_iter().fold(start, described))
            }
            Error::EtagMismatch(id) => {
                let problem = problem(Reason::EtagMismatch, text).with("customer", id.to_string());
                (Code::Aborted, problem)
            }
            Error::NoFeed => (Code::Unavailable, problem(Reason::HqUnreachable, text)),
            Error::Offline => {
                let problem = problem(Reason::Offline, text).with("missing", "the connection to the store");
                (Code::FailedPrecondition, problem.with("lifted_by", "the connection to the store"))
            }
            Error::SharedDataFiltered => {
                let problem =
                    problem(Reason::SharedDataFiltered, text).with("missing", "shared customer data");
                let lifted =
                    "the connection to the store, or \"filter shared customer data tables\" switched off";
                (Code::FailedPrecondition, problem.with("lifted_by", lifted))
            }
            Error::Refused(Refusal(status)) => return *status,
            Error::Unreached(failure) => return unreached(failure),
            Error::Overloaded(_) => {
                (Code::ResourceExhausted, problem(Reason::Overloaded, text).retry_after(RETRY_AFTER))
            }
            Error::Stopping => (Code::Unavailable, problem(Reason::Stopping, text).retry_after(AWAY_RETRY)),
            Error::Database(Trouble::NoRoom) => {
                (Code::ResourceExhausted, problem(Reason::NoRoom, text).retry_after(AWAY_RETRY))
            }
            Error::Database(Trouble::Out | Trouble::Corrupt) => {
                (Code::Unavailable, problem(Reason::DatabaseOut, text).retry_after(AWAY_RETRY))
            }
            Error::Internal => (Code::Internal, problem(Reason::Internal, text)),
            Error::Store(error) => {
                error!(error = %Chain(&error), "the store failed");
                (Code::Internal, problem(Reason::Internal, text))
            }
        };
        problem.into_status(code)
    }
}

/// A failed call as its caller gets it where there is no fallback.
fn unreached(failure: Failure) -> Status {
    let (code, reason, text) = match failure.kind {
        FailureKind::Unavailable => {
            (Code::Unavailable, Reason::HqUnreachable, "headquarters could not be reached")
        }
        FailureKind::Deadline => {
            (Code::DeadlineExceeded, Reason::HqUnreachable, "headquarters did not answer in time")
        }
        FailureKind::Overloaded => {
            (Code::ResourceExhausted, Reason::Overloaded, "headquarters takes no more calls at present")
        }
    };
    let problem = problem(reason, text).with("cause", failure.cause);
    let problem = failure.retry_after.into_iter().fold(problem, Problem::retry_after);
    problem.into_status(code)
}

/// Communication failure or business refusal: the one table (rule M5).
///
/// | how the call ended | is |
/// |---|---|
/// | no connection, a stream that broke: a status that headquarters did not send | communication |
/// | UNAVAILABLE | communication |
/// | DEADLINE_EXCEEDED | communication |
/// | RESOURCE_EXHAUSTED: refused for load before doing anything | communication |
/// | everything else | a business refusal, the caller's to see |
pub(crate) fn classify(status: Status) -> CallError {
    // tonic keeps the cause of what it made up itself; what came over the wire has none.
    let broken = status.source().is_some();
    let kind = match status.code() {
        Code::Unavailable => FailureKind::Unavailable,
        Code::DeadlineExceeded => FailureKind::Deadline,
        Code::ResourceExhausted => FailureKind::Overloaded,
        _ if broken => FailureKind::Unavailable,
        _ => return CallError::Refused(Refusal(Box::new(status))),
    };
    let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    CallError::Failed(Failure { kind, cause: code_name(status.code()), retry_after })
}

/// Whether a call of the exchange did not come through, or headquarters takes nothing at present.
pub(crate) fn is_unreached(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
        || status.source().is_some()
}

/// Whether a terminal's store has not answered a call: no connection, a stream that broke, time that ran out, or a
/// store that stops (rule O1). What the store itself says about headquarters is an answer.
pub(crate) fn is_lost(status: &Status) -> bool {
    let reason = service_kit::problem::reason(status);
    let stops = [Reason::Stopping, Reason::Deadline].map(reason_name);
    match reason {
        Some(reason) => stops.contains(&reason.as_str()),
        None => {
            status.source().is_some() || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
        }
    }
}

/// The failure of a call that was given up after its time.
pub(crate) fn gave_up() -> Failure {
    Failure { kind: FailureKind::Deadline, cause: code_name(Code::DeadlineExceeded), retry_after: None }
}

/// The failure of a call that was not made, because too many are under way.
pub(crate) fn not_made() -> Failure {
    let retry_after = Some(Duration::from_millis(200));
    Failure { kind: FailureKind::Overloaded, cause: code_name(Code::ResourceExhausted), retry_after }
}

/// The name of a successful call's code, for the metrics.
pub(crate) fn ok() -> &'static str {
    code_name(Code::Ok)
}

/// A status in words that hold no personal data: its code and reason.
pub(crate) fn describe(status: &Status) -> String {
    let reason = service_kit::problem::reason(status).unwrap_or_default();
    let separator = if reason.is_empty() { "" } else { " " };
    format!("{}{separator}{reason}", code_name(status.code()))
}
