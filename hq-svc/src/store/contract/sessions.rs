//! Requests to run, and sessions.

use std::time::Duration;

use tillsync_proto::{Job, JobRun, Micros, SessionState};

use super::{TestStore, channel, on_both, said};
use crate::store::{MAX_SESSION_AGE, MAX_SESSIONS, Session};

on_both!(
    requests_to_run_are_counted_for_each_channel,
    x9_sessions_are_bounded_and_newest_first,
    x9_a_run_reported_twice_is_kept_once,
    x9_old_sessions_go,
    x9_a_run_under_way_is_a_session_that_comes_further,
    x9_a_run_that_was_cut_off_has_failed,
    x9_what_was_asked_for_is_a_session_from_then_on,
    x9_a_session_is_canceled_while_it_is_open_or_has_failed,
);

async fn requests_to_run_are_counted_for_each_channel(store: impl TestStore) {
    let both = ["s1".to_owned(), "s2".to_owned()];
    let mut first = store.request_runs(Job::Upload, &both, Micros(9)).await.unwrap();
    first.sort();
    assert_eq!(first, [("s1".to_owned(), 1), ("s2".to_owned(), 1)]);
    assert_eq!(store.request_runs(Job::Upload, &both[..1], Micros(9)).await.unwrap(), [("s1".to_owned(), 2)]);
    assert_eq!(store.request_runs(Job::CustomerSync, &[String::new()], Micros(9)).await.unwrap()[0].1, 1);
    assert_eq!(store.request_runs(Job::Upload, &[], Micros(9)).await.unwrap(), []);
    let all = store.run_requests().await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[&(Job::Upload, "s1".to_owned())].request, 2);
}

fn session(name: &str, n: u64) -> Session {
    let job = if name.is_empty() { Job::CustomerSync } else { Job::Upload };
    let run = JobRun {
        run_request: n,
        started_at: Micros(i64::try_from(n).unwrap()),
        elapsed: Duration::from_micros(n),
        rows: n % 2,
        bytes: n * 3,
        state: SessionState::Applied,
        ..JobRun::new(job)
    };
    Session { seq: 0, channel: (!name.is_empty()).then(|| channel(name)), run }
}

/// A session without its place.
fn placeless(session: &Session) -> Session {
    Session { seq: 0, ..session.clone() }
}

async fn x9_sessions_are_bounded_and_newest_first(store: impl TestStore) {
    store.register_channel(&channel("s1")).await.unwrap();
    let most = u64::try_from(MAX_SESSIONS).unwrap();
    for hundred in 0..most / 100 + 1 {
        let runs: Vec<_> = (1..=100).map(|n| session("s1", hundred * 100 + n)).collect();
        store.report(&[said("s1", Vec::new(), &runs)], Micros(1)).await.unwrap();
    }
    let page = store.sessions(None, 1).await.unwrap();
    assert_eq!(placeless(&page[0]), session("s1", most + 100));
    let rest = store.sessions(Some(page[0].seq), 5_000).await.unwrap();
    assert_eq!(rest.len() as u64, most - 1, "the oldest are gone");
    assert!(rest.windows(2).all(|pair| pair[0].seq > pair[1].seq));
    assert_eq!(placeless(rest.last().unwrap()), session("s1", 101));
    let found = store.session_of(Job::Upload, "s1", 500).await.unwrap().unwrap();
    assert_eq!(placeless(&found), session("s1", 500));
    assert_eq!(store.session_of(Job::Upload, "s1", most + 101).await.unwrap(), None);
    assert_eq!(store.session_of(Job::Customers1010, "s1", 1).await.unwrap(), None);
    assert_eq!(store.last_conversion().await.unwrap(), None);
    for n in [3, 4] {
        store.add_session(&session("", n), Micros(1)).await.unwrap();
    }
    let last = store.last_conversion().await.unwrap().unwrap();
    assert_eq!(placeless(&last), session("", 3), "4 moved no rows");
}

async fn x9_a_run_reported_twice_is_kept_once(store: impl TestStore) {
    store.register_channel(&channel("s1")).await.unwrap();
    for _ in 0..2 {
        store.report(&[said("s1", Vec::new(), &[session("s1", 1)])], Micros(1)).await.unwrap();
    }
    assert_eq!(store.sessions(None, 10).await.unwrap().len(), 1);
}

async fn x9_old_sessions_go(store: impl TestStore) {
    store.add_session(&session("", 1), Micros(1)).await.unwrap();
    let late = Micros(MAX_SESSION_AGE + 5);
    let run = JobRun { started_at: late, ..session("", 2).run };
    store.add_session(&Session { run, ..session("", 2) }, late).await.unwrap();
    let left = store.sessions(None, 10).await.unwrap();
    assert_eq!(left.iter().map(|session| session.run.run_request).collect::<Vec<_>>(), [2]);
}

fn running(job: Job, start: i64, state: SessionState, rows: u64) -> Session {
    let run = JobRun { started_at: Micros(start), state, rows, ..JobRun::new(job) };
    Session { seq: 0, channel: Some(channel("s1")), run }
}

async fn x9_a_run_under_way_is_a_session_that_comes_further(store: impl TestStore) {
    store.register_channel(&channel("s1")).await.unwrap();
    store.request_runs(Job::Upload, &["s1".to_owned()], Micros(1)).await.unwrap();
    let mut seqs = Vec::new();
    for (now, rows, state) in
        [(2, 5, SessionState::Downloaded), (3, 9, SessionState::Downloaded), (4, 12, SessionState::Applied)]
    {
        let scheduled = running(Job::Customers1010, 7, state, rows);
        let mut asked = running(Job::Upload, 8, SessionState::Available, rows);
        asked.run.run_request = 1;
        store.report(&[said("s1", Vec::new(), &[asked, scheduled.clone()])], Micros(now)).await.unwrap();
        let all = store.sessions(None, 10).await.unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(placeless(&all[0]), scheduled);
        assert_eq!((all[1].run.state, all[1].run.rows), (SessionState::Available, rows));
        assert_eq!(store.session_of(Job::Upload, "s1", 1).await.unwrap(), None, "it has not ended");
        seqs.push(all[0].seq);
    }
    assert!(seqs.iter().all(|seq| *seq == seqs[0]), "one session all the time: {seqs:?}");
    // A report that was held up on its way does not open it again.
    let late = running(Job::Customers1010, 7, SessionState::Downloaded, 9);
    store.report(&[said("s1", Vec::new(), &[late])], Micros(5)).await.unwrap();
    let ended = store.session(seqs[0]).await.unwrap().unwrap();
    assert_eq!((ended.run.state, ended.run.rows), (SessionState::Applied, 12));
}

async fn x9_a_run_that_was_cut_off_has_failed(store: impl TestStore) {
    for name in ["s1", "s2"] {
        store.register_channel(&channel(name)).await.unwrap();
    }
    store.request_runs(Job::Upload, &["s1".to_owned()], Micros(1)).await.unwrap();
    let other =
        Session { channel: Some(channel("s2")), ..running(Job::Upload, 7, SessionState::Uploaded, 1) };
    store.report(&[said("s2", Vec::new(), &[other])], Micros(2)).await.unwrap();
    let both = [
        running(Job::Upload, 7, SessionState::Uploaded, 1),
        running(Job::Customers1010, 7, SessionState::Downloaded, 1),
    ];
    store.report(&[said("s1", Vec::new(), &both)], Micros(2)).await.unwrap();
    store.report(&[said("s1", Vec::new(), &[])], Micros(3)).await.unwrap();
    let all = store.sessions(None, 10).await.unwrap();
    let states: Vec<_> = all.iter().map(|session| session.run.state).collect();
    let (upload, download) = (SessionState::UploadFailed, SessionState::DownloadFailed);
    assert_eq!(states, [download, upload, SessionState::Uploaded, SessionState::Started]);
    assert_eq!((all[0].run.error.as_str(), all[0].run.rows), ("the run was cut off", 1));
}

async fn x9_what_was_asked_for_is_a_session_from_then_on(store: impl TestStore) {
    store.register_channel(&channel("s1")).await.unwrap();
    let s1 = ["s1".to_owned()];
    for (job, state) in [(Job::Upload, SessionState::Started), (Job::Customers1010, SessionState::Requested)]
    {
        store.request_runs(job, &s1, Micros(9)).await.unwrap();
        assert_eq!(store.sessions(None, 1).await.unwrap()[0].run.state, state);
        assert_eq!(store.session_of(job, "s1", 1).await.unwrap(), None, "it has not ended");
    }
    store.request_runs(Job::Upload, &s1, Micros(10)).await.unwrap();
    // One run carries out both requests.
    store.report(&[said("s1", Vec::new(), &[session("s1", 2)])], Micros(20)).await.unwrap();
    let all = store.sessions(None, 10).await.unwrap();
    let uploads: Vec<_> = all.iter().filter(|session| session.run.job == Job::Upload).collect();
    assert_eq!(uploads.len(), 2, "no third one");
    assert!(
        uploads.iter().all(|session| session.run.state == SessionState::Applied && session.run.bytes == 6)
    );
    assert_eq!(uploads[0].run.started_at, Micros(10), "since it was asked for");
    assert_eq!(store.session_of(Job::Upload, "s1", 2).await.unwrap().unwrap().run.run_request, 2);
}

async fn x9_a_session_is_canceled_while_it_is_open_or_has_failed(store: impl TestStore) {
    store.register_channel(&channel("s1")).await.unwrap();
    store.request_runs(Job::Upload, &["s1".to_owned()], Micros(9)).await.unwrap();
    let open = store.sessions(None, 1).await.unwrap().remove(0);
    let canceled = store.cancel_session(open.seq).await.unwrap().unwrap();
    assert_eq!(canceled.run.state, SessionState::Canceled);
    assert_eq!(store.run_requests().await.unwrap()[&(Job::Upload, "s1".to_owned())].canceled, 1);
    assert_eq!(store.cancel_session(open.seq).await.unwrap(), None, "it has ended");
    assert_eq!(store.cancel_session(open.seq + 1).await.unwrap(), None, "there is none");
    // The channel's report comes too late.
    store.report(&[said("s1", Vec::new(), &[session("s1", 1)])], Micros(20)).await.unwrap();
    assert_eq!(store.session(open.seq).await.unwrap(), Some(canceled));
    let run = JobRun { state: SessionState::UploadFailed, ..session("s1", 0).run };
    let failed = Session { run: JobRun { error: "gone".to_owned(), ..run }, ..session("s1", 0) };
    store.report(&[said("s1", Vec::new(), &[failed])], Micros(30)).await.unwrap();
    let failed = store.sessions(None, 1).await.unwrap().remove(0);
    assert!(store.cancel_session(failed.seq).await.unwrap().is_some());
}
