//! A database that was restored from a backup.

use tillsync_proto::{Change, Customer, CustomerId, Micros, Update};

use super::{TestStore, arrival, arrive, channel, contact, get, id, insert, on_both, person, real, said};
use crate::store::{Plan, Recovered, Settled, StoreError, Write};

on_both!(
    x7_nothing_changes_until_what_was_lost_is_back,
    x7_what_channels_bring_is_the_newest_and_keeps_its_number,
    x7_a_channel_that_comes_late_doubles_no_number,
);

fn lost(customer: CustomerId, number: &str, name: &str, version: u64) -> Recovered {
    let content = person(name, "Lost");
    let fingerprint = person("first", "Lost").fingerprint();
    let (account_number, created_at) = (Some(number.to_owned()), Micros(1_000));
    let loyalty_cards = vec!["L-00000007".to_owned()];
    let customer = Customer { id: customer, account_number, content, loyalty_cards, created_at };
    Recovered { customer, version, fingerprint, included: 0 }
}

async fn x7_nothing_changes_until_what_was_lost_is_back(store: impl TestStore) {
    for name in ["s1", "s2", "reader"] {
        store.register_channel(&channel(name)).await.expect("known");
    }
    store.report(&[said("s1", vec![1], &[]), said("s2", vec![1], &[])], Micros(1)).await.expect("told");
    let before = store.head().await.expect("read");
    real(&store, id(1), person("Ann", "Kept")).await;
    store.restored(&[channel("s3")]).await;
    let head = store.head().await.expect("read");
    assert_ne!(head.epoch, before.epoch);
    assert_eq!(store.lineage().await.expect("read"), [(before.epoch, 1)]);
    // Who has only read has nothing to bring.
    assert_eq!(store.awaited().await.expect("read"), ["s1", "s2", "s3"]);
    let refused = store.settle(&[insert(id(2), person("Bob", "Waits"))]).await;
    assert!(matches!(refused, Err(StoreError::Recovering)));
    for name in ["s1", "s2"] {
        store.await_no_longer(Some(&channel(name))).await.expect("done");
    }
    assert_eq!(store.head().await.expect("read").awaited, 1);
    store.await_no_longer(None).await.expect("done");
    real(&store, id(2), person("Bob", "Waits")).await;
}

async fn x7_what_channels_bring_is_the_newest_and_keeps_its_number(store: impl TestStore) {
    real(&store, id(1), person("Ann", "Old")).await;
    store.restored(&[channel("s1")]).await;
    let mut newest = lost(id(1), "C-00000001", "Newest", 9);
    newest.customer.content.contacts.push(contact(1, tillsync_proto::ContactKind::Email, "ann@example.com"));
    newest.included = 4;
    let other = lost(id(2), "C-00000005", "Other", 6);
    store.recover(&channel("s1"), &[newest.clone(), other.clone()], Micros(1)).await.expect("taken");
    // Again, and an older version from another channel: neither counts.
    store.recover(&channel("s1"), std::slice::from_ref(&newest), Micros(1)).await.expect("taken");
    store.recover(&channel("s2"), &[lost(id(1), "C-00000001", "Older", 8)], Micros(1)).await.expect("taken");
    assert_eq!(store.head().await.expect("read").version, 3);
    assert_eq!(get(&store, id(1)).await.expect("there").customer, newest.customer);
    assert_eq!(get(&store, id(2)).await.expect("there").customer, other.customer);
    assert_eq!(store.arrived_through(&channel("s1")).await.expect("read"), 0);
    // An edit that is in what was brought comes again, and a later one for the first time.
    store.await_no_longer(None).await.expect("done");
    let edit = |counter, name: &str| {
        let fields = vec![tillsync_proto::Field::Party];
        arrival(counter, id(1), Change::Update(Update { values: person(name, "Lost"), fields }))
    };
    arrive(&store, "s1", vec![edit(4, "Before"), edit(5, "After")]).await;
    assert_eq!(store.arrived_through(&channel("s1")).await.expect("read"), 5);
    let due = store.due(None, 0, Micros(9_000_000), 10, 1 << 20).await.expect("read");
    assert_eq!(due.iter().map(|due| (due.counter, due.included)).collect::<Vec<_>>(), [(4, 4), (5, 4)]);
    // The number sequences go on behind what was brought.
    let next = real(&store, id(3), person("Next", "One")).await;
    assert_eq!(next.customer.account_number.as_deref(), Some("C-00000006"));
    let request = crate::store::CardRequest { customer: id(3), number: None, request_id: id(9).0 };
    let crate::store::Issued::Card { number, .. } = store.issue_card(request).await.expect("a card") else {
        panic!("a card")
    };
    assert_eq!(number, "L-00000008");
}

async fn x7_a_channel_that_comes_late_doubles_no_number(store: impl TestStore) {
    store.restored(&[]).await;
    let taken = real(&store, id(1), person("First", "Come")).await;
    assert_eq!(taken.customer.account_number.as_deref(), Some("C-00000001"));
    // What has changed since the restore stays as it is.
    store.recover(&channel("s1"), &[lost(id(1), "C-00000001", "Stale", 50)], Micros(1)).await.expect("taken");
    assert_eq!(get(&store, id(1)).await.expect("there"), taken);
    store.recover(&channel("s1"), &[lost(id(2), "C-00000001", "Late", 3)], Micros(1)).await.expect("taken");
    let late = get(&store, id(2)).await.expect("there").customer;
    assert_eq!(late.account_number.as_deref(), Some("C-00000002"));
    // The same create that is sent again is a repeat of it.
    let fingerprint = person("first", "Lost").fingerprint();
    let new = crate::store::NewCustomer { fingerprint, ..super::new(id(2), person("Late", "Lost")) };
    let settled = store.settle(&[Plan::of(Write::Insert(new))]).await.expect("settled");
    assert!(matches!(&settled[..], [Settled::Conflict(stored)] if stored.fingerprint == fingerprint));
}
