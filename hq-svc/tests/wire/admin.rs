//! `AdminService`, and what channels see of it.

use std::time::Duration;

use tillsync_proto::pb::{
    common::{ChannelStatus, Feature, FunctionalityProfile, Job, JobRun, Schedule},
    hq,
};
use tokio::time::timeout;
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

use crate::harness::{Database, Hq, PATIENCE, create, guid, on_both, refused, refused_call, schedule};

on_both!(
    x8_a_stream_brings_orders_at_once_and_as_they_change,
    x8_a_held_job_runs_when_it_is_asked_to,
    run_job_waits_for_the_channels_report,
    run_job_for_all_waits_for_those_that_are_connected,
    x9_sessions_have_pages,
    f1_f2_profiles_and_flags_are_switched,
    z1_bad_settings_are_refused,
    s2_the_status_tells_what_is,
);

async fn watch(hq: &Hq, channel: &str) -> Streaming<hq::WatchJobsResponse> {
    let request = hq::WatchJobsRequest { channel_id: channel.to_owned() };
    hq.exchange.clone().watch_jobs(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<hq::WatchJobsResponse>) -> (Schedule, u64) {
    let order = timeout(PATIENCE, stream.message()).await.expect("in time").unwrap().expect("an order");
    (order.schedule.unwrap(), order.run_request)
}

async fn four(stream: &mut Streaming<hq::WatchJobsResponse>) -> Vec<(Schedule, u64)> {
    let mut orders = Vec::new();
    for _ in 0..4 {
        orders.push(next(stream).await);
    }
    orders
}

async fn x8_a_stream_brings_orders_at_once_and_as_they_change(database: Database) {
    let hq = Hq::start(&database).await;
    let mut stream = watch(&hq, "s1").await;
    let jobs: Vec<Job> = four(&mut stream).await.into_iter().map(|(schedule, _)| schedule.job()).collect();
    let channels_jobs =
        [Job::Upload, Job::Customers1010, Job::ChannelConfiguration1070, Job::GlobalConfiguration1110];
    assert_eq!(jobs, channels_jobs);
    let changed = schedule(Job::Customers1010, 77, true);
    hq.set_schedule(changed).await;
    assert_eq!(next(&mut stream).await, (changed, 0));
    // What is set to what it is changes nothing, and is not sent.
    hq.set_schedule(changed).await;
    hq.set_schedule(schedule(Job::Upload, 55, false)).await;
    assert_eq!(next(&mut stream).await.0, schedule(Job::Upload, 55, false));
    let mut late = watch(&hq, "s2").await;
    assert!(four(&mut late).await.contains(&(changed, 0)));
    let request = hq::ListSchedulesRequest {};
    let all = hq.admin.clone().list_schedules(request).await.unwrap().into_inner().schedules;
    assert_eq!(all.len(), 5);
    assert!(all.contains(&changed));
    hq.stop().await;
}

async fn x8_a_held_job_runs_when_it_is_asked_to(database: Database) {
    let hq = Hq::start(&database).await;
    hq.upload("s1", vec![create(1, guid(1), "Ann", "Held")]).await.unwrap();
    assert_eq!(hq.convert().await, 1);
    assert_eq!(hq.get(guid(1)).await.unwrap().customer.unwrap().account_number, "C-00000001");
    assert_eq!(hq.convert().await, 0, "again without harm");
    // No longer held, it runs by itself.
    hq.set_schedule(schedule(Job::CustomerSync, 50, false)).await;
    hq.upload("s1", vec![create(2, guid(2), "Bob", "Driven")]).await.unwrap();
    let arrived = async {
        while hq.get(guid(2)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, arrived).await.expect("the job drives itself");
    hq.stop().await;
}

async fn report(hq: &Hq, channel: &str, run_request: u64) {
    let run = JobRun {
        job: Job::Upload.into(),
        run_request,
        start_time: Some(prost_types::Timestamp { seconds: 1_000 + run_request.cast_signed(), nanos: 0 }),
        elapsed: Some(prost_types::Duration { seconds: 0, nanos: 5_000 }),
        rows: 3,
        error: "the disk is full".to_owned(),
        bytes: 300,
        ..JobRun::default()
    };
    let status = Some(ChannelStatus { channel_id: channel.to_owned(), ..Default::default() });
    let request = hq::ReportStatusRequest { status, ended_runs: vec![run], running: Vec::new() };
    hq.exchange.clone().report_status(request).await.unwrap();
}

async fn run_job_waits_for_the_channels_report(database: Database) {
    let hq = std::sync::Arc::new(Hq::start(&database).await);
    refused(hq.run(Job::Upload, "s1").await, Code::NotFound, "NOT_FOUND");
    let mut stream = watch(&hq, "s1").await;
    four(&mut stream).await;
    for number in 1..=2 {
        let asking = tokio::spawn({
            let hq = std::sync::Arc::clone(&hq);
            async move { hq.run(Job::Upload, "s1").await }
        });
        let (schedule, asked) = next(&mut stream).await;
        assert_eq!((schedule.job(), asked), (Job::Upload, number));
        // A run of another request, or of another channel, is not the one.
        report(&hq, "s2", number).await;
        report(&hq, "s1", 0).await;
        assert!(!asking.is_finished());
        report(&hq, "s1", number).await;
        let sessions = timeout(PATIENCE, asking).await.expect("it ends").unwrap().unwrap();
        assert_eq!((sessions.len(), sessions[0].channel_id.as_str()), (1, "s1"));
        let run = sessions[0].run.clone().unwrap();
        assert_eq!((run.run_request, run.rows, run.error.as_str()), (number, 3, "the disk is full"));
        assert_eq!(run.elapsed.unwrap().nanos, 5_000);
    }
    for (job, channel, field) in [(0, "s1", "job"), (77, "s1", "job"), (1, "a b", "channel_id")] {
        let request = hq::RunJobRequest { job, channel_id: channel.to_owned() };
        let call = hq.admin.clone().run_job(request).await;
        assert_eq!(refused_call(call, Code::InvalidArgument, "INVALID_FIELD"), [field]);
    }
}

async fn run_job_for_all_waits_for_those_that_are_connected(database: Database) {
    let hq = std::sync::Arc::new(Hq::start(&database).await);
    report(&hq, "asleep", 0).await;
    assert_eq!(hq.run(Job::Upload, "").await.unwrap(), [], "nobody listens");
    let mut streams = [watch(&hq, "s1").await, watch(&hq, "s2").await];
    for stream in &mut streams {
        four(stream).await;
    }
    let asking = tokio::spawn({
        let hq = std::sync::Arc::clone(&hq);
        async move { hq.run(Job::Upload, "").await }
    });
    for (stream, channel) in streams.iter_mut().zip(["s1", "s2"]) {
        let (_, asked) = next(stream).await;
        report(&hq, channel, asked).await;
    }
    let sessions = timeout(PATIENCE, asking).await.expect("it ends").unwrap().unwrap();
    let mut channels: Vec<_> = sessions.into_iter().map(|session| session.channel_id).collect();
    channels.sort();
    assert_eq!(channels, ["s1", "s2"]);
    // A channel that goes is no longer connected.
    drop(streams);
    let gone = async {
        while hq.status().await.channels.iter().any(|channel| channel.connected) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("they are gone");
}

async fn x9_sessions_have_pages(database: Database) {
    let hq = Hq::start(&database).await;
    for n in 1..=5 {
        report(&hq, "s1", n).await;
    }
    hq.convert().await;
    let list = async |page_size, page_token: &str| {
        let request = hq::ListSessionsRequest { page_size, page_token: page_token.to_owned() };
        hq.admin.clone().list_sessions(request).await.map(tonic::Response::into_inner)
    };
    let first = list(4, "").await.unwrap();
    let second = list(4, &first.next_page_token).await.unwrap();
    assert_eq!(second.next_page_token, "");
    let sessions: Vec<_> = first.sessions.iter().chain(&second.sessions).collect();
    assert_eq!(sessions.len(), 6);
    assert_eq!(sessions[0].run.as_ref().unwrap().job(), Job::CustomerSync, "newest first");
    assert_eq!(sessions[0].channel_id, "");
    let requests: Vec<u64> =
        sessions[1..].iter().map(|session| session.run.as_ref().unwrap().run_request).collect();
    assert_eq!(requests, [5, 4, 3, 2, 1]);
    refused(list(0, "nonsense").await, Code::InvalidArgument, "BAD_PAGE_TOKEN");
    refused(list(1_001, "").await, Code::InvalidArgument, "INVALID_FIELD");
    hq.stop().await;
}

fn profile(millis: i32) -> FunctionalityProfile {
    let timeout = prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 };
    FunctionalityProfile {
        create_customer_async: true,
        rts_timeout: Some(timeout),
        ..FunctionalityProfile::default()
    }
}

async fn f1_f2_profiles_and_flags_are_switched(database: Database) {
    let hq = Hq::start(&database).await;
    let channel_id = || "s1".to_owned();
    let get = async || {
        let request = hq::GetProfileRequest { channel_id: channel_id() };
        let got = hq.admin.clone().get_profile(request).await.unwrap().into_inner();
        (got.version, got.profile.unwrap())
    };
    assert_eq!(get().await.0, 1);
    let request =
        hq::UpdateProfileRequest { channel_id: channel_id(), profile: Some(profile(250)), from_version: 0 };
    let set = hq.admin.clone().update_profile(request).await.unwrap().into_inner();
    assert_eq!(set.version, 2);
    assert_eq!(get().await, (2, profile(250)));
    // Made from a version that is no longer the present one, it would undo somebody else's change.
    let stale =
        hq::UpdateProfileRequest { channel_id: channel_id(), profile: Some(profile(300)), from_version: 1 };
    refused_call(hq.admin.clone().update_profile(stale).await, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(get().await, (2, profile(250)));
    let request =
        hq::GetConfigurationRequest { channel_id: channel_id(), job: Job::ChannelConfiguration1070.into() };
    let carried = hq.exchange.clone().get_configuration(request).await.unwrap().into_inner();
    assert_eq!((carried.version, carried.profile), (2, Some(profile(250))));

    let flag = async |enabled| {
        let request = hq::UpdateFlagRequest { feature: Feature::EnhancedAsyncCreate.into(), enabled };
        hq.admin.clone().update_flag(request).await.unwrap().into_inner().version
    };
    assert_eq!((flag(true).await, flag(true).await, flag(false).await, flag(true).await), (2, 2, 3, 4));
    let flags = hq.admin.clone().list_flags(hq::ListFlagsRequest {}).await.unwrap().into_inner();
    assert_eq!(flags.version, 4);
    let on: Vec<i32> = flags.flags.iter().filter(|flag| flag.enabled).map(|flag| flag.feature).collect();
    assert_eq!((on, flags.flags.len()), (vec![Feature::EnhancedAsyncCreate.into()], 5));
    let request = hq::UpdateFlagRequest { feature: Feature::AsyncEdit.into(), enabled: true };
    let refused = hq.admin.clone().update_flag(request).await.unwrap_err();
    assert_eq!(refused.message(), "E3 cannot be switched on; off are: E0, E1");
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((refused.code(), info.reason.as_str()), (Code::FailedPrecondition, "FLAGS_IN_THE_WAY"));
    assert_eq!(
        (&*info.metadata["missing"], &*info.metadata["lifted_by"]),
        ("E0, E1 on", "switching E0, E1 on")
    );
    hq.stop().await;
}

async fn z1_bad_settings_are_refused(database: Database) {
    let hq = Hq::start(&database).await;
    let admin = || hq.admin.clone();
    for (channel, given, field) in [
        ("", Some(profile(100)), "channel_id"),
        ("s1", None, "profile"),
        ("s1", Some(profile(9)), "profile.rts_timeout"),
        ("s1", Some(FunctionalityProfile { rts_timeout: None, ..profile(1) }), "profile.rts_timeout"),
    ] {
        let request =
            hq::UpdateProfileRequest { channel_id: channel.to_owned(), profile: given, from_version: 0 };
        let call = admin().update_profile(request).await;
        assert_eq!(refused_call(call, Code::InvalidArgument, "INVALID_FIELD"), [field]);
    }
    for feature in [0, 1, 99] {
        let call = admin().update_flag(hq::UpdateFlagRequest { feature, enabled: true }).await;
        assert_eq!(refused_call(call, Code::InvalidArgument, "INVALID_FIELD"), ["feature"]);
    }
    let jitter = |jitter| Schedule { jitter, ..schedule(Job::Upload, 100, false) };
    for (given, fields) in [
        (None, vec!["schedule"]),
        (Some(schedule(Job::Unspecified, 100, false)), vec!["schedule.job"]),
        (Some(schedule(Job::Upload, 49, false)), vec!["schedule.interval"]),
        (Some(jitter(f64::NAN)), vec!["schedule.jitter"]),
        (Some(Schedule { interval: None, ..jitter(1.5) }), vec!["schedule.interval", "schedule.jitter"]),
    ] {
        let call = admin().update_schedule(hq::UpdateScheduleRequest { schedule: given }).await;
        assert_eq!(refused_call(call, Code::InvalidArgument, "INVALID_FIELD"), fields);
    }
    let request = hq::WatchJobsRequest { channel_id: "a b".to_owned() };
    let call = hq.exchange.clone().watch_jobs(request).await.map(|_| ());
    assert_eq!(refused(call, Code::InvalidArgument, "INVALID_FIELD"), ["channel_id"]);
    hq.stop().await;
}

async fn s2_the_status_tells_what_is(database: Database) {
    let hq = Hq::start(&database).await;
    hq.create(guid(1), "Ann", "Sync").await.unwrap();
    hq.upload("s1", vec![create(1, guid(2), "Bob", "Async"), create(2, guid(3), "\0", "Bad")]).await.unwrap();
    let before = hq.status().await;
    assert_eq!((before.customers, before.head_version), (1, 1));
    assert_eq!((before.arrivals_waiting, before.arrivals_set_aside), (1, 1));
    assert!(before.conversions_per_second.abs() < f64::EPSILON);
    hq.convert().await;
    let mut stream = watch(&hq, "s1").await;
    four(&mut stream).await;
    let after = hq.status().await;
    assert_eq!((after.arrivals_waiting, after.arrivals_completed), (0, 1));
    assert!(after.conversions_per_second > 0.0);
    assert_eq!(after.epoch, before.epoch);
    let channel = &after.channels[0];
    assert!(channel.connected);
    let contact = Duration::try_from(channel.last_contact.unwrap()).unwrap();
    assert!(contact < PATIENCE, "{contact:?}");
    hq.stop().await;
}
