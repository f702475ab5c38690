//! What the log says of a customer, for headquarters, and what is left of it once the customer was erased.

use std::collections::HashSet;

use prost::Message as _;
use tillsync_proto::{Customer, CustomerId, convert, pb::common};

use super::{EntryError, Stored};

/// The entry that takes the place of an encoded one, numbered `seq`, whose customer was erased: nothing of the customer is
/// in it. An operation stays one, which headquarters will throw away. `None`: it is not of these customers.
///
/// # Errors
///
/// What cannot be read.
pub(crate) fn scrubbed(
    seq: u64,
    bytes: &[u8],
    erased: &HashSet<CustomerId>,
) -> Result<Option<Vec<u8>>, EntryError> {
    let stored = Stored::decode(bytes)?;
    let customer = stored.customer.ok_or(EntryError::NoCustomer)?;
    let Some(id) = customer.customer_id.parse().ok().filter(|id| erased.contains(id)) else {
        return Ok(None);
    };
    let account_number = (!customer.account_number.is_empty()).then_some(customer.account_number);
    let left = Customer::erased(id, account_number, convert::micros(customer.create_time.as_ref()));
    let edit = stored.edits.last().is_some_and(|edit| edit.counter == seq);
    let stamp = if edit { (String::new(), 0) } else { (stored.epoch, stored.version) };
    let customer = Some((&left).into());
    let left = Stored { customer, epoch: stamp.0, version: stamp.1, ..Stored::default() };
    Ok(Some(left.encode_to_vec()))
}

/// The operation that the P-job brings for an encoded row, numbered `seq`: the create as it was logged, only
/// with what was entered, or the edit. `None`: the row is what headquarters itself has told.
///
/// # Errors
///
/// What cannot be read.
pub(crate) fn operation(seq: u64, bytes: &[u8]) -> Result<Option<common::Operation>, EntryError> {
    let stored = Stored::decode(bytes)?;
    let create = stored.epoch.is_empty() && stored.edits.is_empty();
    if let Some(edit) = stored.edits.into_iter().next_back().filter(|edit| edit.counter == seq) {
        return Ok(Some(edit));
    }
    if !create {
        return Ok(None);
    }
    let logged = stored.customer.ok_or(EntryError::NoCustomer)?;
    let entered = common::Customer {
        customer_id: String::new(),
        account_number: String::new(),
        account_display: String::new(),
        sync_state: 0,
        etag: String::new(),
        loyalty_cards: Vec::new(),
        create_time: None,
        ..logged
    };
    Ok(Some(common::Operation {
        counter: seq,
        customer_id: logged.customer_id,
        log_time: logged.create_time,
        change: Some(common::operation::Change::Create(entered)),
        fingerprint: stored.fingerprint,
        ..common::Operation::default()
    }))
}
