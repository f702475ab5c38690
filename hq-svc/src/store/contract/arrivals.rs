//! Uploads and their order (rules X3, X4, X5).

use tillsync_proto::{Change, Micros, Reason};

use super::{TestStore, address, arrival, arrive, id, on_both, person, real};
use crate::store::{Arrival, ArrivalCounts, Fate, Payload, Plan, Store, StoredPayload, Verdict, Write};

on_both!(
    x4_an_operation_arrives_once,
    x4_a_log_with_gaps_arrives_once_too,
    x4_operations_of_a_page_arrive_in_the_order_of_the_log,
    m6_an_upload_is_told_the_number_that_is_already_there,
    z1_what_cannot_be_used_is_kept_as_it_came,
    x5_only_the_same_customer_waits_for_what_was_set_aside,
    x5_a_processed_arrival_is_judged_once,
    x8_a_channel_has_a_turn_only_while_one_of_its_arrivals_has,
    the_list_of_what_was_set_aside_has_pages,
);

fn create(n: u64) -> Change {
    Change::Create(person("Ann", &format!("Upload{n}")))
}

async fn x4_an_operation_arrives_once(store: impl TestStore) {
    let page = || vec![arrival(1, id(1), create(1)), arrival(2, id(2), create(2))];
    let known = |answers: Vec<super::Arrived>| answers.iter().map(|a| a.known).collect::<Vec<_>>();
    assert_eq!(known(arrive(&store, "s1", page()).await), [false, false]);
    assert_eq!(known(arrive(&store, "s1", page()).await), [true, true]);
    assert_eq!(known(arrive(&store, "s2", page()).await), [false, false], "another channel's log");
    let twice = vec![arrival(3, id(3), create(3)), arrival(3, id(4), create(4))];
    let answers = arrive(&store, "s1", twice).await;
    assert_eq!((answers[0].known, answers[1].known), (false, true));
    assert_eq!(answers[1].customer, Some(id(3)), "the first one counts");
    assert_eq!(store.arrival_counts().await.unwrap(), ArrivalCounts { waiting: 5, set_aside: 0 });
}

async fn x4_a_log_with_gaps_arrives_once_too(store: impl TestStore) {
    let page = |counters: Vec<u64>| counters.into_iter().map(|n| arrival(n, id(n), create(n))).collect();
    // More than a list of a statement holds.
    let even: Vec<u64> = (1..=300).map(|n| 2 * n).collect();
    let answers = arrive(&store, "s1", page(even)).await;
    assert!(answers.iter().all(|answer| !answer.known));
    let answers = arrive(&store, "s1", page((1..=600).collect())).await;
    let known: Vec<bool> = answers.iter().map(|answer| answer.known).collect();
    assert_eq!(known, (1..=600).map(|n| n % 2 == 0).collect::<Vec<_>>());
    let due = store.due(None, 0, Micros(0), 1_000, usize::MAX).await.unwrap();
    // Every third is judged, and then those between: lists and runs.
    let (third, rest): (Vec<_>, Vec<_>) = due.iter().map(|due| due.seq).partition(|seq| seq % 3 == 0);
    for part in [third, rest] {
        let verdict = |seq| Verdict { seq, fate: completed() };
        let verdicts = part.into_iter().map(verdict).collect();
        store.settle(&[Plan { verdicts, ..Plan::of(Write::Nothing) }]).await.unwrap();
    }
    assert_eq!(store.arrival_counts().await.unwrap(), ArrivalCounts { waiting: 0, set_aside: 0 });
    assert_eq!(store.head().await.unwrap().arrivals_completed, 600);
}

async fn x4_operations_of_a_page_arrive_in_the_order_of_the_log(store: impl TestStore) {
    let page = [3, 1, 2].map(|n| arrival(n, id(n), create(n)));
    let answers = arrive(&store, "s1", page.to_vec()).await;
    let asked: Vec<_> = answers.iter().map(|answer| answer.customer).collect();
    assert_eq!(asked, [3, 1, 2].map(|n| Some(id(n))), "answers are in the order of the request");
    let due = store.due(None, 0, Micros(0), 10, usize::MAX).await.unwrap();
    assert_eq!(due.iter().map(|due| due.customer).collect::<Vec<_>>(), [id(1), id(2), id(3)]);
    assert_eq!(store.due(None, 0, Micros(0), 10, 0).await.unwrap().len(), 1, "and the bytes are bounded");
    assert_eq!(store.due(None, due[0].seq, Micros(0), 1, usize::MAX).await.unwrap()[0].customer, id(2));
}

async fn m6_an_upload_is_told_the_number_that_is_already_there(store: impl TestStore) {
    real(&store, id(1), person("Ann", "Upload1")).await;
    let page = vec![arrival(1, id(1), create(1)), arrival(2, id(2), create(2))];
    let answers = arrive(&store, "s1", page).await;
    assert_eq!(answers[0].account_number.as_deref(), Some("C-00000001"));
    assert_eq!(answers[1].account_number, None);
}

fn bad(counter: i64, customer: Option<u64>) -> Arrival {
    let payload = Payload::Bad { raw: vec![0, 1, 255], message: "change is missing".to_owned() };
    Arrival { counter, customer: customer.map(id), logged_at: Micros(0), payload }
}

async fn z1_what_cannot_be_used_is_kept_as_it_came(store: impl TestStore) {
    let page = vec![bad(1, None), arrival(2, id(2), create(2)), bad(3, Some(3))];
    let answers = arrive(&store, "s1", page).await;
    let reasons: Vec<_> = answers.iter().map(|answer| answer.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("INVALID_FIELD"), None, Some("INVALID_FIELD")]);
    let (list, more) = store.set_aside(None, 10, usize::MAX).await.unwrap();
    assert!(!more);
    assert_eq!(list.len(), 2);
    assert!(matches!(&list[0].payload, StoredPayload::Bad(raw) if *raw == [0, 1, 255]));
    assert_eq!((list[0].counter, list[0].message.as_str()), (1, "change is missing"));
    assert_eq!(store.due(None, 0, Micros(i64::MAX), 10, usize::MAX).await.unwrap().len(), 1);
}

async fn judge(store: &impl Store, seq: i64, fate: Fate) {
    let plan = Plan { verdicts: vec![Verdict { seq, fate }], ..Plan::of(Write::Nothing) };
    store.settle(&[plan]).await.unwrap();
}

fn completed() -> Fate {
    Fate::Completed { overwritten: Vec::new() }
}

fn aside(next_attempt_at: Option<i64>) -> Fate {
    Fate::SetAside { reason: Reason::NotFound, message: "not here".to_owned(), next_attempt_at }
}

async fn x5_only_the_same_customer_waits_for_what_was_set_aside(store: impl TestStore) {
    let save = |n| Change::SaveAddress(address(n, "Oslo"));
    let page = vec![arrival(1, id(1), create(1)), arrival(2, id(1), save(1)), arrival(3, id(2), create(2))];
    arrive(&store, "s1", page).await;
    let customers = async |now| {
        let due = store.due(None, 0, Micros(now), 10, usize::MAX).await.unwrap();
        due.iter().map(|due| due.customer).collect::<Vec<_>>()
    };
    assert_eq!(customers(0).await, [id(1), id(1), id(2)]);
    let first = store.due(None, 0, Micros(0), 1, usize::MAX).await.unwrap()[0].seq;
    judge(&store, first, aside(Some(500))).await;
    assert_eq!(customers(499).await, [id(2)]);
    assert_eq!(customers(500).await, [id(1), id(1), id(2)], "its time has come");
    assert_eq!(store.due(None, 0, Micros(500), 1, usize::MAX).await.unwrap()[0].attempts, 1);
    judge(&store, first, aside(None)).await;
    assert_eq!(customers(i64::MAX).await, [id(2)], "not by itself");
    arrive(&store, "s2", vec![arrival(1, id(1), save(2))]).await;
    assert_eq!(customers(i64::MAX).await, [id(2)], "whichever channel it comes from");
    judge(&store, first, completed()).await;
    assert_eq!(customers(0).await, [id(1), id(2), id(1)]);
}

async fn x8_a_channel_has_a_turn_only_while_one_of_its_arrivals_has(store: impl TestStore) {
    let turns = async |now, limit| store.due_channels(Micros(now), limit).await.unwrap();
    arrive(&store, "s1", vec![arrival(1, id(1), create(1)), arrival(2, id(1), create(1))]).await;
    arrive(&store, "s2", vec![bad(1, None)]).await;
    arrive(&store, "s3", vec![arrival(1, id(3), create(3))]).await;
    assert_eq!(turns(0, 10).await, ["s1", "s3"], "what can never be used is nobody's turn");
    let due = store.due(None, 0, Micros(0), 10, usize::MAX).await.unwrap();
    // The second of s1 waits for the first.
    judge(&store, due[0].seq, aside(Some(500))).await;
    assert_eq!(turns(499, 10).await, ["s3"]);
    assert_eq!(turns(499, 1).await, ["s3"], "who has no turn takes nobody's place");
    assert_eq!(turns(500, 10).await, ["s1", "s3"], "its time has come");
    judge(&store, due[0].seq, aside(None)).await;
    assert_eq!(turns(i64::MAX, 10).await, ["s3"]);
    arrive(&store, "s1", vec![arrival(3, id(4), create(4))]).await;
    assert_eq!(turns(0, 10).await, ["s1", "s3"], "another customer's");
    for due in store.due(None, 0, Micros(0), 10, usize::MAX).await.unwrap() {
        judge(&store, due.seq, completed()).await;
    }
    assert!(turns(i64::MAX, 10).await.is_empty());
}

async fn x5_a_processed_arrival_is_judged_once(store: impl TestStore) {
    arrive(&store, "s1", vec![arrival(1, id(1), create(1))]).await;
    let seq = store.due(None, 0, Micros(0), 1, usize::MAX).await.unwrap()[0].seq;
    for fate in [completed(), completed(), aside(None)] {
        judge(&store, seq, fate).await;
    }
    assert_eq!(store.arrival_counts().await.unwrap(), ArrivalCounts::default());
    assert_eq!(store.head().await.unwrap().arrivals_completed, 1);
}

async fn the_list_of_what_was_set_aside_has_pages(store: impl TestStore) {
    arrive(&store, "s2", vec![bad(7, None), bad(2, None)]).await;
    arrive(&store, "s1", vec![bad(5, None), arrival(6, id(1), create(1))]).await;
    let mut seen = Vec::new();
    let mut after = None;
    // By number, and by bytes.
    for (limit, max_bytes, expected) in [(1, usize::MAX, true), (10, 3, true), (10, 3, false)] {
        let (page, more) = store.set_aside(after, limit, max_bytes).await.unwrap();
        assert_eq!((page.len(), more), (1, expected));
        seen.push((page[0].channel.clone(), page[0].counter));
        after = Some(page[0].seq);
    }
    assert_eq!(seen, [("s1", 5), ("s2", 2), ("s2", 7)].map(|(name, n)| (name.to_owned(), n)));
}
