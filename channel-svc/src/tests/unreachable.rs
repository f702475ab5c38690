//! Headquarters that cannot be reached, that refuses, and whose answer is lost (rules M4 to M6, Z2).

use std::time::Duration;

use service_kit::timing;
use tillsync_proto::pb::{
    channel::{CreateCustomerRequest, CreatePath},
    common::{FunctionalityProfile, Job, SyncState},
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    headquarters::{FakeHq, Fault, everybody, profile},
    shop::{Place, Shop, guid, metadata, person, reason},
};
use crate::breaker::{CIRCUIT_OPEN, TRIPS};

const COMMUNICATION: [Code; 3] = [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted];

#[tokio::test(flavor = "multi_thread")]
async fn m5_every_communication_failure_goes_async_under_the_same_guid() {
    for place in Place::both("m5").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        for code in COMMUNICATION {
            hq.state().fault = Some(Fault::Answer(Status::new(code, "no")));
            let id = guid();
            let created = shop.create(&id, person("ann")).await.unwrap();
            assert_eq!(created.path(), CreatePath::AsyncFallback, "{code:?}");
            assert_eq!(created.fallback_cause, service_kit::problem::code_name(code));
            assert_eq!(created.customer.unwrap().customer_id, id);
            // M9: the repeat has the same answer, and asks nobody, also when headquarters is back.
            hq.state().fault = None;
            let calls = hq.state().calls.len();
            let repeat = shop.create(&id, person("ann")).await.unwrap();
            assert_eq!(repeat.path(), CreatePath::AsyncFallback);
            assert_eq!(repeat.fallback_cause, service_kit::problem::code_name(code));
            assert_eq!(hq.state().calls.len(), calls);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_a_business_refusal_is_passed_on_and_never_goes_async() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    for code in (1..=16).map(Code::from).filter(|code| !COMMUNICATION.contains(code)) {
        let details = tonic_types::ErrorDetails::with_error_info(
            "NUMBERS_EXHAUSTED",
            "tillsync",
            [("sequence".to_owned(), "customers".to_owned())],
        );
        hq.state().fault = Some(Fault::Answer(Status::with_error_details(code, "no", details)));
        let refused = shop.create("", person("ann")).await.unwrap_err();
        assert_eq!(refused.code(), code);
        assert_eq!(reason(&refused), "NUMBERS_EXHAUSTED");
        assert_eq!(metadata(&refused, "sequence"), "customers");
    }
    assert_eq!(shop.status().await.logged_counter, 0);
    assert!(shop.list().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn m5_no_connection_and_a_broken_one_go_async() {
    let hq = FakeHq::start().await;
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let place = Place::sqlite();
    let shop = Shop::open(&place, &format!("http://{address}"), &hq.url()).await;
    let created = shop.create("", person("ann")).await.unwrap();
    assert_eq!((created.path(), created.fallback_cause.as_str()), (CreatePath::AsyncFallback, "UNAVAILABLE"));

    // This one takes the call, and goes away.
    let breaking = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = breaking.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = breaking.accept().await {
            let mut some = [0; 512];
            let _ = stream.read(&mut some).await;
        }
    });
    let place = Place::sqlite();
    let shop = Shop::open(&place, &format!("http://{address}"), &hq.url()).await;
    let created = shop.create("", person("ann")).await.unwrap();
    assert_eq!(created.path(), CreatePath::AsyncFallback);
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_without_the_fallback_the_failure_is_the_callers() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    hq.set_profile(profile(false, false)).await;
    for (code, expected) in [
        (Code::Unavailable, "HQ_UNREACHABLE"),
        (Code::DeadlineExceeded, "HQ_UNREACHABLE"),
        (Code::ResourceExhausted, "OVERLOADED"),
    ] {
        let details = tonic_types::ErrorDetails::with_retry_info(Some(Duration::from_millis(750)));
        hq.state().fault = Some(Fault::Answer(Status::with_error_details(code, "no", details)));
        let failed = shop.create("", person("ann")).await.unwrap_err();
        assert_eq!((failed.code(), reason(&failed).as_str()), (code, expected));
        let hint = failed.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(hint, Some(Duration::from_millis(750)));
    }
    assert!(shop.list().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn m6_a_lost_answer_never_makes_a_second_customer() {
    for place in Place::both("m6").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        hq.state().fault = Some(Fault::Lost(Status::unavailable("the link broke")));
        let id = guid();
        let created = shop.create(&id, person("ann")).await.unwrap();
        assert_eq!(created.path(), CreatePath::AsyncFallback);
        let number = hq.state().record(&id).unwrap().customer.unwrap().account_number;
        shop.indexed().await;
        // The upload is answered with the number that is there already, and that is applied at once.
        assert_eq!(hq.run(Job::Upload).await.error, "");
        let customer = shop.get(&number).await.unwrap();
        assert_eq!((customer.customer_id.as_str(), customer.sync_state()), (id.as_str(), SyncState::Synced));
        hq.chain().await;
        assert!(everybody(&hq).iter().eq([&id]));
        assert_eq!(shop.list().await.len(), 1);
        // The answer given before is given again.
        let repeat = shop.create(&id, person("ann")).await.unwrap();
        assert_eq!(repeat.path(), CreatePath::AsyncFallback);
        assert_eq!(repeat.customer.unwrap().account_number, number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn z2_the_callers_deadline_is_kept_and_leaves_time_for_the_fallback() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    let patient = |async_fallback| {
        let rts_timeout = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        FunctionalityProfile { rts_timeout, ..profile(false, async_fallback) }
    };
    hq.set_profile(patient(true)).await;
    hq.state().fault = Some(Fault::Silence);
    let limit = Duration::from_secs(2);
    let created = shop.create_within("", person("ann"), limit).await.unwrap();
    assert_eq!(created.path(), CreatePath::AsyncFallback);
    assert_eq!(created.fallback_cause, "DEADLINE_EXCEEDED");
    // Less than the profile's minute, and less than what the caller gave.
    let timeout = hq.state().calls[0].timeout.unwrap();
    assert!(timeout <= limit - Duration::from_millis(100), "{timeout:?}");

    hq.set_profile(patient(false)).await;
    let failed = shop.create_within("", person("bob"), limit).await.unwrap_err();
    assert_eq!((failed.code(), reason(&failed).as_str()), (Code::DeadlineExceeded, "HQ_UNREACHABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_a_fallback_that_cannot_travel_is_refused_with_its_cause() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    hq.state().fault = Some(Fault::Answer(Status::unavailable("no")));
    let mut customer = person("ann");
    customer.affiliations.push("staff".to_owned());
    let refused = shop.create("", customer.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "NEEDS_ENHANCED_ASYNC_CREATE");
    assert_eq!(metadata(&refused, "cause"), "UNAVAILABLE");
    assert!(shop.list().await.is_empty());
    hq.state().fault = None;
    assert_eq!(shop.create("", customer).await.unwrap().path(), CreatePath::Sync);
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_a_caller_that_goes_away_undoes_nothing() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    let id = guid();
    hq.state().fault = Some(Fault::Silence);
    let gone = shop.create_within(&id, person("ann"), Duration::from_secs(20));
    // The call has reached headquarters; then the till hangs up.
    tokio::select! {
        _ = gone => panic!("headquarters is silent"),
        () = async { while hq.state().calls.is_empty() { tokio::task::yield_now().await } } => {}
    }
    let mut watch = super::watch::watch(&shop, &id, true).await;
    let customer = watch.message().await.unwrap().unwrap().customer.unwrap();
    assert_eq!(customer.sync_state(), SyncState::Pending, "the fallback is kept under the same GUID");
}

#[tokio::test(flavor = "multi_thread")]
async fn m10_creates_stop_waiting_for_a_headquarters_that_keeps_failing() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    let breaker = async || shop.status().await.circuit_breaker.unwrap();
    let circuit = FunctionalityProfile { circuit_breaker: true, ..profile(false, true) };
    hq.set_profile(circuit.clone()).await;
    hq.state().fault = Some(Fault::Answer(Status::failed_precondition("no")));
    for _ in 0..=TRIPS {
        shop.create("", person("ann")).await.unwrap_err();
    }
    assert_eq!(breaker().await.failures, 0, "a refusal is an answer");

    hq.state().fault = Some(Fault::Answer(Status::unavailable("no")));
    for failures in 1..=TRIPS {
        let created = shop.create("", person("ann")).await.unwrap();
        assert_eq!(created.fallback_cause, "UNAVAILABLE");
        assert!(breaker().await.failures >= failures);
    }
    assert!(breaker().await.open && breaker().await.open_time.is_some());
    let created = shop.create("", person("bob")).await.unwrap();
    assert_eq!((created.path(), &*created.fallback_cause), (CreatePath::AsyncFallback, CIRCUIT_OPEN));
    let request = CreateCustomerRequest { customer: Some(person("bea")), ..Default::default() };
    let answer = shop.tills.clone().create_customer(request).await.unwrap();
    assert_eq!(answer.get_ref().fallback_cause, CIRCUIT_OPEN);
    assert!(timing::told(answer.metadata(), "rts").is_none(), "nobody was called: {:?}", answer.metadata());

    // Without the fallback there is nowhere else to go: headquarters is asked.
    hq.set_profile(FunctionalityProfile { async_fallback: false, ..circuit.clone() }).await;
    let refused = shop.create("", person("cleo")).await.unwrap_err();
    assert_eq!(metadata(&refused, "cause"), "UNAVAILABLE");
    hq.set_profile(circuit).await;

    hq.state().fault = None;
    while breaker().await.open {
        tokio::task::yield_now().await;
    }
    assert_eq!(shop.create("", person("dora")).await.unwrap().path(), CreatePath::Sync);
}
