//! Edits of channels at headquarters (rules X5, X11, M9).

use std::sync::Arc;

use service_kit::clock::SystemClock;
use tillsync_proto::{
    Attribute, AttributeDefinition, AttributeRule, AttributeValue, Change, Content, Customer, Field, Micros,
    Operation, Previous, Update,
};

use super::{TestStore, address, arrival, arrive, channel, get, id, ids, on_both, operation, person, real};
use crate::{
    crowd::crowd,
    store::{Arrival, Overwritten, Payload, Plan, Reconfigure, StatusFilter, Store, SyncStatus, Write},
    sync_job::SyncJob,
};

on_both!(
    x11_the_feed_tells_a_channel_which_of_its_edits_are_in,
    x7_a_page_is_read_once_for_all_who_are_at_its_place,
    x11_a_value_that_lost_is_kept,
    m9_a_create_is_known_by_what_was_asked_for,
    c1_attributes_are_checked_where_they_are_defined,
);

async fn job<S: Store>(store: &S) -> SyncJob<S> {
    super::conversion::job(store, &Arc::default(), 100).await
}

fn edit(counter: u64, change: Change, before: &Content) -> Arrival {
    let previous = Previous::of(&change, before);
    let operation = Operation { previous, ..operation(counter, id(1), change.clone()) };
    Arrival { payload: Payload::Good(operation), ..arrival(counter, id(1), change) }
}

fn currency(code: &str) -> Change {
    let values = Content { currency: code.to_owned(), ..Content::blank() };
    Change::Update(Update { values, fields: vec![Field::Currency] })
}

async fn x11_the_feed_tells_a_channel_which_of_its_edits_are_in(store: impl TestStore) {
    let before = real(&store, id(1), person("Ann", "Edits")).await.customer.content;
    arrive(&store, "s1", vec![edit(7, currency("EUR"), &before)]).await;
    assert_eq!(store.changes(0, 10, usize::MAX).await.unwrap()[0].included.of("s1"), 0);
    job(&store).await.try_once().await.unwrap();
    let told = store.changes(0, 10, usize::MAX).await.unwrap().remove(0);
    assert_eq!((told.included.of("s1"), told.stored.record.version), (7, 2));
    assert_eq!(told.stored.fingerprint, person("Ann", "Edits").fingerprint());
    assert_eq!(store.changes(0, 10, usize::MAX).await.unwrap()[0].included.of("s2"), 0);
    // An edit that changes nothing is told all the same: the channel waits to hear of it.
    arrive(&store, "s1", vec![edit(9, currency("EUR"), &before), edit(8, currency("SEK"), &before)]).await;
    job(&store).await.try_once().await.unwrap();
    let told = store.changes(2, 10, usize::MAX).await.unwrap().remove(0);
    assert_eq!((told.included.of("s1"), told.stored.record.customer.content.currency.as_str()), (9, "EUR"));
    // Another channel's too: both are told of it in one page, where the customer is one record.
    arrive(&store, "s2", vec![edit(3, currency("NOK"), &before)]).await;
    real(&store, id(2), person("Bob", "Edits")).await;
    job(&store).await.try_once().await.unwrap();
    let page = store.changes(0, 2, usize::MAX).await.unwrap();
    let told: Vec<_> = page.iter().map(|told| (told.included.of("s1"), told.included.of("s2"))).collect();
    assert_eq!(told, [(0, 0), (9, 3)]);
    assert_eq!(store.changes(0, 1, usize::MAX).await.unwrap().len(), 1);
}

async fn x7_a_page_is_read_once_for_all_who_are_at_its_place(store: impl TestStore) {
    let before = real(&store, id(1), person("Ann", "Shared")).await.customer.content;
    arrive(&store, "s1", vec![edit(7, currency("EUR"), &before)]).await;
    job(&store).await.try_once().await.unwrap();
    let (crowd, asked) = crowd(&store, ids(), Arc::new(SystemClock));
    let asked = tokio::spawn(asked.run());
    let head = crowd.head().await.unwrap().version;
    let (one, other) = tokio::join!(crowd.page(0, 10, head), crowd.page(0, 10, head));
    let page = one.unwrap();
    assert!(Arc::ptr_eq(&page, &other.unwrap()));
    assert_eq!(page.last, Some(head));
    let included = |name: &str| {
        let told = page.records(&channel(name)).remove(0).read().unwrap();
        (told.version, told.included_counter)
    };
    assert_eq!([included("s1"), included("s2")], [(head, 7), (head, 0)]);
    // Once more is there, it is another page.
    real(&store, id(2), person("Bob", "Shared")).await;
    let newer = crowd.head().await.unwrap().version;
    assert_eq!(crowd.page(0, 10, newer).await.unwrap().last, Some(newer));
    drop(crowd);
    asked.await.unwrap();
}

async fn x11_a_value_that_lost_is_kept(store: impl TestStore) {
    let record =
        real(&store, id(1), Content { addresses: vec![address(1, "Oslo")], ..person("Ann", "Both") }).await;
    let known = record.customer.content.clone();
    // Headquarters changes the currency, the language and the address; the channel does not know.
    let mut content = Content { currency: "NOK".to_owned(), language: "nb".to_owned(), ..known.clone() };
    content.save_address(address(1, "Bergen"));
    let after = Customer { content, ..record.customer.clone() };
    store.settle(&[Plan::of(Write::Replace { before: record, after })]).await.unwrap();
    let values = Content { currency: "EUR".to_owned(), blocked: true, ..Content::blank() };
    let update = Change::Update(Update { values, fields: vec![Field::Currency, Field::Blocked] });
    let saved = Change::SaveAddress(address(1, "Trondheim"));
    arrive(&store, "s1", vec![edit(1, update, &known), edit(2, saved, &known)]).await;
    job(&store).await.try_once().await.unwrap();
    let content = get(&store, id(1)).await.unwrap().customer.content;
    assert_eq!((content.currency.as_str(), content.language.as_str(), content.blocked), ("EUR", "nb", true));
    assert_eq!(content.addresses, [address(1, "Trondheim")]);
    let (rows, _) = store.operations(&StatusFilter::default(), None, 10, usize::MAX).await.unwrap();
    let lost = |row: usize| rows[row].overwritten.clone();
    assert_eq!(lost(1), [Overwritten { field: "currency".to_owned(), value: "NOK".into() }]);
    assert_eq!((lost(0)[0].field.as_str(), &lost(0)[0].value["city"]), ("address", &"Bergen".into()));
    assert!(rows.iter().all(|row| row.status == SyncStatus::Succeeded));
    // The channel's next edit knows what is there: nothing is lost.
    arrive(&store, "s1", vec![edit(3, currency("SEK"), &content)]).await;
    job(&store).await.try_once().await.unwrap();
    let (rows, _) = store.operations(&StatusFilter::default(), None, 1, usize::MAX).await.unwrap();
    assert_eq!(rows[0].overwritten, []);
}

async fn m9_a_create_is_known_by_what_was_asked_for(store: impl TestStore) {
    // Two stores with other default customers fill in other values for the same request.
    let asked = person("Ann", "Default").fingerprint();
    let filled = |counter, currency: &str| {
        let content = Content { currency: currency.to_owned(), ..person("Ann", "Default") };
        let change = Change::Create(content);
        let operation = Operation { fingerprint: Some(asked), ..operation(counter, id(1), change.clone()) };
        Arrival { payload: Payload::Good(operation), ..arrival(counter, id(1), change) }
    };
    arrive(&store, "s1", vec![filled(1, "EUR")]).await;
    arrive(&store, "s2", vec![filled(1, "SEK")]).await;
    let outcome = job(&store).await.try_once().await.unwrap();
    assert_eq!((outcome.completed, outcome.set_aside), (2, 0));
    let stored = store.customers(&[id(1)]).await.unwrap().remove(0);
    assert_eq!((stored.fingerprint, stored.record.customer.content.currency.as_str()), (asked, "EUR"));
    assert_eq!(stored.record.customer.created_at, Micros(5_000_000));
}

async fn c1_attributes_are_checked_where_they_are_defined(store: impl TestStore) {
    let rule = AttributeRule::Integer(Some(0), Some(150));
    let define = Reconfigure::Define(AttributeDefinition { name: "age".to_owned(), rule });
    store.reconfigure(&define).await.unwrap();
    let aged = |age| {
        let attributes = vec![Attribute { name: "age".to_owned(), value: AttributeValue::Integer(age) }];
        Change::Create(Content { attributes, ..person("Ann", "Aged") })
    };
    arrive(&store, "s1", vec![arrival(1, id(1), aged(151)), arrival(2, id(2), aged(150))]).await;
    let outcome = job(&store).await.try_once().await.unwrap();
    assert_eq!((outcome.completed, outcome.set_aside), (1, 1));
    let (aside, _) = store.set_aside(None, 10, usize::MAX).await.unwrap();
    assert_eq!((aside[0].counter, aside[0].reason.as_str()), (1, "INVALID_FIELD"));
    assert_eq!(aside[0].message, "attributes[0].value is more than 150");
}
