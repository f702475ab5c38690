//! The synchronization status and its repair, sessions that failed, and answers in words, over gRPC.

use std::time::Duration;

use prost_types::FieldMask;
use tillsync_proto::{
    Schedule,
    pb::{
        common::{
            AttributeDefinition, AttributeType, ChannelStatus, Customer, CustomerUpdate, Feature, FeedCursor,
            Job, JobRun, Operation, SessionState, operation::Change,
        },
        hq::{self, NumberSequenceKind, Severity, SyncStatus},
    },
};
use tonic::{Code, Status};

use crate::harness::{
    Database, Hq, create, guid, on_both, operation, person, refused, refused_call, schedule,
};

on_both!(
    s1_one_of_ten_thousand_is_refused_corrected_and_synchronized,
    s1_e4_without_the_audit_the_list_is_refused,
    s1_statuses_are_filtered_and_paged,
    s1_operations_of_one_customer_are_repaired_in_order,
    x9_a_failed_session_runs_again_or_is_canceled,
    x9_a_run_that_is_waited_for_is_canceled,
    x9_a_scheduled_run_under_way_is_seen_and_canceled,
    x6_sequences_are_changed_and_blocks_are_reserved,
    c1_attributes_are_defined_and_kept_to,
    c5_possible_duplicates_are_listed_and_dismissed,
    f3_the_status_shows_each_setting_on_its_way,
    f3_the_doctor_answers_from_state,
    x10_a_customer_sync_job_that_stands_still_is_told,
    x10_starting_the_customer_sync_job_anew_does_not_put_it_off,
    x8_what_changes_at_headquarters_does_not_put_off_the_customer_sync_job,
);

async fn flag(hq: &Hq, feature: Feature) {
    let request = hq::UpdateFlagRequest { feature: feature.into(), enabled: true };
    hq.admin.clone().update_flag(request).await.unwrap();
}

async fn statuses(
    hq: &Hq,
    request: hq::ListSyncStatusesRequest,
) -> Result<hq::ListSyncStatusesResponse, Status> {
    Ok(hq.admin.clone().list_sync_statuses(request).await?.into_inner())
}

async fn correct(hq: &Hq, operation: Operation) -> Result<hq::OperationStatus, Status> {
    let request = hq::CorrectOperationRequest { channel_id: "s1".to_owned(), operation: Some(operation) };
    Ok(hq.admin.clone().correct_operation(request).await?.into_inner().operation.unwrap())
}

async fn synchronize(hq: &Hq, counter: u64) -> Result<hq::OperationStatus, Status> {
    let request = hq::SynchronizeOperationRequest { channel_id: "s1".to_owned(), counter };
    Ok(hq.admin.clone().synchronize_operation(request).await?.into_inner().operation.unwrap())
}

fn rename(counter: u64, id: uuid::Uuid, first: &str) -> Operation {
    let customer = Some(person(first, "Renamed"));
    let update_mask = Some(FieldMask { paths: vec!["person".to_owned()] });
    operation(counter, id, Change::Update(CustomerUpdate { customer, update_mask }))
}

async fn s1_one_of_ten_thousand_is_refused_corrected_and_synchronized(database: Database) {
    const BAD: u64 = 4_321;
    let hq = Hq::start(&database).await;
    flag(&hq, Feature::OperationsAudit).await;
    for page in 0..10_u64 {
        let counters = page * 1_000 + 1..=(page + 1) * 1_000;
        // A channel of an older version let a name through that is too long.
        let name = |counter| if counter == BAD { "x".repeat(101) } else { "Ann".to_owned() };
        let page = counters.map(|n| create(n, guid(n.into()), &name(n), "Many")).collect();
        hq.upload("s1", page).await.unwrap();
    }
    hq.upload("s1", vec![rename(10_001, guid(BAD.into()), "Later")]).await.unwrap();
    while hq.convert().await > 0 {}
    let status = hq.status().await;
    assert_eq!((status.customers, status.arrivals_set_aside, status.arrivals_waiting), (9_999, 1, 1));

    let failed = hq::ListSyncStatusesRequest { status: SyncStatus::Failed.into(), ..Default::default() };
    let list = statuses(&hq, failed.clone()).await.unwrap().operations;
    assert_eq!(list.len(), 1);
    let (row, logged) = (&list[0], list[0].operation.clone().unwrap());
    assert_eq!((row.channel_id.as_str(), logged.counter, row.reason.as_str()), ("s1", BAD, "INVALID_FIELD"));
    assert_eq!(row.message, "person.first_name is longer than 100 characters");
    let again = synchronize(&hq, BAD).await.unwrap();
    assert_eq!(again.status(), SyncStatus::Failed, "nothing has been mended");
    let corrected = correct(&hq, create(BAD, guid(BAD.into()), "Short", "Name")).await.unwrap();
    assert!(corrected.corrected && corrected.status() == SyncStatus::Failed);
    let row = synchronize(&hq, BAD).await.unwrap();
    assert_eq!((row.status(), row.account_number.as_str()), (SyncStatus::Succeeded, "C-00010000"));
    assert_eq!(hq.convert().await, 1, "the later edit follows");
    let customer = hq.get(guid(BAD.into())).await.unwrap().customer.unwrap();
    assert_eq!(customer.party, person("Later", "Renamed").party);
    assert_eq!(statuses(&hq, failed).await.unwrap().operations, []);
    hq.stop().await;
}

async fn s1_e4_without_the_audit_the_list_is_refused(database: Database) {
    let hq = Hq::start(&database).await;
    let refusals = [
        statuses(&hq, hq::ListSyncStatusesRequest::default()).await.map(drop),
        correct(&hq, create(1, guid(1), "Ann", "Audit")).await.map(drop),
        synchronize(&hq, 1).await.map(drop),
    ];
    for refusal in refusals {
        refused(refusal, Code::FailedPrecondition, "NEEDS_OPERATIONS_AUDIT");
    }
    flag(&hq, Feature::OperationsAudit).await;
    assert_eq!(statuses(&hq, hq::ListSyncStatusesRequest::default()).await.unwrap().operations, []);
    hq.stop().await;
}

async fn s1_statuses_are_filtered_and_paged(database: Database) {
    let hq = Hq::start(&database).await;
    flag(&hq, Feature::OperationsAudit).await;
    let previous = Some(person("Ann", "Älvsjö"));
    let edit = Operation { previous, ..rename(3, guid(1), "Bob") };
    hq.upload("s1", vec![create(1, guid(1), "Ann", "Filter"), create(2, guid(2), "A\0", "Bad"), edit])
        .await
        .unwrap();
    hq.upload("s2", vec![create(1, guid(3), "Eve", "Filter")]).await.unwrap();
    hq.convert().await;
    let found = async |request: hq::ListSyncStatusesRequest| -> Vec<(String, u64)> {
        let rows = statuses(&hq, request).await.unwrap().operations.into_iter();
        rows.map(|row| (row.channel_id, row.operation.unwrap().counter)).collect()
    };
    let none = hq::ListSyncStatusesRequest::default;
    let expect = |rows: &[(&str, u64)]| -> Vec<(String, u64)> {
        rows.iter().map(|(name, counter)| ((*name).to_owned(), *counter)).collect()
    };
    for (request, rows) in [
        (none(), &[("s2", 1), ("s1", 3), ("s1", 2), ("s1", 1)][..]),
        (hq::ListSyncStatusesRequest { channel_id: "s2".to_owned(), ..none() }, &[("s2", 1)]),
        (hq::ListSyncStatusesRequest { customer: guid(1).to_string(), ..none() }, &[("s1", 3), ("s1", 1)]),
        (hq::ListSyncStatusesRequest { customer: "C-00000002".to_owned(), ..none() }, &[("s2", 1)]),
        (hq::ListSyncStatusesRequest { customer: "nobody".to_owned(), ..none() }, &[]),
        (hq::ListSyncStatusesRequest { reason: "INVALID_FIELD".to_owned(), ..none() }, &[("s1", 2)]),
        (
            hq::ListSyncStatusesRequest { value: "filter".to_owned(), ..none() },
            &[("s2", 1), ("s1", 3), ("s1", 1)],
        ),
        (hq::ListSyncStatusesRequest { value: "alvsjo".to_owned(), ..none() }, &[("s1", 3)]),
    ] {
        assert_eq!(found(request.clone()).await, expect(rows), "{request:?}");
    }
    let list =
        statuses(&hq, hq::ListSyncStatusesRequest { customer: guid(1).to_string(), ..none() }).await.unwrap();
    let edited = list.operations[0].operation.clone().unwrap();
    assert_eq!(edited.previous.unwrap().party, person("Ann", "Älvsjö").party, "the old value");
    // The customer was created with another name than the channel knew, so that one lost.
    assert_eq!(list.operations[0].overwritten[0].field, "person");
    assert!(list.operations[0].overwritten[0].value_json.contains("Filter"));
    // Pages belong to their filters.
    let first = statuses(&hq, hq::ListSyncStatusesRequest { page_size: 3, ..none() }).await.unwrap();
    assert_eq!(first.operations.len(), 3);
    let next = hq::ListSyncStatusesRequest { page_token: first.next_page_token, ..none() };
    assert_eq!(found(next.clone()).await, expect(&[("s1", 1)]));
    let other = hq::ListSyncStatusesRequest { channel_id: "s1".to_owned(), ..next };
    refused(statuses(&hq, other).await, Code::InvalidArgument, "BAD_PAGE_TOKEN");
    for (request, field) in [
        (hq::ListSyncStatusesRequest { channel_id: "a b".to_owned(), ..none() }, "channel_id"),
        (hq::ListSyncStatusesRequest { status: 77, ..none() }, "status"),
        (hq::ListSyncStatusesRequest { value: "x".repeat(201), ..none() }, "value"),
        (hq::ListSyncStatusesRequest { customer: "x".repeat(41), ..none() }, "customer"),
        (hq::ListSyncStatusesRequest { page_size: -1, ..none() }, "page_size"),
    ] {
        assert_eq!(refused(statuses(&hq, request).await, Code::InvalidArgument, "INVALID_FIELD"), [field]);
    }
    hq.stop().await;
}

async fn s1_operations_of_one_customer_are_repaired_in_order(database: Database) {
    let hq = Hq::start(&database).await;
    flag(&hq, Feature::OperationsAudit).await;
    let page = vec![
        create(1, guid(1), &"x".repeat(101), "Order"),
        create(2, guid(2), "Bob", "Fine"),
        Operation { change: None, ..create(3, guid(1), "", "") },
        Operation { counter: 4, customer_id: "nobody".to_owned(), ..create(4, guid(4), "Eve", "Lost") },
    ];
    hq.upload("s1", page).await.unwrap();
    hq.convert().await;
    refused(synchronize(&hq, 9).await, Code::NotFound, "NOT_FOUND");
    refused(synchronize(&hq, 2).await, Code::FailedPrecondition, "NOT_FAILED");
    refused(correct(&hq, create(2, guid(2), "Eve", "Other")).await, Code::FailedPrecondition, "NOT_FAILED");
    refused(synchronize(&hq, 3).await, Code::FailedPrecondition, "EARLIER_OPERATION_FAILED");
    // It cannot be given to somebody else, nor be made worse.
    let other = correct(&hq, create(1, guid(7), "Ann", "Order")).await;
    assert_eq!(refused(other, Code::InvalidArgument, "INVALID_FIELD"), ["operation.customer_id"]);
    let worse = correct(&hq, create(1, guid(1), "", "")).await;
    assert_eq!(refused(worse, Code::InvalidArgument, "INVALID_FIELD"), ["operation.person.first_name"]);
    // Whose it is could not be read, so it has to be said.
    let nobody = synchronize(&hq, 4).await;
    assert_eq!(refused(nobody, Code::InvalidArgument, "INVALID_FIELD"), ["operation.customer_id"]);
    for (counter, operation) in [
        (1, create(1, guid(1), "Ann", "Order")),
        (3, rename(3, guid(1), "Anna")),
        (4, create(4, guid(4), "Eve", "Found")),
    ] {
        correct(&hq, operation).await.unwrap();
        assert_eq!(synchronize(&hq, counter).await.unwrap().status(), SyncStatus::Succeeded, "{counter}");
    }
    let customer = hq.get(guid(1)).await.unwrap().customer.unwrap();
    assert_eq!(customer.party, person("Anna", "Renamed").party);
    assert_eq!(hq.status().await.arrivals_set_aside, 0);
    hq.stop().await;
}

async fn report(hq: &Hq, run: JobRun) {
    let status = Some(ChannelStatus { channel_id: "s1".to_owned(), ..Default::default() });
    let request = hq::ReportStatusRequest { status, ended_runs: vec![run], running: Vec::new() };
    hq.exchange.clone().report_status(request).await.unwrap();
}

async fn sessions(hq: &Hq) -> Vec<hq::Session> {
    let request = hq::ListSessionsRequest::default();
    hq.admin.clone().list_sessions(request).await.unwrap().into_inner().sessions
}

async fn x9_a_failed_session_runs_again_or_is_canceled(database: Database) {
    let hq = Hq::start(&database).await;
    let run = |seconds, state: SessionState, error: &str| JobRun {
        job: Job::Customers1010.into(),
        start_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        rows: 7,
        bytes: 700,
        state: state.into(),
        error: error.to_owned(),
        ..JobRun::default()
    };
    report(&hq, run(1, SessionState::DownloadFailed, "headquarters: UNAVAILABLE")).await;
    report(&hq, run(2, SessionState::Applied, "")).await;
    let list = sessions(&hq).await;
    let states: Vec<_> = list.iter().map(|session| session.run.as_ref().unwrap().state()).collect();
    assert_eq!(states, [SessionState::Applied, SessionState::DownloadFailed]);
    assert_eq!(list[1].run.as_ref().unwrap().bytes, 700);
    let rerun =
        async |session_id| hq.admin.clone().rerun_session(hq::RerunSessionRequest { session_id }).await;
    let cancel =
        async |session_id| hq.admin.clone().cancel_session(hq::CancelSessionRequest { session_id }).await;
    refused_call(rerun(list[0].session_id).await, Code::FailedPrecondition, "NOT_FAILED");
    refused_call(cancel(list[0].session_id).await, Code::FailedPrecondition, "NOT_FAILED");
    refused_call(rerun(9_999).await, Code::NotFound, "NOT_FOUND");
    refused_call(cancel(9_999).await, Code::NotFound, "NOT_FOUND");
    assert_eq!(refused_call(cancel(u64::MAX).await, Code::InvalidArgument, "INVALID_FIELD"), ["session_id"]);
    let failed = list[1].session_id;
    let again = async {
        // The channel carries it out as soon as it hears of it.
        let open = async {
            loop {
                let open = sessions(&hq).await.remove(0).run.unwrap();
                if open.state() == SessionState::Requested {
                    return open.run_request;
                }
                tokio::task::yield_now().await;
            }
        };
        let run_request = open.await;
        report(&hq, JobRun { run_request, ..run(3, SessionState::Applied, "") }).await;
    };
    let (session, ()) = tokio::join!(rerun(failed), again);
    let session = session.unwrap().into_inner().session.unwrap();
    assert!(session.session_id > failed && session.run.unwrap().state() == SessionState::Applied);
    let canceled = cancel(failed).await.unwrap().into_inner().session.unwrap();
    assert_eq!(canceled.run.unwrap().state(), SessionState::Canceled);
    hq.stop().await;
}

async fn x9_a_run_that_is_waited_for_is_canceled(database: Database) {
    let hq = Hq::start(&database).await;
    report(&hq, JobRun { job: Job::Upload.into(), rows: 1, ..JobRun::default() }).await;
    let request = hq::WatchJobsRequest { channel_id: "s1".to_owned() };
    let mut orders = hq.exchange.clone().watch_jobs(request).await.unwrap().into_inner();
    for _ in 0..4 {
        orders.message().await.unwrap().unwrap();
    }
    let cancel = async {
        assert_eq!(orders.message().await.unwrap().unwrap().run_request, 1);
        let session_id = sessions(&hq).await[0].session_id;
        hq.admin.clone().cancel_session(hq::CancelSessionRequest { session_id }).await.unwrap();
        assert_eq!(orders.message().await.unwrap().unwrap().canceled_through, 1, "the channel hears of it");
    };
    let (run, ()) = tokio::join!(hq.run(Job::Upload, "s1"), cancel);
    refused(run, Code::Aborted, "CANCELED");
    drop(orders);
    hq.stop().await;
}

async fn x9_a_scheduled_run_under_way_is_seen_and_canceled(database: Database) {
    let hq = Hq::start(&database).await;
    let tell = async |running: Vec<JobRun>| {
        let status = Some(ChannelStatus { channel_id: "s1".to_owned(), ..Default::default() });
        let request = hq::ReportStatusRequest { status, ended_runs: Vec::new(), running };
        hq.exchange.clone().report_status(request).await
    };
    let start_time = Some(prost_types::Timestamp { seconds: 5, nanos: 1_000 });
    let run = |state: SessionState| JobRun {
        job: Job::Customers1010.into(),
        start_time,
        rows: 7,
        state: state.into(),
        ..JobRun::default()
    };
    for bad in [SessionState::Unspecified, SessionState::Applied, SessionState::UploadFailed] {
        let refusal = refused_call(tell(vec![run(bad)]).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(refusal, ["running[0].state"]);
    }
    let many = vec![run(SessionState::Started); 6];
    assert_eq!(refused_call(tell(many).await, Code::InvalidArgument, "INVALID_FIELD"), ["running"]);
    tell(vec![run(SessionState::Downloaded)]).await.unwrap();
    let session = sessions(&hq).await.remove(0);
    assert_eq!(session.run.as_ref().unwrap().state(), SessionState::Downloaded);
    let session_id = session.session_id;
    let canceled = hq.admin.clone().cancel_session(hq::CancelSessionRequest { session_id }).await.unwrap();
    assert_eq!(canceled.into_inner().session.unwrap().run.unwrap().state(), SessionState::Canceled);
    let request = hq::WatchJobsRequest { channel_id: "s1".to_owned() };
    let mut orders = hq.exchange.clone().watch_jobs(request).await.unwrap().into_inner();
    for _ in 0..4 {
        let order = orders.message().await.unwrap().unwrap();
        let canceled = (order.schedule.unwrap().job() == Job::Customers1010).then_some(start_time).flatten();
        assert_eq!((order.canceled_start_time, order.canceled_through), (canceled, 0));
    }
    // The channel's last word on it changes nothing.
    tell(vec![run(SessionState::Downloaded)]).await.unwrap();
    assert_eq!(sessions(&hq).await[0].run.as_ref().unwrap().state(), SessionState::Canceled);
    drop(orders);
    hq.stop().await;
}

async fn x6_sequences_are_changed_and_blocks_are_reserved(database: Database) {
    let hq = Hq::start(&database).await;
    let set = async |hq: &Hq, kind: NumberSequenceKind, format: &str, block_size| {
        let sequence = hq::NumberSequence {
            kind: kind.into(),
            format: format.to_owned(),
            block_size,
            ..Default::default()
        };
        hq.admin
            .clone()
            .update_number_sequence(hq::UpdateNumberSequenceRequest { sequence: Some(sequence) })
            .await
    };
    for (kind, format, block, field) in [
        (NumberSequenceKind::Unspecified, "C-##", 0, "sequence.kind"),
        (NumberSequenceKind::Accounts, "C-", 0, "sequence.format"),
        (NumberSequenceKind::Accounts, "C-##", 100_001, "sequence.block_size"),
    ] {
        assert_eq!(
            refused_call(set(&hq, kind, format, block).await, Code::InvalidArgument, "INVALID_FIELD"),
            [field]
        );
    }
    set(&hq, NumberSequenceKind::Accounts, "N-#", 4).await.unwrap();
    set(&hq, NumberSequenceKind::Cards, "K-##", 0).await.unwrap();
    for n in 1..=3 {
        hq.create(guid(n), "Ann", "Numbered").await.unwrap();
    }
    let request = hq::IssueLoyaltyCardRequest {
        customer: guid(1).to_string(),
        request_id: guid(100).to_string(),
        ..Default::default()
    };
    let card = hq.real_time.clone().issue_loyalty_card(request).await.unwrap().into_inner().card_number;
    assert_eq!(card, "K-01");
    let list = hq.admin.clone().list_number_sequences(hq::ListNumberSequencesRequest {}).await.unwrap();
    let list: Vec<_> = list.into_inner().sequences;
    assert_eq!((list[0].next_number, list[0].numbers_left, list[0].block_size), (5, 6, 4));
    assert_eq!((list[1].next_number, list[1].numbers_left), (2, 98));
    hq.stop().await;
    // The block's last number went with the process; a continuous sequence would have given it.
    let hq = Hq::start(&database).await;
    let number = hq.create(guid(4), "Ann", "Numbered").await.unwrap().customer.unwrap().account_number;
    assert_eq!(number, "N-5");
    for n in 5..=8 {
        hq.create(guid(n), "Ann", "Numbered").await.unwrap();
    }
    refused(hq.create(guid(9), "Ann", "Late").await, Code::FailedPrecondition, "NUMBERS_EXHAUSTED");
    set(&hq, NumberSequenceKind::Accounts, "N-##", 0).await.unwrap();
    let number = hq.create(guid(9), "Ann", "Late").await.unwrap().customer.unwrap().account_number;
    assert_eq!(number, "N-10");
    assert_eq!(hq.status().await.customers, 9);
    hq.stop().await;
}

async fn c1_attributes_are_defined_and_kept_to(database: Database) {
    let hq = Hq::start(&database).await;
    let define = async |definition: AttributeDefinition| {
        let request = hq::UpdateAttributeDefinitionRequest { definition: Some(definition) };
        hq.admin.clone().update_attribute_definition(request).await
    };
    let size = AttributeDefinition {
        name: "size".to_owned(),
        r#type: AttributeType::Text.into(),
        options: vec!["S".to_owned(), "L".to_owned()],
        ..Default::default()
    };
    for (definition, field) in [
        (AttributeDefinition { name: String::new(), ..size.clone() }, "definition.name"),
        (AttributeDefinition { r#type: 0, ..size.clone() }, "definition.type"),
        (AttributeDefinition { minimum: "1".to_owned(), ..size.clone() }, "definition.minimum"),
        (AttributeDefinition { r#type: AttributeType::Boolean.into(), ..size.clone() }, "definition.options"),
    ] {
        assert_eq!(refused_call(define(definition).await, Code::InvalidArgument, "INVALID_FIELD"), [field]);
    }
    assert_eq!(define(size.clone()).await.unwrap().into_inner().version, 2);
    let value = |text: &str| {
        let value = Some(tillsync_proto::pb::common::attribute::Value::Text(text.to_owned()));
        vec![tillsync_proto::pb::common::Attribute { name: "size".to_owned(), value }]
    };
    let create = async |text: &str| {
        let customer =
            Customer { customer_id: guid(1).to_string(), attributes: value(text), ..person("Ann", "Size") };
        let request = hq::CreateCustomerRequest { customer: Some(customer), ..Default::default() };
        hq.real_time.clone().create_customer(request).await
    };
    let fields = refused_call(create("XL").await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(fields, ["customer.attributes[0].value"]);
    create("L").await.unwrap();
    let update = hq::UpdateCustomerRequest {
        customer: guid(1).to_string(),
        values: Some(Customer { attributes: value("XXL"), ..Customer::default() }),
        update_mask: Some(FieldMask { paths: vec!["attributes".to_owned()] }),
    };
    let fields = refused_call(
        hq.real_time.clone().update_customer(update).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
    );
    assert_eq!(fields, ["values.attributes[0].value"]);
    let request =
        hq::GetConfigurationRequest { channel_id: "s1".to_owned(), job: Job::GlobalConfiguration1110.into() };
    let carried = hq.exchange.clone().get_configuration(request).await.unwrap().into_inner();
    assert_eq!((carried.version, carried.attributes), (2, vec![size]));
    let delete = async || {
        let request = hq::DeleteAttributeDefinitionRequest { name: "size".to_owned() };
        hq.admin.clone().delete_attribute_definition(request).await
    };
    assert_eq!(delete().await.unwrap().into_inner().version, 3);
    refused_call(delete().await, Code::NotFound, "NOT_FOUND");
    hq.stop().await;
}

async fn c5_possible_duplicates_are_listed_and_dismissed(database: Database) {
    use tillsync_proto::pb::common::{Contact, ContactKind};
    let hq = Hq::start(&database).await;
    for n in 1..=2 {
        let contact = Contact {
            kind: ContactKind::Email.into(),
            value: "twin@example.com".to_owned(),
            primary: true,
            ..Contact::default()
        };
        let customer = Some(Customer {
            customer_id: guid(n).to_string(),
            contacts: vec![contact],
            ..person("Ann", "Twin")
        });
        let request = hq::CreateCustomerRequest { customer, ..Default::default() };
        hq.real_time.clone().create_customer(request).await.unwrap();
    }
    let list = async || {
        let request = hq::ListPossibleDuplicatesRequest::default();
        hq.admin.clone().list_possible_duplicates(request).await.unwrap().into_inner().pairs
    };
    let noticed = async {
        while list().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, noticed).await.expect("it is noticed");
    let pair = list().await.remove(0);
    assert_eq!((pair.customer_id, pair.other_customer_id), (guid(2).to_string(), guid(1).to_string()));
    assert_eq!(hq.status().await.possible_duplicates, 1);
    let dismiss = async || {
        let (customer_id, other_customer_id) = (guid(1).to_string(), guid(2).to_string());
        let request = hq::DismissPossibleDuplicateRequest { customer_id, other_customer_id };
        hq.admin.clone().dismiss_possible_duplicate(request).await
    };
    dismiss().await.unwrap();
    assert_eq!(list().await, []);
    let bad = hq::DismissPossibleDuplicateRequest::default();
    let fields = refused_call(
        hq.admin.clone().dismiss_possible_duplicate(bad).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
    );
    assert_eq!(fields, ["customer_id"]);
    hq.stop().await;
}

async fn f3_the_status_shows_each_setting_on_its_way(database: Database) {
    let hq = Hq::start(&database).await;
    flag(&hq, Feature::AsyncAddresses).await;
    let status = |arrived, applied, features: Vec<i32>| ChannelStatus {
        channel_id: "s1".to_owned(),
        arrived_profile_version: 1,
        profile_version: 1,
        arrived_features_version: arrived,
        features_version: applied,
        features,
        ..Default::default()
    };
    let e1 = i32::from(Feature::AsyncAddresses);
    for (told, job, waits_for_cache) in [
        (status(1, 1, vec![]), Job::GlobalConfiguration1110, false),
        (status(2, 1, vec![]), Job::Unspecified, true),
        (status(2, 2, vec![e1]), Job::Unspecified, false),
    ] {
        let request = hq::ReportStatusRequest {
            status: Some(told.clone()),
            ended_runs: Vec::new(),
            running: Vec::new(),
        };
        hq.exchange.clone().report_status(request).await.unwrap();
        let settings = hq.status().await.channels.remove(0).settings;
        assert_eq!(settings.len(), 6, "the profile and five flags");
        assert_eq!((settings[0].name.as_str(), settings[0].job_to_run()), ("profile", Job::Unspecified));
        let e1 = settings.iter().find(|state| state.name == "E1").unwrap();
        assert_eq!((e1.job_to_run(), e1.waits_for_cache), (job, waits_for_cache));
        assert!(e1.enabled_at_headquarters && e1.enabled_in_channel != told.features.is_empty());
        let versions = (e1.version_at_headquarters, e1.version_arrived, e1.version_applied);
        assert_eq!(versions, (2, told.arrived_features_version, told.features_version));
    }
    hq.stop().await;
}

async fn diagnose(hq: &Hq, channel: &str, customer: &str) -> Result<Vec<hq::Finding>, Status> {
    let request = hq::DiagnoseRequest { channel_id: channel.to_owned(), customer: customer.to_owned() };
    Ok(hq.admin.clone().diagnose(request).await?.into_inner().findings)
}

/// The only finding with this text in its question.
fn asked<'a>(findings: &'a [hq::Finding], question: &str) -> &'a hq::Finding {
    let mut found = findings.iter().filter(|finding| finding.question.contains(question));
    let first = found.next().unwrap_or_else(|| panic!("{question}: {findings:#?}"));
    assert_eq!(found.next(), None, "{question}");
    first
}

async fn f3_the_doctor_answers_from_state(database: Database) {
    let hq = Hq::start(&database).await;
    refused(diagnose(&hq, "s9", "").await, Code::NotFound, "NOT_FOUND");
    let findings = diagnose(&hq, "", "").await.unwrap();
    let e3 = asked(&findings, "Why can E3");
    assert_eq!((e3.rule.as_str(), e3.remedy.as_str()), ("F1", "tillsync hq flag E0 on"));
    assert!(e3.answer.contains("E0, E1, E2 are off"), "{}", e3.answer);
    assert_eq!(asked(&findings, "What has to run next?").severity(), Severity::Info);

    // A channel with something to bring, that has not heard of a flag.
    flag(&hq, Feature::AsyncAddresses).await;
    hq.create(guid(1), "Ann", "Known").await.unwrap();
    let cursor = |version| Some(FeedCursor { epoch: String::new(), version });
    let told = ChannelStatus {
        channel_id: "s1".to_owned(),
        logged_counter: 5,
        uploaded_counter: 4,
        pending_customers: 1,
        arrived_features_version: 1,
        features_version: 1,
        feed_cursor: cursor(1),
        ..Default::default()
    };
    let report = async |status: &ChannelStatus| {
        let request = hq::ReportStatusRequest {
            status: Some(status.clone()),
            ended_runs: Vec::new(),
            running: Vec::new(),
        };
        hq.exchange.clone().report_status(request).await.unwrap();
    };
    report(&told).await;
    let findings = diagnose(&hq, "s1", &guid(2).to_string()).await.unwrap();
    let flag = asked(&findings, "Why is E1 not in force in s1?");
    assert_eq!((flag.rule.as_str(), flag.remedy.as_str()), ("F2", "tillsync hq run 1110 s1"));
    assert!(
        flag.answer.contains("headquarters has version 2, s1 has 1: 1110 at s1 has to run"),
        "{}",
        flag.answer
    );
    let pending = asked(&findings, "Why is 1 customer of s1 pending?");
    assert_eq!((pending.rule.as_str(), pending.remedy.as_str()), ("X1", "tillsync hq run p-job s1"));
    assert_eq!(
        asked(&findings, "Why does headquarters not show the customer?").remedy,
        "tillsync hq run p-job s1"
    );
    assert_eq!(asked(&findings, "Is s1 there?").severity(), Severity::Error, "it does not listen");
    assert_eq!(findings[0].severity(), Severity::Error, "most pressing first");
    let calls: Vec<_> =
        findings.iter().filter(|finding| finding.question.contains("real-time calls")).collect();
    assert!(calls.iter().any(|finding| finding.rule == "M1"), "it is in sync mode");

    // Uploaded, it waits for the customer sync job, which is held.
    hq.upload("s1", vec![create(5, guid(2), "Bob", "Waits")]).await.unwrap();
    report(&ChannelStatus { uploaded_counter: 5, ..told.clone() }).await;
    let findings = diagnose(&hq, "s1", &guid(2).to_string()).await.unwrap();
    let waits = asked(&findings, "Why does headquarters not show the customer?");
    assert_eq!(waits.remedy, "tillsync hq run customer-sync");
    assert!(waits.answer.contains("it is held"), "{}", waits.answer);

    // Real, it waits for 1010.
    hq.convert().await;
    let findings = diagnose(&hq, "s1", &guid(2).to_string()).await.unwrap();
    assert_eq!(asked(&findings, "Why is the customer pending?").remedy, "tillsync hq run 1010 s1");
    assert_eq!(asked(&findings, "What has to run next?").remedy, "tillsync hq run 1010 s1");

    // What has failed is said with its reason and what to do.
    hq.upload("s1", vec![create(6, guid(3), &"x".repeat(101), "Long")]).await.unwrap();
    let findings = diagnose(&hq, "", &guid(3).to_string()).await.unwrap();
    let failed = asked(&findings, "Why does headquarters not show the customer?");
    assert_eq!((failed.rule.as_str(), failed.severity()), ("S1", Severity::Error));
    assert!(failed.answer.contains("first_name is longer than 100"), "{}", failed.answer);
    assert_eq!(asked(&findings, "Has anything failed?").rule, "X5");
    let nobody = diagnose(&hq, "", "C-99999999").await.unwrap();
    assert_eq!(asked(&nobody, "Why does headquarters not show the customer?").rule, "O2");
    hq.stop().await;
}

/// Headquarters whose customer sync job rests so long, with a customer that waits for it.
async fn resting(database: &Database, interval: Duration, watchdog: Duration) -> Hq {
    let schedule =
        Schedule { interval, held: false, ..Schedule::default_for(tillsync_proto::Job::CustomerSync) };
    let hq = Hq::with(hq_svc::Config { watchdog, schedules: vec![schedule], ..database.config() }).await;
    hq.upload("s1", vec![create(1, guid(1), "Ann", "Waits")]).await.unwrap();
    hq
}

/// Waits until the customer is there, and does something again and again meanwhile.
async fn converted(hq: &Hq, mut meanwhile: impl AsyncFnMut()) -> hq::GetStatusResponse {
    let converted = async {
        loop {
            let status = hq.status().await;
            if status.customers == 1 {
                return status;
            }
            meanwhile().await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, converted).await.expect("it runs")
}

async fn x10_starting_the_customer_sync_job_anew_does_not_put_it_off(database: Database) {
    // It rests for longer than the watchdog waits.
    let (interval, watchdog) = (Duration::from_secs(2), Duration::from_millis(100));
    let hq = resting(&database, interval, watchdog).await;
    let status = converted(&hq, async || tokio::task::yield_now().await).await;
    assert!(status.sync_job_restarts > 0);
    hq.stop().await;
}

async fn x8_what_changes_at_headquarters_does_not_put_off_the_customer_sync_job(database: Database) {
    let (interval, watchdog) = (Duration::from_secs(1), Duration::from_secs(3_600));
    let hq = resting(&database, interval, watchdog).await;
    let mut changes = 0;
    // Another job's schedule, far more often than this one is due.
    let status = converted(&hq, async || {
        changes += 1;
        hq.set_schedule(schedule(Job::Upload, 50 + changes % 2, true)).await;
    })
    .await;
    assert!(changes > 10 && status.sync_job_restarts == 0, "{changes} changes");
    hq.stop().await;
}

async fn x10_a_customer_sync_job_that_stands_still_is_told(database: Database) {
    let limit = Duration::from_millis(100);
    let hq = Hq::with(hq_svc::Config { watchdog: limit, ..database.config() }).await;
    assert!(hq.status().await.stall.is_none());
    hq.upload("s1", vec![create(1, guid(1), "Ann", "Waits")]).await.unwrap();
    let stalled = async {
        loop {
            let status = hq.status().await;
            if let Some(stall) = status.stall {
                return (stall, status.sync_job_restarts);
            }
            tokio::task::yield_now().await;
        }
    };
    let (stall, restarts) =
        tokio::time::timeout(crate::harness::PATIENCE, stalled).await.expect("it is noticed");
    assert_eq!(stall.reason, "the customer sync job is held (rule X8)");
    assert!(stall.since.is_some() && restarts > 0);
    let findings = diagnose(&hq, "", "").await.unwrap();
    assert_eq!(asked(&findings, "Why does nothing move at headquarters?").rule, "X10");
    // Started anew it carries out what it is asked for, and all is well.
    assert_eq!(hq.convert().await, 1);
    let well = async {
        while hq.status().await.stall.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, well).await.expect("it is well");
    hq.stop().await;
}
