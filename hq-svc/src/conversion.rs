//! What the customer sync job makes of arrivals: plain logic (rule X5).

use std::collections::HashMap;

use service_kit::clock::Ids;
use tillsync_proto::{
    AttributeDefinitions, Change, Content, Customer, CustomerId, Micros, Operation, Previous, Reason,
};
use uuid::Uuid;

use crate::{
    planted::planted,
    store::{AppliedEdit, Due, Fate, NewCustomer, Overwritten, Plan, Record, Stored, Verdict, Write},
};

/// First and longest pause before an operation that was set aside is tried again, in seconds.
const FIRST_RETRY_S: i64 = 1;
const LONGEST_RETRY_S: i64 = 600;

/// The plans for a batch of arrivals, one for each customer: its operations in the order of their arrival, up
/// to the first that has to be set aside. The later ones of that customer wait; nobody else does.
pub(crate) fn plan(due: Vec<Due>, known: Vec<Stored>, rules: &Rules<'_>) -> Vec<(CustomerId, Plan)> {
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
            (id, plan_one(id, arrivals, known.remove(&id), rules))
        })
        .collect()
}

/// What the plans depend on.
pub(crate) struct Rules<'a> {
    /// The present instant.
    pub now: Micros,
    /// Chance, for pauses.
    pub ids: &'a Ids,
    /// What attributes must be.
    pub definitions: &'a AttributeDefinitions,
}

/// A customer as far as its operations have made it.
struct Draft {
    content: Content,
    fingerprint: Uuid,
    created_at: Micros,
}

fn is_create(due: &Due) -> bool {
    due.operation.as_ref().is_some_and(|operation| matches!(operation.change, Change::Create(_)))
}

fn plan_one(id: CustomerId, mut arrivals: Vec<Due>, known: Option<Stored>, rules: &Rules<'_>) -> Plan {
    if let Some(Stored { record, .. }) = &known
        && record.customer.is_erased()
    {
        // Told again to all: whoever has sent this knows the customer as it was.
        let (before, after) = (record.clone(), record.customer.clone());
        let erased = |arrival: Due| Verdict { seq: arrival.seq, fate: Fate::Erased(id) };
        let verdicts = arrivals.into_iter().map(erased).collect();
        return Plan { write: Write::Replace { before, after }, verdicts, edits: Vec::new() };
    }
    let mut draft = known.as_ref().map(|stored| Draft {
        content: stored.record.customer.content.clone(),
        fingerprint: stored.fingerprint,
        created_at: stored.record.customer.created_at,
    });
    // A channel may have brought an edit before the customer, which headquarters had and lost in a restore.
    if draft.is_none()
        && let Some(create) = arrivals.iter().position(is_create)
    {
        arrivals[..=create].rotate_right(1);
    }
    if draft.is_some() && planted("the last edit comes first") {
        arrivals.reverse();
    }
    let (mut verdicts, mut edits) = (Vec::new(), Vec::new());
    for Due { seq, channel, counter, operation, attempts, included, .. } in arrivals {
        let edit = operation.as_ref().is_some_and(|operation| !matches!(operation.change, Change::Create(_)));
        // Headquarters was restored, and the channel has brought the customer with the edit in it.
        let again = edit && draft.is_some() && counter <= included;
        let applied = if again { Ok(Vec::new()) } else { apply(&mut draft, operation, attempts, rules) };
        match applied {
            Ok(overwritten) => {
                verdicts.push(Verdict { seq, fate: Fate::Completed { overwritten } });
                if edit {
                    edits.push(AppliedEdit { customer: id, channel, counter });
                }
            }
            Err(fate) => {
                verdicts.push(Verdict { seq, fate });
                // The customer's later operations wait for it.
                if !planted("later operations do not wait") {
                    break;
                }
            }
        }
    }
    let write = write(id, known.map(|stored| stored.record), draft, !edits.is_empty());
    Plan { write, verdicts, edits }
}

/// Gives the values of others that the operation has replaced.
fn apply(
    draft: &mut Option<Draft>,
    operation: Option<Operation>,
    attempts: u32,
    rules: &Rules<'_>,
) -> Result<Vec<Overwritten>, Fate> {
    let Some(Operation { change, previous, fingerprint, logged_at, .. }) = operation else {
        return Err(refused(Reason::Internal, "what is stored cannot be read"));
    };
    let asked = |content: &Content| fingerprint.unwrap_or_else(|| content.fingerprint());
    match (change, draft) {
        (Change::Create(content), draft @ None) => {
            rules.check(&content)?;
            *draft = Some(Draft { fingerprint: asked(&content), content, created_at: logged_at });
            Ok(Vec::new())
        }
        // The same create by another way: a sync create whose answer was lost, or another channel (rule M6).
        (Change::Create(content), Some(draft)) if asked(&content) == draft.fingerprint => Ok(Vec::new()),
        (Change::Create(_), Some(_)) => {
            Err(refused(Reason::GuidTaken, "the GUID is taken by a customer with other content"))
        }
        (Change::Update(_) | Change::SaveAddress(_), None) => Err(Fate::SetAside {
            reason: Reason::NotFound,
            message: "the customer is not here yet".to_owned(),
            next_attempt_at: Some(next_attempt(attempts, rules.now, rules.ids)),
        }),
        (change @ (Change::Update(_) | Change::SaveAddress(_)), Some(draft)) => {
            let mut content = draft.content.clone();
            change.apply(&mut content);
            rules.check(&content)?;
            let before = std::mem::replace(&mut draft.content, content);
            Ok(overwritten(&change, &previous, &before))
        }
    }
}

impl Rules<'_> {
    fn check(&self, content: &Content) -> Result<(), Fate> {
        let checked = content.validate().and_then(|()| self.definitions.check(content));
        checked.map_err(|violations| refused(Reason::InvalidField, violations))
    }
}

/// The values that an edit has replaced although its channel did not know them: somebody else had written them
/// meanwhile. Headquarters' order decides, and what lost is kept (rule X11).
fn overwritten(change: &Change, previous: &Previous, before: &Content) -> Vec<Overwritten> {
    match (change, previous) {
        (Change::Update(update), Previous::Values(known)) => {
            let lost = update
                .fields
                .iter()
                .filter(|field| !field.is_same(known, before) && !field.is_same(&update.values, before));
            // Content that was read from JSON can be written as JSON.
            let all = serde_json::to_value(before).unwrap_or_default();
            let value = |field: &str| all.get(field).cloned().unwrap_or_default();
            lost.map(|field| Overwritten { field: field.path().to_owned(), value: value(field.member()) })
                .collect()
        }
        (Change::SaveAddress(address), previous) => {
            let there = before.addresses.iter().find(|there| there.id == address.id);
            let known = match previous {
                Previous::Address(known) => Some(known),
                Previous::None | Previous::Values(_) => None,
            };
            let lost = there.filter(|there| Some(*there) != known && *there != address);
            let value = |lost| serde_json::to_value(lost).unwrap_or_default();
            lost.map(|lost| Overwritten { field: "address".to_owned(), value: value(lost) })
                .into_iter()
                .collect()
        }
        (Change::Create(_), _) | (Change::Update(_), Previous::None | Previous::Address(_)) => Vec::new(),
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

/// `edited`: a channel waits to hear that its edits are in, even if they change nothing.
fn write(id: CustomerId, before: Option<Record>, draft: Option<Draft>, edited: bool) -> Write {
    match (before, draft) {
        (_, None) => Write::Nothing,
        (None, Some(Draft { content, fingerprint, created_at })) => {
            Write::Insert(NewCustomer { id, fingerprint, content, created_at })
        }
        (Some(before), Some(draft)) if !edited && before.customer.content == draft.content => Write::Nothing,
        (Some(before), Some(draft)) => {
            let after = Customer { content: draft.content, ..before.customer.clone() };
            Write::Replace { before, after }
        }
    }
}
