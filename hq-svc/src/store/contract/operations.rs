//! Operations with what became of them (rule S1).

use tillsync_proto::{Change, Micros};

use super::{TestStore, address, arrival, arrive, channel, id, on_both, operation, person};
use crate::store::{
    Arrival, Fate, OperationRow, Payload, Plan, StatusFilter, StoredPayload, SyncStatus, Verdict, Write,
};

on_both!(
    s1_operations_are_listed_newest_first_and_by_each_filter,
    s1_a_failed_operation_is_corrected_and_stays_as_it_came,
);

async fn aside(store: &impl TestStore, seq: i64) {
    let fate = Fate::SetAside {
        reason: tillsync_proto::Reason::InvalidField,
        message: "too long".to_owned(),
        next_attempt_at: None,
    };
    store
        .settle(&[Plan { verdicts: vec![Verdict { seq, fate }], ..Plan::of(Write::Nothing) }])
        .await
        .unwrap();
}

async fn done(store: &impl TestStore, seq: i64) {
    let fate = Fate::Completed { overwritten: Vec::new() };
    store
        .settle(&[Plan { verdicts: vec![Verdict { seq, fate }], ..Plan::of(Write::Nothing) }])
        .await
        .unwrap();
}

async fn all(store: &impl TestStore) -> Vec<OperationRow> {
    store.operations(&StatusFilter::default(), None, 100, usize::MAX).await.unwrap().0
}

async fn s1_operations_are_listed_newest_first_and_by_each_filter(store: impl TestStore) {
    let logged = |counter, customer, at| {
        let change = Change::Create(person("Ann", "Listed"));
        Arrival { logged_at: Micros(at), ..arrival(counter, id(customer), change) }
    };
    arrive(&store, "s1", vec![logged(1, 1, 100), logged(2, 2, 200), logged(3, 3, 300)]).await;
    arrive(&store, "s2", vec![logged(1, 1, 400)]).await;
    let rows = all(&store).await;
    let names = |rows: &[OperationRow]| -> Vec<(String, u64)> {
        rows.iter().map(|row| (row.channel.clone(), row.counter)).collect()
    };
    let expect = |rows: &[(&str, u64)]| -> Vec<(String, u64)> {
        rows.iter().map(|(name, counter)| ((*name).to_owned(), *counter)).collect()
    };
    assert_eq!(names(&rows), expect(&[("s2", 1), ("s1", 3), ("s1", 2), ("s1", 1)]));
    aside(&store, rows[2].seq).await;
    done(&store, rows[3].seq).await;
    let none = StatusFilter::default;
    for (filter, found) in [
        (StatusFilter { channel: Some(channel("s2")), ..none() }, &[("s2", 1)][..]),
        (StatusFilter { customer: Some(id(1)), ..none() }, &[("s2", 1), ("s1", 1)]),
        (StatusFilter { status: Some(SyncStatus::Pending), ..none() }, &[("s2", 1), ("s1", 3)]),
        (StatusFilter { status: Some(SyncStatus::Failed), ..none() }, &[("s1", 2)]),
        (StatusFilter { status: Some(SyncStatus::Succeeded), ..none() }, &[("s1", 1)]),
        (StatusFilter { reason: Some("INVALID_FIELD".to_owned()), ..none() }, &[("s1", 2)]),
        (StatusFilter { reason: Some("NOT_FOUND".to_owned()), ..none() }, &[]),
        (
            StatusFilter { logged_after: Some(Micros(200)), logged_before: Some(Micros(400)), ..none() },
            &[("s1", 3), ("s1", 2)],
        ),
    ] {
        let (rows, next) = store.operations(&filter, None, 10, usize::MAX).await.unwrap();
        assert_eq!(names(&rows), expect(found), "{filter:?}");
        assert_eq!(next, None);
    }
    // Pages, by number and by bytes.
    let (first, next) = store.operations(&none(), None, 3, usize::MAX).await.unwrap();
    assert_eq!((first.len(), next), (3, Some(first[2].seq)));
    let (second, next) = store.operations(&none(), next, 3, usize::MAX).await.unwrap();
    assert_eq!((names(&second), next), (expect(&[("s1", 1)]), None));
    assert_eq!(store.operations(&none(), None, 10, 1).await.unwrap().0.len(), 1);
}

async fn s1_a_failed_operation_is_corrected_and_stays_as_it_came(store: impl TestStore) {
    let payload = Payload::Bad { raw: vec![0, 1, 255], message: "cannot be read".to_owned() };
    let unreadable = Arrival { counter: 2, customer: None, logged_at: Micros(7), payload };
    let save = Change::SaveAddress(address(1, "Oslo"));
    arrive(&store, "s1", vec![arrival(1, id(1), save.clone()), unreadable]).await;
    let s1 = channel("s1");
    let corrected = operation(2, id(1), Change::Create(person("Ann", "Corrected")));
    assert!(!store.correct(&s1, 1, &corrected).await.unwrap(), "it has not failed");
    assert!(!store.correct(&s1, 3, &corrected).await.unwrap(), "there is none");
    assert!(store.correct(&s1, 2, &corrected).await.unwrap());
    let row = store.operation(&s1, 2).await.unwrap().unwrap();
    assert_eq!((row.corrected.as_ref(), row.customer), (Some(&corrected), Some(id(1))));
    assert!(matches!(&row.payload, StoredPayload::Bad(raw) if *raw == [0, 1, 255]), "as it came");
    assert_eq!((row.status, row.reason.as_str()), (SyncStatus::Failed, "INVALID_FIELD"));
    // The first of the customer's is not failed; behind it there is a failure.
    assert!(!store.has_earlier_failure(id(1), row.seq).await.unwrap());
    arrive(&store, "s1", vec![arrival(3, id(1), save)]).await;
    let last = all(&store).await.remove(0);
    assert!(store.has_earlier_failure(id(1), last.seq).await.unwrap());
    let due = store.due(None, 0, Micros(0), 10, usize::MAX).await.unwrap();
    assert_eq!(due.len(), 1, "a correction alone runs nothing, and what comes later waits");
    assert_eq!((due[0].channel.as_str(), due[0].counter), ("s1", 1));
    done(&store, row.seq).await;
    assert!(!store.correct(&s1, 2, &corrected).await.unwrap(), "it has succeeded");
}
