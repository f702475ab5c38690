//! The jobs: what they bring, when they run, and what they do when headquarters is another one.

use std::collections::BTreeSet;

use tillsync_proto::pb::{
    channel::ListOperationsRequest,
    common::{Job, OperationTable, SyncState},
};
use tonic::Status;

use super::{
    headquarters::{FakeHq, everybody, profile},
    shop::{Place, Shop, fields, guid, person, reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn x4_uploads_are_paged_and_clear_only_what_was_answered() {
    for place in Place::both("x4").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        let mut creates = tokio::task::JoinSet::new();
        for n in 0..1_200 {
            let mut tills = shop.tills.clone();
            let customer = Some(person(&format!("n{n}")));
            let request =
                tillsync_proto::pb::channel::CreateCustomerRequest { customer, ..Default::default() };
            creates.spawn(async move { tills.create_customer(request).await.unwrap() });
        }
        creates.join_all().await;
        shop.indexed().await;
        // Headquarters answers only some of each page: those are cleared, the rest comes again.
        hq.state().answers = 700;
        assert_eq!(hq.run(Job::Upload).await.rows, 1_200);
        assert_eq!(hq.state().largest_page, 1_000);
        assert_eq!(hq.state().uploads, (1..=1_200).collect::<Vec<_>>());
        assert_eq!(shop.status().await.uploaded_counter, 1_200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_an_upload_that_fails_or_is_not_answered_keeps_everything() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::in_async_mode(&place, &hq).await;
    shop.create("", person("ann")).await.unwrap();
    shop.indexed().await;
    hq.state().answers = 0;
    let run = hq.run(Job::Upload).await;
    assert_eq!((run.rows, run.error.as_str()), (0, "headquarters answered none of the operations"));
    assert_eq!(shop.status().await.uploaded_counter, 0);
    hq.state().answers = 1;
    assert_eq!(hq.run(Job::Upload).await.rows, 1);
    let runs = shop.status().await.job_runs;
    let upload = runs.iter().find(|run| run.job() == Job::Upload).unwrap();
    assert_eq!((upload.rows, upload.run_request), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn x7_another_headquarters_database_gets_everything_again() {
    for place in Place::both("x7").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        let mut ids = BTreeSet::new();
        for n in 0..5 {
            let created = shop.create("", person(&format!("n{n}"))).await.unwrap();
            ids.insert(created.customer.unwrap().customer_id);
        }
        shop.indexed().await;
        hq.chain().await;
        let before = shop.list().await;
        hq.restore("epoch-2");
        // 1010 notices by itself, and the P-job sends again what the channel holds.
        hq.chain().await;
        hq.chain().await;
        assert_eq!(everybody(&hq), ids);
        let after = shop.list().await;
        assert_eq!(after.len(), 5);
        assert!(after.iter().zip(&before).all(|(a, b)| a.account_number != b.account_number));
        let cursor = shop.status().await.feed_cursor.unwrap();
        assert_eq!((cursor.epoch.as_str(), cursor.version), ("epoch-2", 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x7_an_upload_answered_by_another_database_starts_again() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::in_async_mode(&place, &hq).await;
    shop.create("", person("ann")).await.unwrap();
    shop.indexed().await;
    hq.run(Job::Upload).await;
    hq.restore("epoch-2");
    shop.create("", person("bob")).await.unwrap();
    shop.indexed().await;
    hq.run(Job::Upload).await;
    assert_eq!(hq.state().arrivals.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(shop.status().await.uploaded_counter, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn x7_what_a_lost_database_answers_late_clears_nothing() {
    for place in Place::both("x7").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        shop.create("", person("ann")).await.unwrap();
        shop.indexed().await;
        hq.chain().await;
        shop.create("", person("bob")).await.unwrap();
        shop.indexed().await;
        hq.state().hang = true;
        let request = hq.order_run(Job::Upload);
        hq.hanging().await;
        // 1010 finds another database while the answer of the one before is on its way.
        hq.restore("epoch-2");
        hq.run(Job::Customers1010).await;
        hq.state().hang = false;
        hq.answer();
        hq.report(|status| {
            status.job_runs.iter().any(|run| run.job() == Job::Upload && run.run_request == request)
        })
        .await;
        assert_eq!(shop.status().await.uploaded_counter, 0);
        hq.run(Job::Upload).await;
        assert_eq!(hq.state().arrivals.keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(shop.status().await.uploaded_counter, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x7_only_newer_rows_apply() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    let created = shop.create("", person("ann")).await.unwrap().customer.unwrap();
    let mut edited = created.clone();
    edited.tax_id = "DE1".to_owned();
    hq.state().save(edited);
    hq.run(Job::Customers1010).await;
    assert_eq!(shop.get(&created.customer_id).await.unwrap().tax_id, "DE1");
    // An older version comes late: it changes nothing.
    let late = hq.state().customers[&created.customer_id].clone();
    hq.state().customers.insert(created.customer_id.clone(), (created.clone(), late.1));
    hq.run(Job::Customers1010).await;
    assert_eq!(shop.get(&created.customer_id).await.unwrap().tax_id, "DE1");
}

#[tokio::test(flavor = "multi_thread")]
async fn x5_a_record_that_cannot_be_read_stops_nobody_else() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    {
        let mut state = hq.state();
        state.insert(&guid(), Default::default());
        state.insert(&guid(), person("ann"));
    }
    let run = hq.run(Job::Customers1010).await;
    assert_eq!(run.error, "1 records of headquarters could not be read");
    assert_eq!(shop.list().await.len(), 1);
    assert_eq!(shop.status().await.feed_cursor.unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn x8_schedules_run_and_hold_and_survive_a_restart() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::in_async_mode(&place, &hq).await;
    let id = guid();
    shop.create(&id, person("ann")).await.unwrap();
    hq.hold(Job::Upload, false);
    hq.hold(Job::Customers1010, false);
    hq.report(|status| status.uploaded_counter == 1).await;
    hq.convert();
    hq.report(|status| status.pending_customers == 0).await;
    assert_eq!(shop.get(&id).await.unwrap().sync_state(), SyncState::Synced);
    hq.hold(Job::Upload, true);
    // A run that was asked for before shows that the order has come.
    hq.run(Job::Upload).await;
    shop.crash().await;

    // Headquarters is gone now: what it last told still holds.
    let nobody = "http://127.0.0.1:9";
    let shop = Shop::open(&place, nobody, nobody).await;
    let created = shop.create("", person("bob")).await.unwrap();
    assert!(created.customer.is_some());
    shop.indexed().await;
    let started = |status: &tillsync_proto::pb::common::ChannelStatus, job| {
        let run = status.job_runs.iter().find(|run| run.job() == job);
        run.map(|run| run.start_time)
    };
    let (upload, before) = {
        let status = shop.status().await;
        (started(&status, Job::Upload), started(&status, Job::Customers1010))
    };
    // 1010 runs by its schedule, again and again; the P-job does not.
    while started(&shop.status().await, Job::Customers1010) == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(started(&shop.status().await, Job::Upload), upload);
    assert_eq!(shop.status().await.profile_version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn x10_a_job_that_fails_says_why_and_works_again() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    hq.run(Job::Customers1010).await;
    hq.state().exchange_fault = Some(Status::unavailable("secret@example.com"));
    hq.hold(Job::Customers1010, false);
    loop {
        let status = shop.status().await;
        let failed =
            status.job_runs.iter().find(|run| run.job() == Job::Customers1010 && !run.error.is_empty());
        if let Some(run) = failed {
            assert_eq!(run.error, "headquarters: UNAVAILABLE");
            break;
        }
        tokio::task::yield_now().await;
    }
    hq.state().exchange_fault = None;
    hq.report(|status| status.job_runs.iter().all(|run| run.error.is_empty())).await;
    // The failed run is reported once headquarters answers again.
    while !hq.state().runs.iter().any(|run| run.error == "headquarters: UNAVAILABLE") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f2_a_profile_has_effect_when_1070_has_brought_it() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    hq.state().profile = profile(true, false);
    hq.state().profile_version = 7;
    assert!(!shop.status().await.profile.unwrap().create_customer_async);
    assert_eq!(hq.run(Job::ChannelConfiguration1070).await.rows, 1);
    assert_eq!(hq.run(Job::ChannelConfiguration1070).await.rows, 0);
    let status = shop.status().await;
    assert_eq!((status.profile, status.profile_version), (Some(profile(true, false)), 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn x2_x3_the_log_is_shown_under_the_five_names() {
    for place in Place::both("x2").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        for n in 0..7 {
            let mut customer = person(&format!("n{n}"));
            if n % 2 == 0 {
                customer.addresses.clear();
            }
            shop.create("", customer).await.unwrap();
        }
        let mut status = shop.status.clone();
        for (table, expected) in [
            (OperationTable::Unspecified, vec![1, 2, 3, 4, 5, 6, 7]),
            (OperationTable::Customer, vec![1, 2, 3, 4, 5, 6, 7]),
            (OperationTable::Contact, vec![1, 2, 3, 4, 5, 6, 7]),
            (OperationTable::Address, vec![2, 4, 6]),
            (OperationTable::Affiliation, vec![]),
        ] {
            let (mut counters, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = ListOperationsRequest { table: table.into(), page_size: 2, page_token };
                let page = status.list_operations(request).await.unwrap().into_inner();
                counters.extend(page.operations.iter().map(|operation| operation.counter));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(counters, expected, "{table:?}");
        }
        let request = ListOperationsRequest { table: 99, ..Default::default() };
        let refused = status.list_operations(request).await.unwrap_err();
        assert_eq!(
            (reason(&refused).as_str(), fields(&refused)),
            ("INVALID_FIELD", vec!["table".to_owned()])
        );
    }
}
