//! Search (rule C3): the same rows in the same order, whichever the database.

use tillsync_proto::{ContactKind, Content, Criterion, Customer, CustomerId, terms};
use uuid::Uuid;

use super::{TestStore, contact, id, insert, on_both, person, real};
use crate::store::{CardRequest, MAX_HITS, Plan, Settled, Store, Write};

on_both!(
    c3_search_finds_what_the_criterion_says_in_its_order,
    c3_all_words_are_found_however_common_each_is,
    c3_a_search_finds_a_bounded_number,
    c3_what_was_edited_is_found_by_the_new_terms_only,
    c3_numbers_are_found_whole,
);

async fn found(store: &impl Store, criterion: &Criterion) -> Vec<CustomerId> {
    store.find(criterion).await.unwrap().into_iter().map(|hit| hit.id).collect()
}

async fn c3_search_finds_what_the_criterion_says_in_its_order(store: impl TestStore) {
    let names = [
        ("Ann", "Müller"),
        ("Anna", "Muller-Straße"),
        ("Bob", "Mulligan"),
        ("annegret", "Ångström"),
        ("Łukasz", "Ann"),
        ("Ann", "Ann"),
        ("李", "小龙"),
        ("Zed", "Ann Muller Bob"),
    ];
    let mut customers: Vec<Customer> = Vec::new();
    for (n, (first, last)) in names.into_iter().enumerate() {
        // Not in the order of the GUIDs.
        let id = id(100 - n as u64);
        let mut content = person(first, last);
        content.contacts = vec![
            contact(1, ContactKind::Email, &format!("{}{n}@Example.com", if n % 2 == 0 { "a" } else { "b" })),
            contact(2, ContactKind::Phone, &format!("+49 (0)30 {n}{n}{n}")),
        ];
        customers.push(real(&store, id, content).await.customer);
    }
    let queries = [
        Criterion::name("ann"),
        Criterion::name("ANN Müller"),
        Criterion::name("mul an"),
        Criterion::name("angstrom"),
        Criterion::name("lukasz bob zzz"),
        Criterion::name("小"),
        Criterion::name("nobody"),
        Criterion::email("A"),
        Criterion::email("b3@example.com"),
        Criterion::phone("49 030"),
        Criterion::phone("4903033"),
    ];
    for criterion in queries.map(Result::unwrap) {
        let mut expected: Vec<_> = customers
            .iter()
            .map(|customer| (criterion.rank(&terms(customer)), customer.id))
            .filter(|(rank, _)| *rank > 0)
            .collect();
        expected.sort_by_key(|(rank, id)| (std::cmp::Reverse(*rank), *id));
        let expected: Vec<CustomerId> = expected.into_iter().map(|(_, id)| id).collect();
        assert_eq!(found(&store, &criterion).await, expected, "{criterion:?}");
    }
}

fn many(first: u64, count: u64, content: &Content) -> Vec<Plan> {
    (first..first + count).map(|n| insert(id(n), content.clone())).collect()
}

async fn c3_all_words_are_found_however_common_each_is(store: impl TestStore) {
    let common = MAX_HITS as u64 + 100;
    store.settle(&many(1, common, &person("Ann", "Other"))).await.unwrap();
    store.settle(&many(10_001, common, &person("Other", "Smith"))).await.unwrap();
    real(&store, id(99_999), person("Ann", "Smith")).await;
    let hits = store.find(&Criterion::name("ann smith").unwrap()).await.unwrap();
    assert_eq!((hits[0].id, hits[0].points), (id(99_999), 4));
    assert_eq!((hits[1].id, hits[1].points), (id(1), 2), "then those that match one word, by GUID");
    assert_eq!(hits.len(), MAX_HITS);
}

async fn c3_a_search_finds_a_bounded_number(store: impl TestStore) {
    store.settle(&many(1, MAX_HITS as u64 + 1, &person("Ann", "Many"))).await.unwrap();
    assert_eq!(found(&store, &Criterion::name("ann").unwrap()).await.len(), MAX_HITS);
}

async fn c3_what_was_edited_is_found_by_the_new_terms_only(store: impl TestStore) {
    let before = real(&store, id(1), person("Ann", "Before")).await;
    let after = Customer { content: person("Ann", "After"), ..before.customer.clone() };
    let plan = Plan::of(Write::Replace { before, after });
    assert!(matches!(&store.settle(&[plan]).await.unwrap()[..], [Settled::Written(_)]));
    for (name, expected) in [("before", vec![]), ("after", vec![id(1)]), ("ann", vec![id(1)])] {
        assert_eq!(found(&store, &Criterion::name(name).unwrap()).await, expected, "{name}");
    }
}

async fn c3_numbers_are_found_whole(store: impl TestStore) {
    real(&store, id(1), person("Ann", "Number")).await;
    let request =
        CardRequest { customer: id(1), number: Some("Gold-77".to_owned()), request_id: Uuid::from_u128(1) };
    store.issue_card(request).await.unwrap();
    for (criterion, finds) in [
        (Criterion::account(" C-00000001 "), true),
        (Criterion::account("C-0000000"), false),
        (Criterion::card("gold-77"), true),
        (Criterion::card("gold-7"), false),
    ] {
        let criterion = criterion.unwrap();
        assert_eq!(found(&store, &criterion).await.contains(&id(1)), finds, "{criterion:?}");
    }
}
