//! The one table from refusals to gRPC statuses.

use std::time::Duration;

use service_kit::{damage::Trouble, door::not_itself, problem::Problem};
use tillsync_proto::{Reason, Violations, reason_name};
use tonic::{Code, Status};
use tracing::error;

use crate::error::{Error, join};

/// When to come back after a refusal for load.
const OVERLOADED_RETRY: Duration = Duration::from_millis(250);
/// When to come back after one for something that takes longer: a restart, a database that is out, a recovery.
const AWAY_RETRY: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(refusal: Error) -> Self {
        let message = refusal.to_string();
        let problem = |reason| Problem::new(reason_name(reason), message.clone());
        match refusal {
            Error::Invalid(violations) => invalid(message, &violations),
            Error::NotItself(error) => not_itself(error),
            Error::BadPageToken => problem(Reason::BadPageToken)
                .field("page_token", "is not a page token of this query")
                .into_status(Code::InvalidArgument),
            Error::NoCustomer | Error::NoChannel(_) | Error::Nothing(_) => not_found(message),
            Error::GuidTaken(id) => {
                problem(Reason::GuidTaken).with("customer", id.to_string()).into_status(Code::AlreadyExists)
            }
            Error::Erased(id) => problem(Reason::CustomerErased)
                .with("customer", id.to_string())
                .into_status(Code::FailedPrecondition),
            Error::RequestUsed => problem(Reason::GuidTaken)
                .field("request_id", "was used for another card")
                .into_status(Code::AlreadyExists),
            Error::EtagMismatch(id) => problem(Reason::EtagMismatch)
                .with("customer", id.to_string())
                .with("lifted_by", "reading the customer again")
                .into_status(Code::Aborted),
            Error::ProfileChanged(channel) => problem(Reason::EtagMismatch)
                .with("channel", channel.to_string())
                .with("lifted_by", "reading the profile again")
                .into_status(Code::Aborted),
            Error::NeedsAudit => problem(Reason::NeedsOperationsAudit)
                .with("missing", "flag E4")
                .with("lifted_by", "flag E4 switched on at headquarters")
                .into_status(Code::FailedPrecondition),
            Error::NotFailed(_) => {
                problem(Reason::NotFailed).with("missing", "a failure").into_status(Code::FailedPrecondition)
            }
            Error::Ended(_) => problem(Reason::NotFailed)
                .with("missing", "a session that has failed or has not ended")
                .into_status(Code::FailedPrecondition),
            Error::EarlierFailure(id) => problem(Reason::EarlierOperationFailed)
                .with("customer", id.to_string())
                .with("missing", "the success of an earlier operation")
                .with("lifted_by", "synchronizing the earlier operation first")
                .into_status(Code::FailedPrecondition),
            Error::Canceled => problem(Reason::Canceled).into_status(Code::Aborted),
            Error::Contended(id) => problem(Reason::Overloaded)
                .with("customer", id.to_string())
                .retry_after(OVERLOADED_RETRY)
                .into_status(Code::ResourceExhausted),
            Error::FlagsInTheWay { enabled, others, .. } => {
                let missing = format!("{} {}", join(&others), if enabled { "on" } else { "off" });
                problem(Reason::FlagsInTheWay)
                    .with("lifted_by", format!("switching {missing}"))
                    .with("missing", missing)
                    .into_status(Code::FailedPrecondition)
            }
            Error::CardTaken => problem(Reason::CardTaken).into_status(Code::AlreadyExists),
            Error::NumbersExhausted => problem(Reason::NumbersExhausted)
                .with("missing", "a number")
                .with("lifted_by", "a number format with more digits")
                .into_status(Code::FailedPrecondition),
            Error::Overloaded | Error::TooManyChannels => {
                problem(Reason::Overloaded).retry_after(OVERLOADED_RETRY).into_status(Code::ResourceExhausted)
            }
            Error::Stopping => {
                problem(Reason::Stopping).retry_after(AWAY_RETRY).into_status(Code::Unavailable)
            }
            Error::Deadline => problem(Reason::Deadline).into_status(Code::DeadlineExceeded),
            Error::Database(trouble) => out(message, trouble),
            // For a channel a failure in communication too (rule M5): async creates go on, and come up once headquarters
            // is whole again.
            Error::Recovering => problem(Reason::Recovering)
                .with("lifted_by", "the channels that headquarters waits for")
                .retry_after(AWAY_RETRY)
                .into_status(Code::Unavailable),
            Error::Store(failure) => {
                error!(error = %service_kit::config::Chain(&failure), "a transaction failed");
                internal()
            }
            Error::Broken => {
                error!("a task ended before its work did");
                internal()
            }
        }
    }
}

/// For a channel this is a failure in communication (rule M5); what became of the call is not known unless there was no
/// room, and the GUID finds out (rule M6).
fn out(message: String, trouble: Trouble) -> Status {
    let (reason, code) = match trouble {
        Trouble::NoRoom => (Reason::NoRoom, Code::ResourceExhausted),
        Trouble::Out | Trouble::Corrupt => (Reason::HqUnreachable, Code::Unavailable),
    };
    Problem::new(reason_name(reason), message).retry_after(AWAY_RETRY).into_status(code)
}

fn not_found(message: String) -> Status {
    Problem::new(reason_name(Reason::NotFound), message).into_status(Code::NotFound)
}

fn invalid(message: String, violations: &Violations) -> Status {
    let problem = Problem::new(reason_name(Reason::InvalidField), message);
    let violations = violations.as_slice().iter();
    violations
        .fold(problem, |problem, one| problem.field(&one.field, &one.description))
        .into_status(Code::InvalidArgument)
}

fn internal() -> Status {
    Problem::new(reason_name(Reason::Internal), "the service failed; its log has the cause")
        .into_status(Code::Internal)
}
