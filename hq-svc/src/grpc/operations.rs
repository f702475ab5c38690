//! What the administrator's service shows, as messages.

use tillsync_proto::{CustomerRef, Micros, Violations, convert, pb::hq};

use crate::{
    numbers::{NumberSequence, SequenceKind},
    statuses::{Wanted, newest},
    store::{Likeness, NoticedPair, OperationRow, SequenceState, StatusFilter},
};

impl From<OperationRow> for hq::OperationStatus {
    fn from(row: OperationRow) -> Self {
        Self {
            operation: Some(newest(&row)),
            channel_id: row.channel,
            account_number: row.account_number.unwrap_or_default(),
            status: row.status.into(),
            reason: row.reason,
            message: row.message,
            attempts: row.attempts,
            next_attempt_time: row.next_attempt_at.map(|at| Micros(at).into()),
            arrival_time: Some(row.arrived_at.into()),
            corrected: row.corrected.is_some(),
            overwritten: row
                .overwritten
                .into_iter()
                .map(|lost| hq::OverwrittenValue { field: lost.field, value_json: lost.value.to_string() })
                .collect(),
        }
    }
}

/// Reads which operations are to be listed.
pub(super) fn wanted(request: &hq::ListSyncStatusesRequest) -> Result<Wanted, Violations> {
    const MAX_CHARS: usize = 200;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    for (field, text) in [("reason", &request.reason), ("value", &request.value)] {
        if text.chars().count() > MAX_CHARS || text.contains('\0') {
            return Err(Violations::one(field, "is longer than 200 characters or holds a NUL character"));
        }
    }
    let status = hq::SyncStatus::try_from(request.status);
    let status = status.map_err(|_| Violations::one("status", "is not known"))?;
    let customer = some(&request.customer).map(|text| text.parse::<CustomerRef>());
    let customer = customer.transpose().map_err(|error| Violations::one("customer", error))?;
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| convert::micros(Some(time)));
    let filter = StatusFilter {
        channel: some(&request.channel_id).map(|text| convert::channel_id(&text)).transpose()?,
        customer: None,
        status: (status != hq::SyncStatus::Unspecified).then_some(status),
        reason: some(&request.reason),
        logged_after: time(&request.logged_after),
        logged_before: time(&request.logged_before),
        value: some(&request.value),
    };
    Ok(Wanted { filter, customer })
}

impl From<NoticedPair> for hq::PossibleDuplicate {
    fn from(noticed: NoticedPair) -> Self {
        let reason = match noticed.pair.likeness {
            Likeness::Email => hq::DuplicateReason::Email,
            Likeness::PhoneAndName => hq::DuplicateReason::PhoneAndName,
        };
        Self {
            customer_id: noticed.pair.customer.to_string(),
            other_customer_id: noticed.pair.other.to_string(),
            reason: reason.into(),
            notice_time: Some(noticed.noticed_at.into()),
        }
    }
}

impl From<SequenceState> for hq::NumberSequence {
    fn from(state: SequenceState) -> Self {
        let kind = match state.kind {
            SequenceKind::Accounts => hq::NumberSequenceKind::Accounts,
            SequenceKind::Cards => hq::NumberSequenceKind::Cards,
        };
        Self {
            kind: kind.into(),
            format: state.format.to_string(),
            block_size: state.block_size,
            next_number: state.next,
            numbers_left: state.left,
        }
    }
}

/// Reads a number sequence.
pub(super) fn sequence(sequence: &hq::NumberSequence) -> Result<(SequenceKind, NumberSequence), Violations> {
    let kind = match sequence.kind() {
        hq::NumberSequenceKind::Accounts => SequenceKind::Accounts,
        hq::NumberSequenceKind::Cards => SequenceKind::Cards,
        hq::NumberSequenceKind::Unspecified => {
            return Err(Violations::one("sequence.kind", "is missing or not known"));
        }
    };
    let format = sequence.format.parse().map_err(|error| Violations::one("sequence.format", error))?;
    if sequence.block_size > NumberSequence::MAX_BLOCK {
        let rule = format!("is larger than {}", NumberSequence::MAX_BLOCK);
        return Err(Violations::one("sequence.block_size", rule));
    }
    Ok((kind, NumberSequence::new(format, sequence.block_size)))
}
