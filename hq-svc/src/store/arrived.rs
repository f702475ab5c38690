//! An uploaded page on its way into the log and back, the same for both databases.

use std::collections::{HashMap, HashSet};

use tillsync_proto::{Change, CustomerId, Micros, Operation, Reason, reason_name};
use uuid::Uuid;

use super::{Arrival, Arrived, Payload};

/// A row of `arrivals` to insert.
pub(super) struct NewRow<'a> {
    pub counter: i64,
    pub customer: Option<Uuid>,
    pub kind: Option<&'static str>,
    pub operation: Option<&'a Operation>,
    pub raw: Option<&'a [u8]>,
    pub reason: Option<&'static str>,
    pub message: Option<&'a str>,
    pub logged_at: i64,
}

/// Counter, customer, when it was logged, reason, account number of an arrival that stands in the log.
pub(super) type StandingColumns = (i64, Option<Uuid>, i64, Option<String>, Option<String>);

/// The rows of a page, in the order of the channel's log, so that they arrive in it.
pub(super) fn in_order(page: &[Arrival]) -> impl Iterator<Item = NewRow<'_>> {
    let mut page: Vec<&Arrival> = page.iter().collect();
    page.sort_by_key(|arrival| arrival.counter);
    // The first of several with the same counter counts.
    page.dedup_by_key(|arrival| arrival.counter);
    page.into_iter().map(|arrival| {
        let mut row = NewRow {
            counter: arrival.counter,
            customer: arrival.customer.map(|id| id.0),
            kind: None,
            operation: None,
            raw: None,
            reason: None,
            message: None,
            logged_at: arrival.logged_at.0,
        };
        match &arrival.payload {
            Payload::Good(operation) => {
                row.kind = Some(match operation.change {
                    Change::Create(_) => "create",
                    Change::Update(_) => "update",
                    Change::SaveAddress(_) => "save_address",
                });
                row.operation = Some(operation);
            }
            Payload::Erased => row.raw = Some(&[]),
            Payload::Bad { raw, message } => {
                row.raw = Some(raw);
                row.reason = Some(reason_name(Reason::InvalidField));
                row.message = Some(message);
            }
        }
        row
    })
}

/// The answers, in the order of the request.
pub(super) fn answers(
    counters: &[i64],
    mut new: HashSet<i64>,
    standing: &HashMap<i64, StandingColumns>,
) -> Vec<Arrived> {
    let answer = |counter| {
        let standing = standing.get(counter).cloned();
        let logged_at = standing.as_ref().map(|standing| Micros(standing.2));
        let (_, customer, _, reason, account_number) = standing.unwrap_or_default();
        Arrived {
            // Of several with the same counter only the first is new.
            known: !new.remove(counter),
            customer: customer.map(CustomerId),
            logged_at,
            reason,
            account_number,
        }
    };
    counters.iter().map(answer).collect()
}
