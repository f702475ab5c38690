//! The customer sync job on a store (rules M6, X1, X5, X6).

use std::{
    future::Future as _,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use service_kit::{clock::Clock as _, deadline::Deadline};
use tillsync_proto::{Change, Content, Customer, CustomerId, Field, Job, Micros, Party, Update};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    TestClock, TestStore, address, arrival, arrive, get, id, ids, insert, new, on_both, person, real,
};
use crate::{
    creates::{Creates, MAX_WAITING, creates},
    error::{Error, Result},
    hq::Headquarters,
    store::{ArrivalCounts, Plan, Record, Store, Write},
    sync_job::{Outcome, SyncJob},
};

on_both!(
    x1_arrivals_become_customers_once,
    x5_each_customers_operations_keep_their_order,
    m6_a_create_that_hq_committed_before_gets_no_second_number,
    x5_a_taken_guid_is_set_aside_and_stops_nobody_else,
    x5_an_update_of_nobody_is_tried_again,
    x5_an_update_that_came_before_its_customer_is_made_after_it,
    x5_an_invalid_update_is_set_aside_for_good,
    x5_a_row_that_cannot_be_read_stops_nobody_else,
    x5_an_operation_on_which_the_database_fails_stops_nobody_else,
    m8_a_create_on_which_the_database_fails_fails_alone,
    z3_a_create_too_many_is_refused,
    z2_a_run_that_does_not_end_in_time_is_told_so,
    x6_an_exhausted_sequence_loses_nothing_and_stops_nobody_else,
    x5_two_runs_at_once_do_no_harm,
    x8_a_channel_with_much_to_bring_does_not_keep_the_others_waiting,
    x11_an_edit_at_hq_and_one_from_a_channel_are_both_kept,
);

pub(super) async fn job<S: Store>(store: &S, clock: &Arc<TestClock>, batch: usize) -> SyncJob<S> {
    let clock: Arc<TestClock> = Arc::clone(clock);
    let (hq, _waited) =
        Headquarters::open(store.clone(), clock, ids(), CancellationToken::new()).await.unwrap();
    SyncJob::new(&hq).with_batch(batch)
}

fn create(first: &str, last: &str) -> Change {
    Change::Create(person(first, last))
}

fn rename(first: &str, last: &str) -> Change {
    Change::Update(Update { values: person(first, last), fields: vec![Field::Party] })
}

fn done(completed: u64) -> Outcome {
    Outcome { completed, ..Outcome::default() }
}

fn name(content: &Content) -> String {
    content.full_name()
}

async fn x1_arrivals_become_customers_once(store: impl TestStore) {
    let job = job(&store, &Arc::default(), 100).await;
    let page: Vec<_> = (1..=250).map(|n| arrival(n, id(n), create("Ann", "Async"))).collect();
    arrive(&store, "s1", page.clone()).await;
    assert_eq!(job.try_once().await.unwrap(), done(250), "in three batches");
    arrive(&store, "s1", page).await;
    assert_eq!(job.try_once().await.unwrap(), Outcome::default());
    let head = store.head().await.unwrap();
    assert_eq!((head.customers, head.version, head.arrivals_completed), (250, 250, 250));
    let first = get(&store, id(1)).await.unwrap();
    assert_eq!(first.customer.account_number.as_deref(), Some("C-00000001"), "in the order of arrival");
    assert_eq!(first.customer.created_at, Micros(5_000_000), "by the channel's clock");
    let sql = "select 'done' from retail_async_customer_v2 where online_operation_completed = 1";
    assert_eq!(store.look(sql).await.len(), 250);
}

async fn x5_each_customers_operations_keep_their_order(store: impl TestStore) {
    // With every size of batch the operations of a customer are cut at another place.
    for (n, batch) in (1..=5).enumerate() {
        let first = n as u64 * 10;
        let customer = id(first + 1);
        let other = id(first + 2);
        let page = vec![
            arrival(first + 1, customer, create("Ann", "One")),
            arrival(first + 2, other, create("Bob", "Between")),
            arrival(first + 3, customer, rename("Ann", "Two")),
            arrival(first + 4, customer, Change::SaveAddress(address(1, "Oslo"))),
            arrival(first + 5, customer, rename("Ann", "Three")),
            arrival(first + 6, customer, Change::SaveAddress(address(1, "Bergen"))),
        ];
        arrive(&store, "s1", page).await;
        assert_eq!(job(&store, &Arc::default(), batch).await.try_once().await.unwrap(), done(6));
        let record = get(&store, customer).await.unwrap();
        assert_eq!(name(&record.customer.content), "Ann Three");
        assert_eq!(record.customer.content.addresses, [address(1, "Bergen")]);
        let stored = store.customers(&[customer]).await.unwrap();
        assert_eq!(stored[0].fingerprint, person("Ann", "One").fingerprint(), "of the create alone");
    }
    assert_eq!(store.head().await.unwrap().customers, 10);
}

async fn m6_a_create_that_hq_committed_before_gets_no_second_number(store: impl TestStore) {
    // A sync create whose answer was lost, then edited here, then uploaded by the channel's fallback.
    let record = real(&store, id(1), person("Ann", "Lost")).await;
    let after = Customer { content: person("Ann", "Edited"), ..record.customer.clone() };
    let edit = Plan::of(Write::Replace { before: record, after });
    store.settle(&[edit]).await.unwrap();
    arrive(&store, "s1", vec![arrival(1, id(1), create("Ann", "Lost"))]).await;
    assert_eq!(job(&store, &Arc::default(), 10).await.try_once().await.unwrap(), done(1));
    let head = store.head().await.unwrap();
    assert_eq!((head.customers, head.version), (1, 2), "no number, no version");
    assert_eq!(name(&get(&store, id(1)).await.unwrap().customer.content), "Ann Edited");
}

async fn x5_a_taken_guid_is_set_aside_and_stops_nobody_else(store: impl TestStore) {
    real(&store, id(1), person("Ann", "Taken")).await;
    let page = vec![
        arrival(1, id(1), create("Eve", "Other")),
        arrival(2, id(1), rename("Eve", "Waits")),
        arrival(3, id(2), create("Bob", "Fine")),
    ];
    arrive(&store, "s1", page).await;
    let job = job(&store, &Arc::default(), 2).await;
    assert_eq!(job.try_once().await.unwrap(), Outcome { completed: 1, set_aside: 1, ..Outcome::default() });
    assert_eq!(name(&get(&store, id(1)).await.unwrap().customer.content), "Ann Taken");
    assert!(get(&store, id(2)).await.is_some());
    let (list, _) = store.set_aside(None, 10, usize::MAX).await.unwrap();
    assert_eq!((list.len(), list[0].reason.as_str(), list[0].next_attempt_at), (1, "GUID_TAKEN", None));
    assert_eq!(job.try_once().await.unwrap(), Outcome::default(), "it is not tried again");
    assert_eq!(store.arrival_counts().await.unwrap(), ArrivalCounts { waiting: 1, set_aside: 1 });
}

async fn x5_an_update_of_nobody_is_tried_again(store: impl TestStore) {
    let clock = Arc::new(TestClock::default());
    let job = job(&store, &clock, 10).await;
    arrive(&store, "s1", vec![arrival(1, id(1), rename("Ann", "Late"))]).await;
    let aside = Outcome { set_aside: 1, ..Outcome::default() };
    assert_eq!(job.try_once().await.unwrap(), aside);
    let first = store.set_aside(None, 10, usize::MAX).await.unwrap().0.pop().unwrap();
    assert_eq!((first.reason.as_str(), first.attempts), ("NOT_FOUND", 1));
    assert!((500_000..=1_000_000).contains(&first.next_attempt_at.unwrap()));
    assert_eq!(job.try_once().await.unwrap(), Outcome::default(), "not yet");
    clock.forward(1);
    assert_eq!(job.try_once().await.unwrap(), aside, "still nobody");
    let second = store.set_aside(None, 10, usize::MAX).await.unwrap().0.pop().unwrap();
    assert_eq!(second.attempts, 2);
    assert!(second.next_attempt_at.unwrap() >= 2_000_000, "the pause grows");
    real(&store, id(1), person("Ann", "Early")).await;
    clock.forward(2);
    assert_eq!(job.try_once().await.unwrap(), done(1));
    assert_eq!(name(&get(&store, id(1)).await.unwrap().customer.content), "Ann Late");
    assert_eq!(store.arrival_counts().await.unwrap(), ArrivalCounts::default());
}

async fn x5_an_update_that_came_before_its_customer_is_made_after_it(store: impl TestStore) {
    let clock = Arc::new(TestClock::default());
    let job = job(&store, &clock, 10).await;
    arrive(&store, "s1", vec![arrival(2, id(1), rename("Ann", "Second"))]).await;
    assert_eq!(job.try_once().await.unwrap(), Outcome { set_aside: 1, ..Outcome::default() });
    let page = vec![arrival(1, id(1), create("Ann", "First")), arrival(3, id(1), rename("Ann", "Third"))];
    arrive(&store, "s1", page).await;
    assert_eq!(job.try_once().await.unwrap(), Outcome::default(), "nobody overtakes it");
    clock.forward(1);
    assert_eq!(job.try_once().await.unwrap(), done(3));
    assert_eq!(name(&get(&store, id(1)).await.unwrap().customer.content), "Ann Third");
}

async fn x5_an_invalid_update_is_set_aside_for_good(store: impl TestStore) {
    let nameless = Update {
        values: Content { party: Party::Organization { name: " ".to_owned() }, ..person("", "") },
        fields: vec![Field::Party],
    };
    let page = vec![
        arrival(1, id(1), create("Ann", "Valid")),
        arrival(2, id(1), Change::Update(nameless)),
        arrival(3, id(1), rename("Ann", "Waits")),
    ];
    arrive(&store, "s1", page).await;
    let outcome = job(&store, &Arc::default(), 10).await.try_once().await.unwrap();
    assert_eq!(outcome, Outcome { completed: 1, set_aside: 1, ..Outcome::default() });
    assert_eq!(name(&get(&store, id(1)).await.unwrap().customer.content), "Ann Valid");
    let aside = store.set_aside(None, 10, usize::MAX).await.unwrap().0.pop().unwrap();
    assert_eq!((aside.counter, aside.reason.as_str()), (2, "INVALID_FIELD"));
    assert!(aside.message.contains("organization.name"), "{}", aside.message);
}

async fn x5_a_row_that_cannot_be_read_stops_nobody_else(store: impl TestStore) {
    let page = vec![arrival(1, id(1), create("Ann", "Lost")), arrival(2, id(2), create("Bob", "Fine"))];
    arrive(&store, "s1", page).await;
    store.meddle("update arrivals set operation = '{}' where counter = 1").await;
    let outcome = job(&store, &Arc::default(), 10).await.try_once().await.unwrap();
    assert_eq!(outcome, Outcome { completed: 1, set_aside: 1, ..Outcome::default() });
    assert!(get(&store, id(2)).await.is_some());
}

/// From now on the database refuses every further customer of that name.
async fn poison(store: &impl TestStore) {
    let index = "create unique index poison on customers (fingerprint) \
        where replace(body, 'Poison', '') <> body";
    store.meddle(index).await;
    real(store, id(1_000), person("Eve", "Poison")).await;
}

async fn x5_an_operation_on_which_the_database_fails_stops_nobody_else(store: impl TestStore) {
    poison(&store).await;
    let clock = Arc::new(TestClock::default());
    let job = job(&store, &clock, 10).await;
    let page = vec![
        arrival(1, id(1), create("Ann", "Fine")),
        arrival(2, id(2), create("Eve", "Poison")),
        arrival(3, id(2), rename("Poison", "Waits")),
        arrival(4, id(3), create("Bob", "Fine")),
    ];
    arrive(&store, "s1", page).await;
    let outcome = job.try_once().await.unwrap();
    assert_eq!(outcome, Outcome { completed: 2, set_aside: 1, ..Outcome::default() });
    assert!(get(&store, id(1)).await.is_some() && get(&store, id(3)).await.is_some());
    let aside = store.set_aside(None, 10, usize::MAX).await.unwrap().0.pop().unwrap();
    assert_eq!((aside.counter, aside.reason.as_str()), (2, "INTERNAL"));
    store.meddle("drop index poison").await;
    clock.forward(60);
    assert_eq!(job.try_once().await.unwrap(), done(2), "once the database is well again");
    assert_eq!(name(&get(&store, id(2)).await.unwrap().customer.content), "Poison Waits");
    // A batch that fails spends no numbers.
    assert_eq!(store.head().await.unwrap().customers, 4);
}

/// A create that stands in the queue, and goes on as a task.
fn queued(creates: &Creates, id: CustomerId, content: Content) -> JoinHandle<Result<Record>> {
    let creates = creates.clone();
    let mut call = Box::pin(async move { creates.create(new(id, content)).await });
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "nobody commits yet");
    tokio::spawn(call)
}

async fn m8_a_create_on_which_the_database_fails_fails_alone(store: impl TestStore) {
    poison(&store).await;
    let (creates, committer) = creates(store.clone(), ids());
    let names = [("Ann", "Fine"), ("Eve", "Poison"), ("Bob", "Fine")];
    let calls: Vec<_> = names
        .into_iter()
        .zip(1..)
        .map(|((first, last), n)| queued(&creates, id(n), person(first, last)))
        .collect();
    drop(creates);
    committer.run().await;
    let mut made = Vec::new();
    for call in calls {
        made.push(call.await.unwrap().is_ok());
    }
    assert_eq!(made, [true, false, true]);
    assert_eq!(store.head().await.unwrap().customers, 3);
}

async fn z3_a_create_too_many_is_refused(store: impl TestStore) {
    let (creates, committer) = creates(store.clone(), ids());
    let waiting: Vec<_> =
        (0..MAX_WAITING as u64).map(|n| queued(&creates, id(n), person("Ann", "Waits"))).collect();
    let refused = creates.create(new(id(99_999), person("Ann", "Late"))).await;
    assert!(matches!(refused, Err(Error::Overloaded)), "{refused:?}");
    drop(creates);
    committer.run().await;
    for create in waiting {
        create.await.unwrap().unwrap();
    }
    assert_eq!(store.head().await.unwrap().customers, MAX_WAITING as u64);
}

async fn z2_a_run_that_does_not_end_in_time_is_told_so(store: impl TestStore) {
    let clock = Arc::new(TestClock::default());
    let shutdown = CancellationToken::new();
    let (hq, _waited) = Headquarters::open(store.clone(), clock.clone(), ids(), shutdown).await.unwrap();
    let s1 = super::channel("s1");
    hq.contacts.called(&s1).await.unwrap();
    let deadline = Deadline(clock.now() + Duration::from_millis(20));
    let run = hq.run_job(Job::Upload, Some(s1), Some(deadline)).await;
    assert!(matches!(run, Err(Error::Deadline)), "{run:?}");
    assert_eq!(hq.board.order(Job::Upload, "s1").run.request, 1, "the channel will run it all the same");
}

async fn x6_an_exhausted_sequence_loses_nothing_and_stops_nobody_else(store: impl TestStore) {
    real(&store, id(100), person("Old", "Customer")).await;
    store.meddle("update hq_head set next_account = 99999999").await;
    let page = vec![
        arrival(1, id(1), create("Ann", "Last")),
        arrival(2, id(2), create("Bob", "Waits")),
        arrival(3, id(2), rename("Bob", "Later")),
        arrival(4, id(100), rename("Old", "Renamed")),
    ];
    arrive(&store, "s1", page).await;
    let sync = job(&store, &Arc::default(), 2).await;
    assert_eq!(
        sync.try_once().await.unwrap(),
        Outcome { completed: 2, exhausted: true, ..Outcome::default() }
    );
    assert_eq!(name(&get(&store, id(100)).await.unwrap().customer.content), "Old Renamed");
    assert_eq!(store.arrival_counts().await.unwrap(), ArrivalCounts { waiting: 2, set_aside: 0 });
    store.meddle("update hq_head set next_account = 5").await;
    assert_eq!(sync.try_once().await.unwrap(), done(2));
    assert_eq!(name(&get(&store, id(2)).await.unwrap().customer.content), "Bob Later");
}

async fn x5_two_runs_at_once_do_no_harm(store: impl TestStore) {
    let page = (1..=40).flat_map(|n| {
        let (first, customer) = (n * 10, id(n));
        [
            arrival(first, customer, create("Ann", "One")),
            arrival(first + 1, customer, rename("Ann", "Two")),
            arrival(first + 2, customer, Change::SaveAddress(address(1, "Oslo"))),
        ]
    });
    arrive(&store, "s1", page.collect()).await;
    let jobs = [job(&store, &Arc::default(), 7).await, job(&store, &Arc::default(), 11).await];
    let runs = jobs.map(|job| {
        tokio::spawn(async move {
            // What one run postpones because of the other, a later one takes.
            while job.store().arrival_counts().await.unwrap().waiting > 0 {
                job.try_once().await.unwrap();
            }
        })
    });
    for run in runs {
        run.await.unwrap();
    }
    let head = store.head().await.unwrap();
    assert_eq!((head.customers, head.arrivals_completed), (40, 120));
    for n in 1..=40 {
        let content = get(&store, id(n)).await.unwrap().customer.content;
        assert_eq!((name(&content).as_str(), content.addresses.len()), ("Ann Two", 1));
    }
}

async fn x8_a_channel_with_much_to_bring_does_not_keep_the_others_waiting(store: impl TestStore) {
    arrive(&store, "s1", (1..=50).map(|n| arrival(n, id(n), create("Ann", "Much"))).collect()).await;
    for (n, channel) in (101..).zip(["s2", "s3"]) {
        arrive(&store, channel, vec![arrival(1, id(n), create("Bob", "Little"))]).await;
    }
    let job = job(&store, &Arc::default(), 9).await;
    assert_eq!(job.try_once().await.unwrap(), done(52));
    // Account numbers are given in the order of conversion: the others come in the second batch.
    for n in [101, 102] {
        let number = get(&store, id(n)).await.unwrap().customer.account_number.unwrap();
        assert!(number.as_str() <= "C-00000014", "{number}");
    }
    let number = get(&store, id(50)).await.unwrap().customer.account_number;
    assert_eq!(number.as_deref(), Some("C-00000052"), "in its own order");
}

async fn x11_an_edit_at_hq_and_one_from_a_channel_are_both_kept(store: impl TestStore) {
    let before = real(&store, id(1), person("Ann", "Both")).await;
    arrive(&store, "s1", vec![arrival(1, id(1), Change::SaveAddress(address(1, "Oslo")))]).await;
    let blocked = Content { blocked: true, ..before.customer.content.clone() };
    let after = Customer { content: blocked, ..before.customer.clone() };
    store.settle(&[Plan::of(Write::Replace { before, after })]).await.unwrap();
    job(&store, &Arc::default(), 10).await.try_once().await.unwrap();
    let content = get(&store, id(1)).await.unwrap().customer.content;
    assert!(content.blocked && content.addresses.len() == 1);
    // A repeat of the create changes nothing of it.
    store.settle(&[insert(id(1), person("Ann", "Both"))]).await.unwrap();
    assert_eq!(get(&store, id(1)).await.unwrap().customer.content, content);
}
