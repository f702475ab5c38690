//! Possible duplicates (rule C5).

use tillsync_proto::{ContactKind, Content};
use tokio_util::sync::CancellationToken;

use super::{TestClock, TestStore, contact, id, ids, on_both, person, real};
use crate::{hq::Headquarters, store::Likeness};

on_both!(c5_customers_that_may_be_the_same_are_noticed_once);

fn reached(first: &str, email: &str, phone: &str) -> Content {
    let contacts = vec![contact(1, ContactKind::Email, email), contact(2, ContactKind::Phone, phone)];
    Content { contacts, ..person(first, "Twin") }
}

async fn c5_customers_that_may_be_the_same_are_noticed_once(store: impl TestStore) {
    let clock = std::sync::Arc::new(TestClock::default());
    let (hq, _waited) =
        Headquarters::open(store.clone(), clock, ids(), CancellationToken::new()).await.unwrap();
    real(&store, id(1), reached("Ann", "ann@example.com", "+49 30 1")).await;
    real(&store, id(2), reached("Bob", "ANN@Example.com", "+49 30 222")).await;
    real(&store, id(3), reached("Änn", "other@example.com", "(+49) 30-1")).await;
    real(&store, id(4), reached("Eve", "eve@example.com", "+49 30 1")).await;
    assert_eq!(hq.notice_duplicates().await.unwrap(), 2);
    let listed = async || -> Vec<_> {
        let page = hq.possible_duplicates(10, "").await.unwrap();
        page.items
            .iter()
            .map(|noticed| (noticed.pair.customer, noticed.pair.other, noticed.pair.likeness))
            .collect()
    };
    let by_phone = (id(3), id(1), Likeness::PhoneAndName);
    let by_email = (id(2), id(1), Likeness::Email);
    let mut found = listed().await;
    found.sort_by_key(|pair| pair.0);
    assert_eq!(found, [by_email, by_phone], "Eve has the phone and another name");
    assert_eq!(hq.notice_duplicates().await.unwrap(), 0, "nothing has changed");
    // Another with the same e-mail is paired with both; the old pair is not noted again.
    real(&store, id(5), reached("Ann", "ann@example.com", "+49 30 555")).await;
    assert_eq!(hq.notice_duplicates().await.unwrap(), 2);
    assert_eq!(listed().await.len(), 4);
    hq.dismiss(id(1), id(2)).await.unwrap();
    assert!(!listed().await.contains(&by_email));
    assert!(hq.dismiss(id(1), id(4)).await.is_err(), "there is no such pair");
    assert_eq!(store.pair_count().await.unwrap(), 3);
    assert_eq!(store.head().await.unwrap().customers, 5, "nobody is merged");
}
