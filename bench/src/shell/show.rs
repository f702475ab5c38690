//! The status and the sessions, as they are printed.

use tillsync_proto::{
    Job, SessionState,
    pb::{
        common,
        hq::{self, admin_service_client::AdminServiceClient},
    },
};

use super::{Remote, columns, row, seconds, time_of_day};
use crate::error::Error;

/// Headquarters and its channels.
pub(super) async fn status(hq: &Remote) -> Result<String, Error> {
    let request = hq::GetStatusRequest {};
    let status = hq.call(request, async |c, m| AdminServiceClient::new(c).get_status(m).await).await?;
    let stalled = |stall: Option<&common::Stall>| {
        stall.map_or_else(String::new, |stall| format!("  stands still: {}\n", stall.reason))
    };
    let mut text = format!(
        "headquarters  {} customers, version {}; arrivals: {} waiting, {} processed, {} set aside; {} possible duplicates\n{}",
        status.customers,
        status.head_version,
        status.arrivals_waiting,
        status.arrivals_completed,
        status.arrivals_set_aside,
        status.possible_duplicates,
        stalled(status.stall.as_ref()),
    );
    if !status.awaited_channels.is_empty() {
        text += &format!(
            "  was restored, and waits for what these have: {}\n",
            status.awaited_channels.join(", ")
        );
    }
    for summary in &status.channels {
        let channel = summary.status.clone().unwrap_or_default();
        let behind = channel.logged_counter.saturating_sub(channel.uploaded_counter);
        let version = channel.feed_cursor.as_ref().map_or(0, |cursor| cursor.version);
        text += &format!(
            "{:12}  {}; {} customers, {} pending; {behind} log entries to bring, {} changes to fetch\n{}",
            channel.channel_id,
            if summary.connected { "connected" } else { "not connected" },
            channel.customers,
            channel.pending_customers,
            status.head_version.saturating_sub(version),
            stalled(channel.stall.as_ref()),
        );
        for state in &summary.settings {
            let waits = match (Job::try_from(state.job_to_run()), state.waits_for_cache) {
                (Ok(job), _) => format!("{} has to run", job.name()),
                (Err(()), true) => "the channel's cache has to expire".to_owned(),
                (Err(()), false) => continue,
            };
            text += &format!(
                "  {}: version {} at headquarters, {} arrived, {} in force: {waits}\n",
                state.name, state.version_at_headquarters, state.version_arrived, state.version_applied
            );
        }
    }
    Ok(text)
}

/// Sessions, a line for each.
pub(super) fn sessions(sessions: &[hq::Session]) -> String {
    let header = ["session", "job", "channel", "began", "took", "state", "rows", "bytes", "error"];
    let mut rows = vec![row(header)];
    rows.extend(sessions.iter().map(|session| {
        let run = session.run.clone().unwrap_or_default();
        let name = Job::try_from(run.job()).map_or("?", Job::name);
        let (began, took) = (time_of_day(run.start_time.as_ref()), seconds(run.elapsed.as_ref()));
        let channel = if session.channel_id.is_empty() { "headquarters" } else { &session.channel_id };
        let id = session.session_id.to_string();
        let state = state(run.state());
        row([
            &id,
            name,
            channel,
            &began,
            &took,
            state,
            &run.rows.to_string(),
            &run.bytes.to_string(),
            &run.error,
        ])
    }));
    columns(&rows)
}

fn state(state: SessionState) -> &'static str {
    match state {
        SessionState::Unspecified => "?",
        SessionState::Started => "started",
        SessionState::Available => "available",
        SessionState::Requested => "requested",
        SessionState::Uploaded => "uploaded",
        SessionState::Downloaded => "downloaded",
        SessionState::Applied => "applied",
        SessionState::Canceled => "canceled",
        SessionState::CreateFailed => "create failed",
        SessionState::UploadFailed => "upload failed",
        SessionState::DownloadFailed => "download failed",
        SessionState::ApplyFailed => "apply failed",
    }
}
