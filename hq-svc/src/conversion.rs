//! What the customer sync job makes of arrivals: plain logic (rule X5).

use std::collections::HashMap;

use service_kit::clock::Ids;
use tillsync_proto::{Change, Content, Customer, CustomerId, Micros, Reason};
use uuid::Uuid;

use crate::store::{Due, Fate, NewCustomer, Plan, Record, Stored, Verdict, Write};

/// First and longest pause before an operation that was set aside is tried again, in seconds.
const FIRST_RETRY_S: i64 = 1;
const LONGEST_RETRY_S: i64 = 600;

/// The plans for a batch of arrivals, one for each customer: its operations in the order of their arrival, up
/// to the first that has to be set aside. The later ones of that customer wait; nobody else does.
pub(crate) fn plan(due: Vec<Due>, known: Vec<Stored>, now: Micros, ids: &Ids) -> Vec<(CustomerId, Plan)> {
    let mut known: HashMap<CustomerId, Stored> =
        known.into_iter().map(|stored| (stored.record.customer.id, stored)).collect();
    let mut order: Vec<CustomerId> = Vec::new();
    let mut by_customer: HashMap<CustomerId, Vec<Due>> = HashMap::new();
    for arrival in due {
        let id = arrival.customer;
        by_customer
            .entry(id)
            .or_insert_with(|| {
                order.push(id);
                Vec::new()
            })
            .push(arrival);
    }
    order
        .into_iter()
        .map(|id| {
            let arrivals = by_customer.remove(&id).unwrap_or_default();
            (id, plan_one(id, arrivals, known.remove(&id), now, ids))
        })
        .collect()
}

/// A customer as far as its operations have made it.
struct Draft {
    content: Content,
    fingerprint: Uuid,
    created_at: Micros,
}

fn plan_one(id: CustomerId, arrivals: Vec<Due>, known: Option<Stored>, now: Micros, ids: &Ids) -> Plan {
    let mut draft = known.as_ref().map(|stored| Draft {
        content: stored.record.customer.content.clone(),
        fingerprint: stored.fingerprint,
        created_at: stored.record.customer.created_at,
    });
    let mut verdicts = Vec::new();
    for arrival in arrivals {
        let seq = arrival.seq;
        match apply(&mut draft, &arrival, now, ids) {
            Ok(()) => verdicts.push(Verdict { seq, fate: Fate::Completed }),
            Err(fate) => {
                verdicts.push(Verdict { seq, fate });
                break;
            }
        }
    }
    Plan { write: write(id, known.map(|stored| stored.record), draft), verdicts }
}

fn apply(draft: &mut Option<Draft>, arrival: &Due, now: Micros, ids: &Ids) -> Result<(), Fate> {
    let Some(operation) = &arrival.operation else {
        return Err(refused(Reason::Internal, "what is stored cannot be read"));
    };
    match (&operation.change, draft) {
        (Change::Create(content), draft @ None) => {
            let fingerprint = content.fingerprint();
            *draft = Some(Draft { content: content.clone(), fingerprint, created_at: operation.logged_at });
            Ok(())
        }
        // The same create by another way: a sync create whose answer was lost, or another channel (rule M6).
        (Change::Create(content), Some(draft)) if content.fingerprint() == draft.fingerprint => Ok(()),
        (Change::Create(_), Some(_)) => {
            Err(refused(Reason::GuidTaken, "the GUID is taken by a customer with other content"))
        }
        (Change::Update(_) | Change::SaveAddress(_), None) => Err(Fate::SetAside {
            reason: Reason::NotFound,
            message: "the customer is not here yet".to_owned(),
            next_attempt_at: Some(next_attempt(arrival.attempts, now, ids)),
        }),
        (change @ (Change::Update(_) | Change::SaveAddress(_)), Some(draft)) => {
            let mut content = draft.content.clone();
            change.apply(&mut content);
            content.validate().map_err(|violations| refused(Reason::InvalidField, violations))?;
            draft.content = content;
            Ok(())
        }
    }
}

fn refused(reason: Reason, message: impl std::fmt::Display) -> Fate {
    Fate::SetAside { reason, message: message.to_string(), next_attempt_at: None }
}

/// Pauses double, and are shortened at random by up to half.
fn next_attempt(attempts: u32, now: Micros, ids: &Ids) -> i64 {
    let seconds = (FIRST_RETRY_S << attempts.min(20)).min(LONGEST_RETRY_S);
    #[expect(clippy::cast_possible_truncation, reason = "at most 600 million")]
    let shortened = (ids.fraction() * 500_000.0) as i64 * seconds;
    now.0 + seconds * 1_000_000 - shortened
}

fn write(id: CustomerId, before: Option<Record>, draft: Option<Draft>) -> Write {
    match (before, draft) {
        (_, None) => Write::Nothing,
        (None, Some(Draft { content, fingerprint, created_at })) => {
            Write::Insert(NewCustomer { id, fingerprint, content, created_at })
        }
        (Some(before), Some(draft)) if before.customer.content == draft.content => Write::Nothing,
        (Some(before), Some(draft)) => {
            let after = Customer { content: draft.content, ..before.customer.clone() };
            Write::Replace { before, after }
        }
    }
}
