//! Channels, profiles, flags, schedules, requests to run, sessions.

use std::time::Duration;

use tillsync_proto::{Feature, FunctionalityProfile, Job, Micros, Schedule};

use super::{TestStore, channel, on_both};
use crate::store::{MAX_CHANNELS, MAX_SESSIONS, Session, Switched};

on_both!(
    z3_channels_are_bounded,
    f2_a_profile_has_a_version_that_changes_with_it,
    f2_flags_have_a_version_that_changes_with_them,
    f1_a_flag_waits_for_those_it_needs,
    x8_schedules_are_there_from_the_start_and_can_be_changed,
    requests_to_run_are_counted_for_each_channel,
    x9_sessions_are_bounded_and_newest_first,
    x9_a_run_reported_twice_is_kept_once,
    s2_what_a_channel_says_of_itself_is_kept,
);

async fn z3_channels_are_bounded(store: impl TestStore) {
    assert!(store.register_channel(&channel("first")).await.unwrap());
    assert!(store.register_channel(&channel("first")).await.unwrap(), "it is known");
    let most = MAX_CHANNELS - 1;
    store
        .meddle(&format!(
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < {most}) \
             insert into channels (id) select 'c' || i from n"
        ))
        .await;
    assert!(!store.register_channel(&channel("one-too-many")).await.unwrap());
    assert!(store.register_channel(&channel("first")).await.unwrap());
    assert_eq!(store.channels().await.unwrap().len(), MAX_CHANNELS);
}

async fn f2_a_profile_has_a_version_that_changes_with_it(store: impl TestStore) {
    let s1 = channel("s1");
    assert_eq!(store.profile(&s1).await.unwrap(), (FunctionalityProfile::default(), 1));
    store.register_channel(&s1).await.unwrap();
    assert_eq!(store.set_profile(&s1, FunctionalityProfile::default()).await.unwrap(), 1);
    let profile = FunctionalityProfile {
        create_customer_async: true,
        rts_timeout: Duration::from_millis(1_234),
        ..FunctionalityProfile::default()
    };
    assert_eq!(store.set_profile(&s1, profile).await.unwrap(), 2);
    assert_eq!(store.set_profile(&s1, profile).await.unwrap(), 2, "nothing changed");
    assert_eq!(store.profile(&s1).await.unwrap(), (profile, 2));
    assert_eq!(store.profile(&channel("s2")).await.unwrap().1, 1);
}

async fn f2_flags_have_a_version_that_changes_with_them(store: impl TestStore) {
    let (flags, version) = store.flags().await.unwrap();
    assert!(!flags.has(Feature::E2) && version == 1);
    assert_eq!(store.set_flag(Feature::E2, true).await.unwrap(), Switched::Done(2));
    assert_eq!(store.set_flag(Feature::E2, true).await.unwrap(), Switched::Done(2));
    let (flags, version) = store.flags().await.unwrap();
    assert!(flags.has(Feature::E2) && version == 2);
}

async fn f1_a_flag_waits_for_those_it_needs(store: impl TestStore) {
    let refused = store.set_flag(Feature::E3, true).await.unwrap();
    assert_eq!(refused, Switched::InTheWay(vec![Feature::E0, Feature::E1, Feature::E2]));
    for (n, feature) in (2..).zip([Feature::E0, Feature::E1, Feature::E2, Feature::E3]) {
        assert_eq!(store.set_flag(feature, true).await.unwrap(), Switched::Done(n));
    }
    let refused = store.set_flag(Feature::E1, false).await.unwrap();
    assert_eq!(refused, Switched::InTheWay(vec![Feature::E3]));
    assert_eq!(store.flags().await.unwrap().1, 5, "a refusal changes nothing");
}

async fn x8_schedules_are_there_from_the_start_and_can_be_changed(store: impl TestStore) {
    assert_eq!(store.schedules().await.unwrap().len(), Job::ALL.len());
    let held = Schedule { held: true, jitter: 0.5, ..Schedule::default_for(Job::Customers1010) };
    store.set_schedule(held).await.unwrap();
    let schedules = store.schedules().await.unwrap();
    assert_eq!(schedules.len(), Job::ALL.len());
    assert!(schedules.contains(&held));
}

async fn requests_to_run_are_counted_for_each_channel(store: impl TestStore) {
    let both = ["s1".to_owned(), "s2".to_owned()];
    let mut first = store.request_runs(Job::Upload, &both).await.unwrap();
    first.sort();
    assert_eq!(first, [("s1".to_owned(), 1), ("s2".to_owned(), 1)]);
    assert_eq!(store.request_runs(Job::Upload, &both[..1]).await.unwrap(), [("s1".to_owned(), 2)]);
    assert_eq!(store.request_runs(Job::CustomerSync, &[String::new()]).await.unwrap()[0].1, 1);
    assert_eq!(store.request_runs(Job::Upload, &[]).await.unwrap(), []);
    let all = store.run_requests().await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[&(Job::Upload, "s1".to_owned())], 2);
}

fn session(name: &str, n: u64) -> Session {
    Session {
        channel: (!name.is_empty()).then(|| channel(name)),
        job: if name.is_empty() { Job::CustomerSync } else { Job::Upload },
        run_request: n,
        started_at: Micros(i64::try_from(n).unwrap()),
        elapsed: Duration::from_micros(n),
        rows: n % 2,
        error: String::new(),
    }
}

async fn x9_sessions_are_bounded_and_newest_first(store: impl TestStore) {
    store.register_channel(&channel("s1")).await.unwrap();
    let most = u64::try_from(MAX_SESSIONS).unwrap();
    for hundred in 0..most / 100 + 1 {
        let runs: Vec<_> = (1..=100).map(|n| session("s1", hundred * 100 + n)).collect();
        store.report(&channel("s1"), Vec::new(), &runs, Micros(1)).await.unwrap();
    }
    let page = store.sessions(None, 1).await.unwrap();
    assert_eq!(page[0].1, session("s1", most + 100));
    let rest = store.sessions(Some(page[0].0), 5_000).await.unwrap();
    assert_eq!(rest.len() as u64, most - 1, "the oldest are gone");
    assert!(rest.windows(2).all(|pair| pair[0].0 > pair[1].0));
    assert_eq!(rest.last().unwrap().1, session("s1", 101));
    let found = store.session_of(Job::Upload, "s1", 500).await.unwrap().unwrap();
    assert_eq!(found, session("s1", 500));
    assert_eq!(store.session_of(Job::Upload, "s1", most + 101).await.unwrap(), None);
    assert_eq!(store.session_of(Job::Customers1010, "s1", 1).await.unwrap(), None);
    assert_eq!(store.last_conversion().await.unwrap(), None);
    for n in [3, 4] {
        store.add_session(&session("", n)).await.unwrap();
    }
    assert_eq!(store.last_conversion().await.unwrap(), Some(session("", 3)), "4 moved no rows");
}

async fn x9_a_run_reported_twice_is_kept_once(store: impl TestStore) {
    store.register_channel(&channel("s1")).await.unwrap();
    for _ in 0..2 {
        store.report(&channel("s1"), Vec::new(), &[session("s1", 1)], Micros(1)).await.unwrap();
    }
    assert_eq!(store.sessions(None, 10).await.unwrap().len(), 1);
}

async fn s2_what_a_channel_says_of_itself_is_kept(store: impl TestStore) {
    for name in ["s2", "s1"] {
        store.register_channel(&channel(name)).await.unwrap();
    }
    store.report(&channel("s1"), vec![1, 0, 255], &[], Micros(77)).await.unwrap();
    let rows = store.channels().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    assert_eq!((rows[0].last_contact_at, rows[0].status.as_deref()), (Some(77), Some(&[1, 0, 255][..])));
    assert_eq!((rows[1].last_contact_at, rows[1].status.as_deref()), (None, None));
}
