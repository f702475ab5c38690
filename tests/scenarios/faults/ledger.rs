//! What was acknowledged against what is there: nobody lost, nobody doubled, one account number for each.

use std::collections::{BTreeMap, BTreeSet};

use tillsync_proto::pb::common::Customer;
use uuid::Uuid;

use crate::client::{Headquarters, Store, until};

/// Account numbers by GUID; a customer, a number or an e-mail that is there twice is a failure.
fn by_id(of: &str, customers: Vec<Customer>) -> BTreeMap<String, String> {
    let (mut numbers, mut emails, mut known) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for customer in customers {
        let Customer { customer_id: id, account_number: number, contacts, .. } = customer;
        assert!(number.is_empty() || numbers.insert(number.clone()), "{of}: {number} is used twice");
        assert!(emails.insert(contacts[0].value.clone()), "{of}: {id} is there under two GUIDs");
        assert!(known.insert(id.clone(), number).is_none(), "{of}: {id} is there twice");
    }
    known
}

/// Waits until nothing is pending and every store has what headquarters has; then every acknowledged create must be
/// there exactly once, under one account number, at headquarters and in each store, and nobody else.
pub async fn settle(hq: &Headquarters, stores: &[Store], acknowledged: &BTreeSet<Uuid>) {
    for store in stores {
        store.drained().await;
    }
    let master = by_id("headquarters", hq.customers().await);
    let lost: Vec<&Uuid> = acknowledged.iter().filter(|id| !master.contains_key(&id.to_string())).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged creates are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    assert_eq!(master.len(), acknowledged.len(), "headquarters has customers that no till made");
    for store in stores {
        let mut known = BTreeMap::new();
        until("1010 brings everybody", async || {
            let Ok(customers) = store.customers().await else { return false };
            known = by_id(&store.id, customers);
            known.len() >= master.len() && known.values().all(|number| !number.is_empty())
        })
        .await;
        assert!(known == master, "{} and headquarters disagree", store.id);
    }
}

/// Those that a store has acknowledged and does not have.
pub async fn missing(store: &Store, acknowledged: &BTreeSet<Uuid>) -> Vec<Uuid> {
    let customers = store.customers().await.expect("the store lists its customers");
    let there: BTreeSet<String> = customers.into_iter().map(|customer| customer.customer_id).collect();
    acknowledged.iter().filter(|id| !there.contains(&id.to_string())).copied().collect()
}

/// Everything that a store has acknowledged is there.
pub async fn has_all(store: &Store, acknowledged: &BTreeSet<Uuid>) {
    let missing = missing(store, acknowledged).await;
    assert!(missing.is_empty(), "{} has lost what it acknowledged: {missing:?}", store.id);
}
