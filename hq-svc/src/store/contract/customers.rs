//! Account numbers, versions, the feed, loyalty cards.

use std::{collections::HashSet, time::Duration};

use tillsync_proto::{Customer, CustomerRef};
use uuid::Uuid;

use super::{TestStore, get, id, insert, on_both, person, real};
use crate::store::{CardRequest, Issued, Plan, Record, Settled, Write};

on_both!(
    x6_numbers_go_only_to_customers_that_are_inserted,
    x6_an_exhausted_sequence_refuses_and_spends_nothing,
    m6_a_hundred_creates_of_one_guid_make_one_customer,
    x7_versions_are_dense_and_in_commit_order,
    x7_a_customer_stands_in_the_feed_once,
    x7_a_page_stops_at_its_bytes,
    a_change_against_an_old_record_is_a_conflict,
    m7_a_customer_is_found_by_guid_and_by_number,
    a_card_is_issued_once_for_a_request,
    card_numbers_come_from_a_sequence_that_steps_over_those_given,
    the_epoch_stays,
);

fn account(settled: &Settled) -> &str {
    match settled {
        Settled::Written(record) => record.customer.account_number.as_deref().expect("a number"),
        other => panic!("{other:?}"),
    }
}

async fn x6_numbers_go_only_to_customers_that_are_inserted(store: impl TestStore) {
    let first = real(&store, id(1), person("Ann", "First")).await;
    assert_eq!((first.customer.account_number.as_deref(), first.version), (Some("C-00000001"), 1));
    let plans = [
        insert(id(2), person("Bob", "Second")),
        insert(id(1), person("Ann", "First")),
        insert(id(2), person("Bob", "Other")),
        insert(id(3), person("Cid", "Third")),
    ];
    let settled = store.settle(&plans).await.unwrap();
    assert_eq!((account(&settled[0]), account(&settled[3])), ("C-00000002", "C-00000003"));
    let Settled::Conflict(stored) = &settled[1] else { panic!("{settled:?}") };
    assert_eq!(stored.record, first, "the stored answer");
    assert_eq!(stored.fingerprint, person("Ann", "First").fingerprint());
    let Settled::Conflict(stored) = &settled[2] else { panic!("{settled:?}") };
    assert_eq!(stored.fingerprint, person("Bob", "Second").fingerprint(), "of the same batch");
    let head = store.head().await.unwrap();
    assert_eq!((head.customers, head.version), (3, 3));
}

async fn x6_an_exhausted_sequence_refuses_and_spends_nothing(store: impl TestStore) {
    store.meddle("update hq_head set next_account = 99999999").await;
    let plans: Vec<Plan> = (1..=3).map(|n| insert(id(n), person("Ann", "Last"))).collect();
    let settled = store.settle(&plans).await.unwrap();
    assert_eq!(account(&settled[0]), "C-99999999");
    assert_eq!(settled[1..], [Settled::Exhausted, Settled::Exhausted]);
    assert_eq!(store.head().await.unwrap().version, 1);
    assert_eq!(get(&store, id(2)).await, None);
}

async fn m6_a_hundred_creates_of_one_guid_make_one_customer(store: impl TestStore) {
    let creates = (0..100).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let settle = store.settle(&[insert(id(1), person("Ann", "Once"))]).await;
            settle.unwrap().pop().unwrap()
        })
    });
    let mut numbers = HashSet::new();
    let mut written = 0;
    for create in creates.collect::<Vec<_>>() {
        let record = match create.await.unwrap() {
            Settled::Written(record) => {
                written += 1;
                record
            }
            Settled::Conflict(stored) => stored.record,
            other => panic!("{other:?}"),
        };
        numbers.insert(record.customer.account_number.unwrap());
    }
    assert_eq!((written, numbers.len()), (1, 1));
    assert_eq!(store.head().await.unwrap().customers, 1);
}

async fn x7_versions_are_dense_and_in_commit_order(store: impl TestStore) {
    const WRITERS: u64 = 6;
    const BATCHES: u64 = 15;
    const SIZE: u64 = 5;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for batch in 0..BATCHES {
                    let first = (writer * BATCHES + batch) * SIZE;
                    let plans: Vec<Plan> =
                        (first..first + SIZE).map(|n| insert(id(n), person("Ann", "Dense"))).collect();
                    store.settle(&plans).await.unwrap();
                }
            })
        })
        .collect();
    // Nobody edits, so a follower must see every version, and none late.
    let mut cursor = 0;
    let follow = async {
        while cursor < WRITERS * BATCHES * SIZE {
            for record in store.records(cursor, 7, usize::MAX).await.unwrap() {
                assert_eq!(record.version, cursor + 1, "a version was skipped");
                cursor = record.version;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), follow).await.expect("all versions come");
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.head().await.unwrap().version, cursor);
}

fn renamed(before: &Record, first_name: &str) -> Plan {
    let after = Customer { content: person(first_name, "Renamed"), ..before.customer.clone() };
    Plan::of(Write::Replace { before: before.clone(), after })
}

async fn x7_a_customer_stands_in_the_feed_once(store: impl TestStore) {
    let first = real(&store, id(1), person("Ann", "Feed")).await;
    real(&store, id(2), person("Bob", "Feed")).await;
    let settled = store.settle(&[renamed(&first, "Anna")]).await.unwrap();
    assert!(matches!(&settled[..], [Settled::Written(record)] if record.version == 3));
    let feed = store.records(0, 10, usize::MAX).await.unwrap();
    let feed: Vec<_> = feed.iter().map(|record| (record.version, record.customer.id)).collect();
    assert_eq!(feed, [(2, id(2)), (3, id(1))]);
    assert_eq!(store.records(2, 10, usize::MAX).await.unwrap().len(), 1);
    assert_eq!(store.records(3, 10, usize::MAX).await.unwrap(), []);
    // The fingerprint is still that of the create.
    let stored = store.customers(&[id(1)]).await.unwrap();
    assert_eq!(stored[0].fingerprint, person("Ann", "Feed").fingerprint());
}

async fn x7_a_page_stops_at_its_bytes(store: impl TestStore) {
    for n in 1..=5 {
        real(&store, id(n), person(&"x".repeat(100), "Long")).await;
    }
    let one = store.records(0, 5, 0).await.unwrap();
    assert_eq!(one.len(), 1, "a page is never empty while there is more");
    let some = store.records(0, 5, 1_000).await.unwrap().len();
    assert!((1..5).contains(&some), "{some}");
}

async fn a_change_against_an_old_record_is_a_conflict(store: impl TestStore) {
    let first = real(&store, id(1), person("Ann", "Old")).await;
    let settled = store.settle(&[renamed(&first, "Anna"), renamed(&first, "Hannah")]).await.unwrap();
    let [Settled::Written(record), Settled::Conflict(stored)] = &settled[..] else { panic!("{settled:?}") };
    assert_eq!(&stored.record, record);
    let mut gone = first.clone();
    gone.customer.id = id(9);
    assert_eq!(store.settle(&[renamed(&gone, "Nobody")]).await.unwrap(), [Settled::Gone]);
}

async fn m7_a_customer_is_found_by_guid_and_by_number(store: impl TestStore) {
    let record = real(&store, id(1), person("Ann", "Both")).await;
    let number = record.customer.account_number.clone().unwrap();
    assert_eq!(get(&store, id(1)).await.as_ref(), Some(&record));
    assert_eq!(store.customer(&CustomerRef::Account(number)).await.unwrap(), Some(record));
    assert_eq!(get(&store, id(2)).await, None);
    assert_eq!(store.customer(&CustomerRef::Account("C-9".to_owned())).await.unwrap(), None);
}

fn card(n: u64, number: Option<&str>, request: u128) -> CardRequest {
    CardRequest { customer: id(n), number: number.map(str::to_owned), request_id: Uuid::from_u128(request) }
}

async fn a_card_is_issued_once_for_a_request(store: impl TestStore) {
    real(&store, id(1), person("Ann", "Card")).await;
    real(&store, id(2), person("Bob", "Card")).await;
    let first = store.issue_card(card(1, None, 1)).await.unwrap();
    let Issued::Card { record, number } = &first else { panic!("{first:?}") };
    assert_eq!((number.as_str(), record.version), ("L-00000001", 3));
    assert_eq!(record.customer.loyalty_cards, ["L-00000001"]);
    assert_eq!(store.issue_card(card(1, None, 1)).await.unwrap(), first, "a repeat");
    assert_eq!(get(&store, id(1)).await.as_ref(), Some(record));
    assert_eq!(store.issue_card(card(1, Some("OTHER-1"), 1)).await.unwrap(), Issued::RequestUsed);
    assert_eq!(store.issue_card(card(2, None, 1)).await.unwrap(), Issued::RequestUsed);
    assert_eq!(store.issue_card(card(2, Some("l-00000001"), 2)).await.unwrap(), Issued::Taken);
    assert_eq!(store.issue_card(card(9, None, 3)).await.unwrap(), Issued::NoCustomer);
    // One's own card under another request is that card.
    assert_eq!(store.issue_card(card(1, Some("l-00000001"), 4)).await.unwrap(), first);
    assert_eq!(store.head().await.unwrap().version, 3, "nothing else was changed");
}

async fn card_numbers_come_from_a_sequence_that_steps_over_those_given(store: impl TestStore) {
    real(&store, id(1), person("Ann", "Card")).await;
    for (request, number, expected) in
        [(1, Some("L-00000002"), "L-00000002"), (2, None, "L-00000001"), (3, None, "L-00000003")]
    {
        let issued = store.issue_card(card(1, number, request)).await.unwrap();
        assert!(matches!(&issued, Issued::Card { number, .. } if number == expected), "{issued:?}");
    }
    store.meddle("update hq_head set next_card = 100000000").await;
    assert_eq!(store.issue_card(card(1, None, 4)).await.unwrap(), Issued::Exhausted);
    for n in 0..97 {
        let issued = store.issue_card(card(1, Some(&format!("GIVEN-{n}")), 100 + n)).await.unwrap();
        assert!(matches!(issued, Issued::Card { .. }), "{issued:?}");
    }
    assert_eq!(store.issue_card(card(1, Some("GIVEN-97"), 300)).await.unwrap(), Issued::TooMany);
}

async fn the_epoch_stays(store: impl TestStore) {
    let head = store.head().await.unwrap();
    assert!(!head.epoch.is_nil());
    assert_eq!((head.version, head.customers, head.arrivals_completed), (0, 0, 0));
    real(&store, id(1), person("Ann", "Epoch")).await;
    assert_eq!(store.head().await.unwrap().epoch, head.epoch);
}
