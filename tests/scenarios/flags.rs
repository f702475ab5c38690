//! Flags on their way, edits without calls, a store that joins late, and every refusal, from the outside.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::FieldMask;
use service_kit::problem::{metadata, reason};
use tillsync_proto::{
    Reason as ErrorReason,
    pb::{
        channel::{
            CreateAddressRequest, IssueLoyaltyCardRequest, ListCustomersRequest, Scope, UpdateCustomerRequest,
        },
        common::{Address, Customer, Feature, Job, JobRun, Person, SessionState, customer::Party},
        emulator::{
            EndOutageRequest, GetFiguresRequest, StartOutageRequest,
            UpdateProfileRequest as UpdateEmulatorRequest,
        },
        hq::{
            self, CreateCustomerRequest, DiagnoseRequest, Finding, ListSessionsRequest,
            ListSyncStatusesRequest, SyncStatus, real_time_service_client::RealTimeServiceClient,
        },
    },
    reason_name,
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    architecture,
    chain::{Chain, found, on_both_databases},
    client::{Headquarters, Store, mint, person, until},
};

on_both_databases!(
    e0_e3_a_flag_has_no_effect_before_its_job_and_the_doctor_says_so,
    x11_two_stores_edit_the_same_field_and_headquarters_order_decides,
    c4_an_async_customer_is_found_elsewhere_once_1010_has_brought_it,
    x7_a_store_that_joins_late_gets_a_snapshot_and_no_history,
    l4_every_refusal_of_a_store_says_what_is_missing_and_what_lifts_it,
);

async fn switch(hq: &Headquarters, feature: Feature) -> Result<(), Status> {
    let request = hq::UpdateFlagRequest { feature: feature.into(), enabled: true };
    hq.admin.clone().update_flag(request).await.map(drop)
}

/// Switches everything on that E3 needs, E3, and the audit.
async fn switch_all(hq: &Headquarters) {
    for feature in [
        Feature::OrderPerformance,
        Feature::AsyncAddresses,
        Feature::EnhancedAsyncCreate,
        Feature::AsyncEdit,
        Feature::OperationsAudit,
    ] {
        switch(hq, feature).await.expect("a flag");
    }
}

fn update(customer: &str, values: Customer, path: &str) -> UpdateCustomerRequest {
    let update_mask = Some(FieldMask { paths: vec![path.to_owned()] });
    UpdateCustomerRequest {
        customer: customer.to_owned(),
        values: Some(values),
        update_mask,
        validate_only: false,
    }
}

async fn edit(store: &Store, customer: Uuid, tax_id: &str) -> Result<Customer, Status> {
    let values = Customer { tax_id: tax_id.to_owned(), ..Customer::default() };
    let edited = store.tills.clone().update_customer(update(&customer.to_string(), values, "tax_id")).await?;
    Ok(edited.into_inner().customer.expect("a customer"))
}

/// Calls of the real-time service so far.
async fn calls(chain: &Chain) -> u64 {
    let figures = chain.emulator.clone().get_figures(GetFiguresRequest { reset: false }).await;
    figures.expect("figures").into_inner().arrived
}

async fn diagnose(chain: &Chain, channel: &str) -> Vec<Finding> {
    let request = DiagnoseRequest { channel_id: channel.to_owned(), customer: String::new() };
    chain.hq.admin.clone().diagnose(request).await.expect("findings").into_inner().findings
}

async fn e0_e3_a_flag_has_no_effect_before_its_job_and_the_doctor_says_so(chain: Chain) {
    let [here, there] = &chain.stores;
    let (real, pending) = (mint(), mint());
    here.create(real, person("real")).await.expect("a customer");
    chain.hq.set_mode(here, true, true).await;
    chain.hq.hold(true).await;
    here.create(pending, person("pending")).await.expect("a customer");
    // E0 alone changes nothing, and E3 needs it.
    switch(&chain.hq, Feature::OrderPerformance).await.expect("a flag");
    let refused = switch(&chain.hq, Feature::AsyncEdit).await.expect_err("E1 and E2 are off");
    assert_eq!(metadata(&refused, "missing").as_deref(), Some("E1, E2 on"));
    switch_all(&chain.hq).await;
    // On at headquarters, and without effect here.
    let before = calls(&chain).await;
    edit(here, real, "1").await.expect("an edit");
    assert_eq!(calls(&chain).await, before + 1);
    let refused = edit(here, pending, "1").await.expect_err("it is pending");
    assert_eq!(reason(&refused).as_deref(), Some("CUSTOMER_PENDING"));
    until("the doctor has heard", async || {
        let findings = diagnose(&chain, &here.id).await;
        findings.iter().any(|finding| {
            finding.question == "Why is E3 not in force in store-1?"
                && finding.rule == "F2"
                && finding.remedy == "tillsync hq run 1110 store-1"
                && finding.answer.contains("1110 at store-1 has to run; it is held")
        })
    })
    .await;
    chain.hq.run(Job::GlobalConfiguration1110, &here.id).await;
    let after = calls(&chain).await;
    for (id, text) in [(real, "2"), (pending, "3")] {
        assert_eq!(edit(here, id, text).await.expect("an edit").pending_edits, 1);
    }
    assert_eq!(calls(&chain).await, after, "no call");
    until("the doctor is content", async || {
        diagnose(&chain, &here.id)
            .await
            .iter()
            .all(|finding| !finding.question.contains("in force in store-1?"))
    })
    .await;
    chain.hq.hold(false).await;
    chain.audit(&BTreeSet::from([real, pending])).await;
    until("the edits are everywhere", async || {
        let mut all = true;
        for store in [here, there] {
            for (id, text) in [(real, "2"), (pending, "3")] {
                let known = store.get(&id.to_string()).await;
                all &= known.is_ok_and(|known| known.tax_id == text && known.pending_edits == 0);
            }
        }
        all
    })
    .await;
    chain.stop().await;
}

async fn x11_two_stores_edit_the_same_field_and_headquarters_order_decides(chain: Chain) {
    let [here, there] = &chain.stores;
    switch_all(&chain.hq).await;
    let id = mint();
    here.create(id, person("both")).await.expect("a customer");
    for store in [here, there] {
        chain.hq.run(Job::GlobalConfiguration1110, &store.id).await;
        chain.hq.run(Job::Customers1010, &store.id).await;
    }
    chain.hq.hold(true).await;
    edit(here, id, "here").await.expect("an edit");
    edit(there, id, "there").await.expect("an edit");
    // The later edit arrives first; headquarters' order is that of arrival.
    for store in [there, here] {
        chain.hq.run(Job::Upload, &store.id).await;
    }
    chain.hq.run(Job::CustomerSync, "").await;
    let request = ListSyncStatusesRequest { customer: id.to_string(), ..Default::default() };
    let list =
        chain.hq.admin.clone().list_sync_statuses(request).await.expect("a list").into_inner().operations;
    assert_eq!(list.len(), 2);
    assert_eq!((list[0].channel_id.as_str(), list[0].status()), (here.id.as_str(), SyncStatus::Succeeded));
    let lost = &list[0].overwritten[0];
    assert_eq!((lost.field.as_str(), lost.value_json.as_str()), ("tax_id", "\"there\""), "what lost is kept");
    assert!(list[1].overwritten.is_empty());
    chain.hq.hold(false).await;
    until("both stores say what headquarters says", async || {
        let mut all = true;
        for store in [here, there] {
            let known = store.get(&id.to_string()).await;
            all &= known.is_ok_and(|known| known.tax_id == "here" && known.pending_edits == 0);
        }
        all
    })
    .await;
    chain.stop().await;
}

async fn c4_an_async_customer_is_found_elsewhere_once_1010_has_brought_it(chain: Chain) {
    let [here, there] = &chain.stores;
    chain.hq.set_mode(here, true, true).await;
    chain.hq.hold(true).await;
    let id = mint();
    here.create(id, person("cleo")).await.expect("a customer");
    assert_eq!(found(here, "cleo@example.com", Scope::Store).await.len(), 1);
    chain.hq.run(Job::Upload, &here.id).await;
    assert!(found(there, "cleo@example.com", Scope::AllStores).await.is_empty(), "it is not real yet");
    chain.hq.run(Job::CustomerSync, "").await;
    assert_eq!(found(there, "cleo@example.com", Scope::AllStores).await.len(), 1, "real: the remote search");
    assert!(found(there, "cleo@example.com", Scope::Store).await.is_empty(), "not in the store");
    chain.hq.run(Job::Customers1010, &there.id).await;
    assert_eq!(found(there, "cleo@example.com", Scope::Store).await.len(), 1);
    assert!(!found(there, "cleo@example.com", Scope::Store).await[0].account_number.is_empty());
    chain.stop().await;
}

async fn x7_a_store_that_joins_late_gets_a_snapshot_and_no_history(mut chain: Chain) {
    const CUSTOMERS: usize = 5_000;
    let real_time = RealTimeServiceClient::connect(chain.hq_url.clone()).await.expect("headquarters");
    let mut creates = tokio::task::JoinSet::new();
    for caller in 0..50 {
        let mut real_time = real_time.clone();
        creates.spawn(async move {
            for n in 0..CUSTOMERS / 50 {
                let customer =
                    Customer { customer_id: mint().to_string(), ..person(&format!("c{caller}-{n}")) };
                let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
                real_time.create_customer(request).await.expect("a customer");
            }
        });
    }
    creates.join_all().await;
    let late = chain.join("store-3").await;
    until("the snapshot is there", async || {
        late.status()
            .await
            .is_ok_and(|status| status.customers == CUSTOMERS as u64 && status.feed_lag_rows == 0)
    })
    .await;
    let sessions = async || {
        let list =
            chain.hq.admin.clone().list_sessions(ListSessionsRequest::default()).await.expect("a list");
        let list = list.into_inner().sessions.into_iter();
        let its = list.filter(|session| session.channel_id == late.id).filter_map(|session| session.run);
        its.filter(|run| run.job() == Job::Customers1010).collect::<Vec<_>>()
    };
    let rows = |runs: &[JobRun]| runs.iter().map(|run| run.rows).sum::<u64>();
    // It may have taken several sessions, and each is reported after it was applied.
    until("its sessions are reported", async || rows(&sessions().await) >= CUSTOMERS as u64).await;
    let runs = sessions().await;
    assert_eq!(rows(&runs), CUSTOMERS as u64, "each customer once");
    assert!(runs.iter().all(|run| run.state() == SessionState::Applied && run.elapsed.is_some()));
    assert!(runs.iter().map(|run| run.bytes).sum::<u64>() > 100 * CUSTOMERS as u64);
    assert_eq!(found(&late, "c0-0@example.com", Scope::Store).await.len(), 1);
    // And the tail.
    let id = mint();
    chain.stores[0].create(id, person("tail")).await.expect("a customer");
    until("the tail follows", async || late.get(&id.to_string()).await.is_ok()).await;
    chain.stop().await;
}

/// Refusals by their reason.
#[derive(Default)]
struct Refusals(BTreeMap<String, Status>);

impl Refusals {
    fn add(&mut self, status: Status) {
        let told = reason(&status).unwrap_or_else(|| panic!("no reason in {status:?}"));
        assert!(!status.message().is_empty());
        self.0.insert(told, status);
    }
}

async fn l4_every_refusal_of_a_store_says_what_is_missing_and_what_lifts_it(chain: Chain) {
    let [asynchronous, strict] = &chain.stores;
    chain.hq.set_mode(asynchronous, true, true).await;
    chain.hq.set_mode(strict, false, false).await;
    chain.hq.hold(true).await;
    let mut refusals = Refusals::default();
    refused_while_pending(asynchronous, &mut refusals).await;
    refused_for_what_is_there(strict, &mut refusals).await;
    refused_by_headquarters(&chain, strict, &mut refusals).await;
    for (told, code, lifted) in [
        ("INVALID_FIELD", Code::InvalidArgument, false),
        ("NOT_FOUND", Code::NotFound, false),
        ("GUID_TAKEN", Code::AlreadyExists, false),
        ("CUSTOMER_PENDING", Code::FailedPrecondition, true),
        ("NEEDS_ENHANCED_ASYNC_CREATE", Code::FailedPrecondition, true),
        ("ETAG_MISMATCH", Code::Aborted, false),
        ("BAD_PAGE_TOKEN", Code::InvalidArgument, false),
        ("CARD_TAKEN", Code::AlreadyExists, false),
        ("HQ_UNREACHABLE", Code::Unavailable, false),
        ("OUTAGE", Code::Unavailable, false),
        ("NUMBERS_EXHAUSTED", Code::FailedPrecondition, true),
        ("OVERLOADED", Code::ResourceExhausted, false),
    ] {
        let status = refusals.0.get(told);
        let status = status.unwrap_or_else(|| panic!("{told} was not reached: {:?}", refusals.0.keys()));
        assert_eq!(status.code(), code, "{told}");
        let says = |key| metadata(status, key).is_some_and(|text| !text.is_empty());
        assert_eq!((says("missing"), says("lifted_by")), (lifted, lifted), "{told}");
    }
    chain.stop().await;
}

fn card(customer: Uuid, number: &str) -> IssueLoyaltyCardRequest {
    let (customer, card_number) = (customer.to_string(), number.to_owned());
    IssueLoyaltyCardRequest { customer, card_number, ..Default::default() }
}

async fn refused_while_pending(store: &Store, refusals: &mut Refusals) {
    let pending = mint();
    store.create(pending, person("pending")).await.expect("a customer");
    refusals.add(edit(store, pending, "1").await.expect_err("L2"));
    refusals.add(store.tills.clone().issue_loyalty_card(card(pending, "")).await.expect_err("L1"));
    let address = Some(Address { city: "Oslo".to_owned(), ..Address::default() });
    let request = CreateAddressRequest { customer: pending.to_string(), address, validate_only: false };
    refusals.add(store.tills.clone().create_address(request).await.expect_err("L3, E1"));
    let name = Person { title: "Dr.".to_owned(), last_name: "No".to_owned(), ..Person::default() };
    let titled = Customer { party: Some(Party::Person(name)), ..person("titled") };
    refusals.add(store.create(mint(), titled).await.expect_err("L3, E2"));
}

async fn refused_for_what_is_there(store: &Store, refusals: &mut Refusals) {
    let (real, other) = (mint(), mint());
    let known = store.create(real, person("real")).await.expect("a customer").customer.expect("a customer");
    refusals.add(store.create(mint(), Customer::default()).await.expect_err("nothing in it"));
    refusals.add(store.get(&mint().to_string()).await.expect_err("nobody"));
    refusals.add(store.create(real, person("other")).await.expect_err("the GUID is taken"));
    let stale = Customer { etag: "stale".to_owned(), tax_id: "1".to_owned(), ..Customer::default() };
    let stale = update(&known.customer_id, stale, "tax_id");
    refusals.add(store.tills.clone().update_customer(stale).await.expect_err("the etag is another"));
    let request = ListCustomersRequest { page_token: "nonsense".to_owned(), ..Default::default() };
    refusals.add(store.tills.clone().list_customers(request).await.expect_err("no token"));
    store.create(other, person("card")).await.expect("a customer");
    store.tills.clone().issue_loyalty_card(card(other, "CARD-1")).await.expect("a card");
    refusals
        .add(store.tills.clone().issue_loyalty_card(card(real, "CARD-1")).await.expect_err("it is taken"));
}

/// Headquarters out, busy, and without numbers.
async fn refused_by_headquarters(chain: &Chain, store: &Store, refusals: &mut Refusals) {
    let mut emulator = chain.emulator.clone();
    emulator.start_outage(StartOutageRequest { duration: None }).await.expect("an outage");
    refusals.add(store.create(mint(), person("out")).await.expect_err("headquarters is out"));
    let mut real_time = RealTimeServiceClient::connect(chain.rts_url.clone()).await.expect("the emulator");
    let request = hq::GetCustomerRequest { customer: mint().to_string() };
    refusals.add(real_time.get_customer(request).await.expect_err("headquarters is out"));
    emulator.end_outage(EndOutageRequest {}).await.expect("its end");
    let fast = "workers = 4\nqueue_capacity = 100\nlongest_wait_ms = 1000.0\n\
                [service]\ndistribution = \"constant\"\nmean_ms = 1.0\n";
    let limited = format!("{fast}[rate_limits.overall]\nper_s = 0.001\nburst = 1\n");
    for (profile_toml, creates) in [(limited, 2), (fast.to_owned(), 0)] {
        let request = UpdateEmulatorRequest { profile_toml };
        emulator.update_profile(request).await.expect("a profile");
        for n in 0..creates {
            if let Err(status) = store.create(mint(), person(&format!("limited{n}"))).await {
                refusals.add(status);
            }
        }
    }
    // All numbers of one digit are given out.
    for n in 0..9 {
        store.create(mint(), person(&format!("n{n}"))).await.expect("a customer");
    }
    let kind = hq::NumberSequenceKind::Accounts.into();
    let accounts = hq::NumberSequence { kind, format: "C-#".to_owned(), ..Default::default() };
    let request = hq::UpdateNumberSequenceRequest { sequence: Some(accounts) };
    chain.hq.admin.clone().update_number_sequence(request).await.expect("a sequence");
    refusals.add(store.create(mint(), person("late")).await.expect_err("no numbers are left"));
}

/// Each reason that a caller can be given is asserted by a test from the outside. Not so a service that failed, and time
/// that ran out: a client ends its call at the same instant and sees its own timeout.
#[test]
fn l4_every_reason_is_reached_by_a_test() {
    let tests = ["service-kit", "channel-svc", "hq-svc", "rts-emulator", "tests", "bench"];
    let mut texts = String::new();
    for folder in tests {
        for (name, text) in architecture::files(folder, "rs") {
            if name.contains("test") {
                texts += &text;
            }
        }
    }
    let failures = [ErrorReason::Unspecified, ErrorReason::Internal, ErrorReason::Deadline];
    for number in 0..=64 {
        let Ok(told) = ErrorReason::try_from(number) else { continue };
        if !failures.contains(&told) {
            let named = [format!("\"{}\"", reason_name(told)), format!("Reason::{told:?}")];
            assert!(named.iter().any(|name| texts.contains(name)), "no test reaches {named:?}");
        }
    }
}
