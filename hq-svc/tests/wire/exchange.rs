//! `DataExchangeService`.

use prost::Message as _;
use prost_types::FieldMask;
use service_kit::problem::metadata;
use tillsync_proto::pb::{
    common::{
        ChannelStatus, Customer, CustomerUpdate, FeedCursor, Job, JobRun, Operation, operation::Change,
    },
    hq::{self, OperationResult, ResyncReason},
};
use tonic::Code;

use crate::harness::{Database, Hq, create, guid, on_both, operation, person, refused, refused_call};

on_both!(
    x4_each_operation_is_answered_on_its_own,
    m6_an_upload_finds_the_customer_that_is_real,
    z1_a_page_beyond_its_bounds_is_refused_whole,
    x4_what_is_meant_for_another_database_is_not_taken,
    z1_a_log_that_began_anew_is_refused_loudly,
    x7_the_feed_brings_each_customer_once,
    x7_a_cursor_of_another_database_or_ahead_starts_anew,
    x7_a_channel_of_an_earlier_version_goes_on_after_a_restore,
    f2_configuration_has_a_version,
    z1_a_bad_report_is_refused,
);

fn results(outcomes: &[hq::OperationOutcome]) -> Vec<OperationResult> {
    outcomes.iter().map(hq::OperationOutcome::result).collect()
}

async fn x4_each_operation_is_answered_on_its_own(database: Database) {
    let hq = Hq::start(&database).await;
    let bad_guid = Operation { counter: 3, customer_id: "x".to_owned(), ..Operation::default() };
    // An update is validated where it is applied, but a NUL would break the tables that show it.
    let nul = CustomerUpdate {
        customer: Some(Customer { tax_id: "a\0b".to_owned(), ..person("Ann", "Nul") }),
        update_mask: Some(FieldMask { paths: vec!["blocked".to_owned()] }),
    };
    let page = vec![
        create(1, guid(1), "Ann", "Good"),
        create(2, guid(2), "A\0nn", "Nul"),
        bad_guid,
        operation(4, guid(4), Change::Update(nul)),
        Operation { change: None, ..create(5, guid(5), "", "") },
        create(6, guid(6), "Bob", "Good"),
    ];
    let outcomes = hq.upload("s1", page.clone()).await.unwrap();
    let (arrived, aside) = (OperationResult::Arrived, OperationResult::SetAside);
    assert_eq!(results(&outcomes), [arrived, aside, aside, aside, aside, arrived]);
    assert_eq!(outcomes.iter().map(|o| o.counter).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(outcomes[1].reason, "INVALID_FIELD");
    let again = hq.upload("s1", page.clone()).await.unwrap();
    assert_eq!(results(&again), [OperationResult::Known; 6]);
    assert_eq!(again[1].reason, "INVALID_FIELD");
    assert_eq!(hq.convert().await, 2);

    let request = hq::ListSetAsideRequest { page_size: 3, ..Default::default() };
    let first = hq.admin.clone().list_set_aside(request).await.unwrap().into_inner();
    let request = hq::ListSetAsideRequest { page_size: 3, page_token: first.next_page_token };
    let second = hq.admin.clone().list_set_aside(request).await.unwrap().into_inner();
    assert_eq!(second.next_page_token, "");
    let list: Vec<_> = first.operations.into_iter().chain(second.operations).collect();
    let kept: Vec<Operation> = list.iter().map(|one| one.operation.clone().unwrap()).collect();
    assert_eq!(kept, page[1..5], "as they came");
    assert!(list[0].message.contains("person.first_name"), "{}", list[0].message);
    assert!(list[0].next_attempt_time.is_none() && list[0].channel_id == "s1");
    let status = hq.status().await;
    assert_eq!((status.arrivals_waiting, status.arrivals_completed, status.arrivals_set_aside), (0, 2, 4));
    hq.stop().await;
}

async fn m6_an_upload_finds_the_customer_that_is_real(database: Database) {
    let hq = Hq::start(&database).await;
    hq.create(guid(1), "Ann", "Lost").await.unwrap();
    let outcomes = hq.upload("s1", vec![create(1, guid(1), "Ann", "Lost")]).await.unwrap();
    assert_eq!(outcomes[0].account_number, "C-00000001");
    assert_eq!(hq.convert().await, 1);
    let status = hq.status().await;
    assert_eq!((status.customers, status.head_version, status.arrivals_completed), (1, 1, 1));
    hq.stop().await;
}

async fn z1_a_page_beyond_its_bounds_is_refused_whole(database: Database) {
    let hq = Hq::start(&database).await;
    let page = |count: u64| (1..=count).map(|n| create(n, guid(n.into()), "Ann", "Many")).collect::<Vec<_>>();
    let fields = refused(hq.upload("s1", page(1_001)).await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(fields, ["operations"]);
    for bad in ["", "no spaces", "nul\0", &"x".repeat(61)] {
        let fields = refused(hq.upload(bad, page(1)).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(fields, ["channel_id"]);
    }
    let mut counters = page(3);
    counters[1].counter = 0;
    counters[2].counter = u64::MAX;
    let fields = refused(hq.upload("s1", counters).await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(fields, ["operations[1].counter", "operations[2].counter"]);
    // 3.5 MiB fit into a message and not into a page.
    let large = |bytes: usize| vec![create(1, guid(1), &"x".repeat(bytes), "Large")];
    let fields = refused(hq.upload("s1", large(7 << 19)).await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(fields, ["operations"]);
    // A message of 4 MiB is read, and one of a byte more is not.
    let bytes = |operations: &[Operation]| {
        let request = hq::UploadOperationsRequest {
            channel_id: "s1".to_owned(),
            operations: operations.to_vec(),
            ..Default::default()
        };
        request.encoded_len()
    };
    let beside = bytes(&large(4 << 20)) - (4 << 20);
    let (whole, beyond) = (large((4 << 20) - beside), large((4 << 20) - beside + 1));
    assert_eq!([bytes(&whole), bytes(&beyond)], [4 << 20, (4 << 20) + 1]);
    refused(hq.upload("s1", whole).await, Code::InvalidArgument, "INVALID_FIELD");
    let status = hq.upload("s1", beyond.clone()).await.unwrap_err();
    assert_eq!(metadata(&status, "max_bytes").as_deref(), Some("4194304"));
    assert!(!status.metadata().contains_key("grpc-retry-pushback-ms"), "it would be as large");
    refused(hq.upload("s1", beyond).await, Code::OutOfRange, "MESSAGE_TOO_LARGE");
    assert_eq!(hq.status().await.arrivals_waiting, 0);
    assert_eq!(results(&hq.upload("s1", page(1_000)).await.unwrap()), [OperationResult::Arrived; 1_000]);
    hq.stop().await;
}

async fn x4_what_is_meant_for_another_database_is_not_taken(database: Database) {
    let hq = Hq::start(&database).await;
    let epoch = hq.status().await.epoch;
    for (meant, taken) in [("01a3185e-bb0c-76a4-adb6-e20a773b5ac2", 0), (&epoch, 1)] {
        let request = hq::UploadOperationsRequest {
            channel_id: "s1".to_owned(),
            operations: vec![create(1, guid(1), "Ann", "Early")],
            epoch: meant.to_owned(),
        };
        let answer = hq.exchange.clone().upload_operations(request).await.unwrap().into_inner();
        assert_eq!((answer.outcomes.len(), &answer.epoch), (taken, &epoch));
        assert_eq!(hq.status().await.arrivals_waiting, taken as u64);
    }
    hq.stop().await;
}

async fn z1_a_log_that_began_anew_is_refused_loudly(database: Database) {
    let hq = Hq::start(&database).await;
    hq.upload("s1", vec![create(1, guid(1), "Ann", "Old"), create(2, guid(2), "Bob", "Old")]).await.unwrap();
    let anew = vec![create(1, guid(1), "Ann", "Old"), create(2, guid(3), "Eve", "New")];
    let fields = refused(hq.upload("s1", anew).await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(fields, ["operations[1].counter"]);
    hq.stop().await;
}

async fn x7_the_feed_brings_each_customer_once(database: Database) {
    let hq = Hq::start(&database).await;
    for n in 1..=5 {
        hq.create(guid(n), "Ann", "Feed").await.unwrap();
    }
    let update = hq::UpdateCustomerRequest {
        customer: guid(2).to_string(),
        values: Some(Customer { blocked: true, ..Customer::default() }),
        update_mask: Some(FieldMask { paths: vec!["blocked".to_owned()] }),
    };
    hq.real_time.clone().update_customer(update).await.unwrap();
    let page = hq.changes(None).await;
    let versions: Vec<u64> =
        page.records.iter().map(|record| record.clone().read().unwrap().version).collect();
    assert_eq!((versions, page.head_version), (vec![1, 3, 4, 5, 6], 6));
    assert!(page.resync.is_none());
    let epoch = hq.status().await.epoch;
    assert_eq!(page.next_cursor, Some(FeedCursor { epoch: epoch.clone(), version: 6 }));
    assert_eq!(hq.changes(page.next_cursor.clone()).await.records, []);
    assert_eq!(hq.changes(page.next_cursor).await.next_cursor.unwrap().version, 6);
    let from = async |version, page_size| {
        let cursor = Some(FeedCursor { epoch: epoch.clone(), version });
        let request = hq::ListCustomerChangesRequest { channel_id: "s1".to_owned(), cursor, page_size };
        hq.exchange.clone().list_customer_changes(request).await
    };
    let page = from(3, 2).await.unwrap().into_inner();
    assert_eq!(
        page.records.iter().map(|record| record.clone().read().unwrap().version).collect::<Vec<_>>(),
        [4, 5]
    );
    assert_eq!((page.next_cursor.unwrap().version, page.head_version), (5, 6));
    for bad in [-1, 5_001] {
        let fields = refused_call(from(0, bad).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(fields, ["page_size"]);
    }
    hq.stop().await;
}

async fn x7_a_cursor_of_another_database_or_ahead_starts_anew(database: Database) {
    let hq = Hq::start(&database).await;
    hq.create(guid(1), "Ann", "Resync").await.unwrap();
    let epoch = hq.status().await.epoch;
    for (cursor, reason) in [
        ((guid(9).to_string(), 0), ResyncReason::OtherEpoch),
        (("no epoch".to_owned(), 1), ResyncReason::OtherEpoch),
        ((epoch.clone(), 2), ResyncReason::Ahead),
        ((epoch.clone(), u64::MAX), ResyncReason::Ahead),
    ] {
        let page = hq.changes(Some(FeedCursor { epoch: cursor.0, version: cursor.1 })).await;
        let resync = page.resync.unwrap();
        assert_eq!(resync.reason(), reason);
        assert_eq!(resync.cursor, Some(FeedCursor { epoch: epoch.clone(), version: 0 }));
        assert_eq!(page.records, []);
        assert_eq!(hq.changes(resync.cursor).await.records.len(), 1);
    }
    // Empty is the start, whatever the version says.
    let empty = FeedCursor { epoch: String::new(), version: 77 };
    assert_eq!(hq.changes(Some(empty)).await.records.len(), 1);
    hq.stop().await;
}

async fn f2_configuration_has_a_version(database: Database) {
    let hq = Hq::start(&database).await;
    let configuration = async |job: Job| {
        let request = hq::GetConfigurationRequest { channel_id: "s1".to_owned(), job: job.into() };
        hq.exchange.clone().get_configuration(request).await.map(tonic::Response::into_inner)
    };
    let profile = configuration(Job::ChannelConfiguration1070).await.unwrap();
    assert_eq!(profile.version, 1);
    assert!(profile.profile.unwrap().async_fallback, "the documented behaviour");
    let flags = configuration(Job::GlobalConfiguration1110).await.unwrap();
    assert_eq!((flags.version, flags.features.len()), (1, 0));
    let request = hq::UpdateFlagRequest { feature: 3, enabled: true };
    hq.admin.clone().update_flag(request).await.unwrap();
    let flags = configuration(Job::GlobalConfiguration1110).await.unwrap();
    assert_eq!((flags.version, flags.features), (2, vec![3]));
    for job in [Job::Unspecified, Job::Upload, Job::CustomerSync, Job::Customers1010] {
        let fields = refused(configuration(job).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(fields, ["job"]);
    }
    hq.stop().await;
}

async fn z1_a_bad_report_is_refused(database: Database) {
    let hq = Hq::start(&database).await;
    let status = || ChannelStatus { channel_id: "s1".to_owned(), ..Default::default() };
    let run = || JobRun { job: Job::Upload.into(), rows: 1, ..Default::default() };
    let report = async |status: Option<ChannelStatus>, ended_runs: Vec<JobRun>| {
        hq.exchange
            .clone()
            .report_status(hq::ReportStatusRequest { status, ended_runs, running: Vec::new() })
            .await
    };
    let many_runs = ChannelStatus {
        job_runs: vec![JobRun { error: "x".repeat(1_000), ..Default::default() }; 20],
        ..status()
    };
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    for (status, runs, field) in [
        (None, vec![], "status"),
        (Some(ChannelStatus::default()), vec![], "status.channel_id"),
        (Some(many_runs), vec![], "status"),
        (Some(status()), vec![run(); 101], "ended_runs"),
        (Some(status()), vec![run(), JobRun { job: 0, ..run() }], "ended_runs[1].job"),
        (Some(status()), vec![JobRun { error: "\0".to_owned(), ..run() }], "ended_runs[0].error"),
        (Some(status()), vec![JobRun { elapsed: Some(negative), ..run() }], "ended_runs[0].elapsed"),
        (Some(status()), vec![JobRun { run_request: u64::MAX, ..run() }], "ended_runs[0].run_request"),
    ] {
        let fields = refused_call(report(status, runs).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(fields, [field]);
    }
    assert_eq!(hq.status().await.channels, [], "nothing was kept");
    report(Some(status()), vec![run(); 2]).await.unwrap();
    let summary = hq.status().await.channels.pop().unwrap();
    assert_eq!(summary.status, Some(status()));
    let expected = (false, 1, 1);
    assert_eq!((summary.connected, summary.profile_version, summary.features_version), expected);
    hq.stop().await;
}

/// It knows nothing of what a resync continues, of bringing customers, or of customers that are erased.
async fn x7_a_channel_of_an_earlier_version_goes_on_after_a_restore(database: Database) {
    let hq = Hq::start(&database).await;
    hq.upload("s1", vec![create(1, guid(1), "Ann", "Old")]).await.unwrap();
    assert_eq!(hq.convert().await, 1);
    let report = async |hq: &Hq, cursor: Option<FeedCursor>| {
        let status =
            ChannelStatus { channel_id: "s1".to_owned(), feed_cursor: cursor, ..ChannelStatus::default() };
        let request = hq::ReportStatusRequest { status: Some(status), ..Default::default() };
        hq.exchange.clone().report_status(request).await.unwrap();
    };
    let before = hq.changes(None).await.next_cursor.unwrap();
    report(&hq, Some(before.clone())).await;
    hq.stop().await;

    let ids = service_kit::clock::Ids::from_os(std::sync::Arc::new(service_kit::clock::SystemClock));
    let awaited = hq_svc::mark_restored(&database.config(), &[], ids).await.unwrap();
    assert_eq!(awaited, ["s1"]);
    let hq = Hq::start(&database).await;
    // Uploads are taken, and wait.
    hq.upload("s1", vec![create(2, guid(2), "Bob", "Old")]).await.unwrap();
    assert_eq!(hq.convert().await, 0);
    refused(hq.create(guid(3), "Eve", "Sync").await, Code::Unavailable, "RECOVERING");
    let answer = hq.changes(Some(before)).await;
    let resync = answer.resync.unwrap();
    assert_eq!((resync.reason(), answer.records.len()), (ResyncReason::OtherEpoch, 0));
    // It starts anew from where it is told, and sends everything again.
    let page = hq.changes(resync.cursor).await;
    assert_eq!(page.records.len(), 1);
    let again =
        hq.upload("s1", vec![create(1, guid(1), "Ann", "Old"), create(2, guid(2), "Bob", "Old")]).await;
    assert_eq!(results(&again.unwrap()), [OperationResult::Known; 2]);
    report(&hq, page.next_cursor).await;
    assert_eq!(hq.status().await.awaited_channels, [""; 0]);
    assert_eq!(hq.convert().await, 1);
    // An erased customer is to it one without a name.
    let request = hq::EraseCustomerRequest { customer: guid(1).to_string(), requested_by: "x".to_owned() };
    hq.admin.clone().erase_customer(request).await.unwrap();
    let page = hq.changes(None).await;
    let mut erased = page.records.into_iter().map(|record| record.read().unwrap().customer.unwrap());
    let erased = erased.find(|customer| customer.customer_id == guid(1).to_string()).unwrap();
    assert_eq!(erased.account_number, "C-00000001");
    assert!(!format!("{erased:?}").contains("Ann"));
    hq.stop().await;
}
