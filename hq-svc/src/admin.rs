//! What an administrator does: schedules, runs, sessions, number sequences, and the lists to look at.

use std::{collections::BTreeSet, time::Duration};

use prost::Message as _;
use service_kit::{
    deadline::{Deadline, remaining_or},
    retry::transaction,
};
use tillsync_proto::{
    ChannelId, Job, Micros, PageToken, Schedule, SessionState,
    pb::{common, hq},
};
use tokio::{sync::watch, time::timeout};

use crate::{
    board::HEADQUARTERS,
    configuration::setting_states,
    error::{Error, Result},
    hq::Headquarters,
    numbers::{NumberSequence, SequenceKind},
    store::{ArrivalCounts, ChannelRow, Head, SequenceState, Session, SetAside, Store},
    supervision::Supervised,
};

/// Longest wait for a run.
const LONGEST_RUN: Duration = Duration::from_secs(60);
/// A page of what was set aside, and the statuses of channels, stop before they have this much, in bytes.
const MAX_BYTES: usize = 3 << 20;

/// How headquarters is.
pub(crate) struct HqStatus {
    pub head: Head,
    pub arrivals: ArrivalCounts,
    pub conversions_per_second: f64,
    pub channels: Vec<hq::ChannelSummary>,
    pub supervised: Supervised,
    pub possible_duplicates: u64,
    /// Channels that have not brought yet what was lost in a restore.
    pub awaited: Vec<String>,
}

/// One page of a list.
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    /// Empty on the last page.
    pub next_page_token: String,
}

impl<S: Store> Headquarters<S> {
    /// Replaces a schedule; those who follow it learn of it at once (rule X8).
    pub async fn set_schedule(&self, schedule: Schedule) -> Result<()> {
        let set = || self.store.set_schedule(schedule);
        transaction("set a schedule", &self.ids, set).await?;
        self.board.set_schedule(schedule);
        Ok(())
    }

    /// Asks for a run of a job, and waits until it has ended: at a channel, at every channel that is
    /// connected, or here for the customer sync job.
    pub async fn run_job(
        &self,
        job: Job,
        channel: Option<ChannelId>,
        deadline: Option<Deadline>,
    ) -> Result<Vec<Session>> {
        let channels = match (job, channel) {
            (Job::CustomerSync, _) => vec![HEADQUARTERS.to_owned()],
            (_, Some(channel)) if self.contacts.knows(&channel) => vec![channel.as_str().to_owned()],
            (_, Some(channel)) => match self.store.channels().await?.iter().any(|row| row.id == channel) {
                true => vec![channel.as_str().to_owned()],
                false => return Err(Error::NoChannel(channel)),
            },
            (_, None) => self.connected_anywhere().await?.into_iter().collect(),
        };
        // From before the request on, so that no session is missed.
        let sessions = self.board.watch_sessions();
        let requests = self.unhurried(move |hq| async move { hq.request_runs(job, &channels).await }).await?;
        let limit = remaining_or(deadline, self.clock.now(), LONGEST_RUN);
        tokio::select! {
            ended = timeout(limit, self.wait_for_runs(job, &requests, sessions)) => {
                ended.unwrap_or(Err(Error::Deadline))
            }
            () = self.shutdown.cancelled() => Err(Error::Stopping),
        }
    }

    /// The channels that listen to this process, or to another one on the same database.
    async fn connected_anywhere(&self) -> Result<BTreeSet<String>> {
        let here = self.board.connected();
        let mut connected: BTreeSet<String> =
            here.iter().map(|channel| channel.as_str().to_owned()).collect();
        connected.extend(self.store.listening_elsewhere().await?);
        Ok(connected)
    }

    async fn request_runs(&self, job: Job, channels: &[String]) -> Result<Vec<(String, u64)>> {
        let now = Micros(self.clock.wall_micros());
        let request = || self.store.request_runs(job, channels, now);
        let requests = transaction("request runs", &self.ids, request).await?;
        self.board.request(job, &requests);
        Ok(requests)
    }

    async fn wait_for_runs(
        &self,
        job: Job,
        requests: &[(String, u64)],
        mut changed: watch::Receiver<u64>,
    ) -> Result<Vec<Session>> {
        let mut ended = Vec::with_capacity(requests.len());
        for (channel, request) in requests {
            loop {
                changed.mark_unchanged();
                if let Some(session) = self.store.session_of(job, channel, *request).await? {
                    if session.run.state == SessionState::Canceled {
                        return Err(Error::Canceled);
                    }
                    ended.push(session);
                    break;
                }
                changed.changed().await.map_err(|_| Error::Stopping)?;
            }
        }
        Ok(ended)
    }

    /// The newest sessions.
    pub async fn sessions(&self, page_size: usize, token: &str) -> Result<Page<Session>> {
        const QUERY: &str = "sessions";
        let before = place(QUERY, token)?;
        let mut found = self.store.sessions(before, page_size + 1).await?;
        let more = found.len() > page_size;
        found.truncate(page_size);
        let last = found.last().map(|session| session.seq).filter(|_| more);
        Ok(Page { items: found, next_page_token: token_at(QUERY, last) })
    }

    /// Runs the job of a failed session again, and waits until it has ended.
    pub async fn rerun(&self, seq: i64, deadline: Option<Deadline>) -> Result<Session> {
        let session = self.store.session(seq).await?.ok_or(Error::Nothing("session"))?;
        if !session.run.state.has_failed() {
            return Err(Error::NotFailed("session"));
        }
        let ended = self.run_job(session.run.job, session.channel, deadline).await?;
        ended.into_iter().next().ok_or(Error::Broken)
    }

    /// Cancels a session that has failed or has not ended.
    pub async fn cancel(&self, seq: i64) -> Result<Session> {
        let cancel = || self.store.cancel_session(seq);
        match transaction("cancel a session", &self.ids, cancel).await? {
            Some(session) => {
                let channel = session.channel.as_ref().map_or(HEADQUARTERS, ChannelId::as_str);
                self.board.cancel(channel, &session.run);
                Ok(session)
            }
            None => {
                let session = self.store.session(seq).await?.ok_or(Error::Nothing("session"))?;
                Err(Error::Ended(session.run.state))
            }
        }
    }

    /// The number sequences.
    pub async fn sequences(&self) -> Result<Vec<SequenceState>> {
        Ok(self.store.sequences().await?)
    }

    /// Changes a number sequence, and gives it with how far it is.
    pub async fn set_sequence(&self, kind: SequenceKind, sequence: NumberSequence) -> Result<SequenceState> {
        let set = || self.store.set_sequence(kind, sequence.clone());
        transaction("change a number sequence", &self.ids, set).await?;
        let all = self.store.sequences().await?;
        all.into_iter().find(|state| state.kind == kind).ok_or(Error::Broken)
    }

    /// Operations that were set aside, by channel and counter.
    pub async fn set_aside(&self, page_size: usize, token: &str) -> Result<Page<SetAside>> {
        const QUERY: &str = "set aside";
        let after = place(QUERY, token)?;
        let (found, more) = self.store.set_aside(after, page_size, MAX_BYTES).await?;
        let last = found.last().map(|one| one.seq).filter(|_| more);
        Ok(Page { items: found, next_page_token: token_at(QUERY, last) })
    }

    /// How headquarters and its channels are (rule S2).
    pub async fn status(&self) -> Result<HqStatus> {
        let head = self.store.head().await?;
        let arrivals = self.store.arrival_counts().await?;
        let last = self.store.last_conversion().await?;
        #[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
        let rate = |last: Session| last.run.rows as f64 / last.run.elapsed.as_secs_f64().max(1e-6);
        let channels = self.store.channels().await?;
        Ok(HqStatus {
            head,
            arrivals,
            conversions_per_second: last.map_or(0.0, rate),
            channels: self.summaries(channels, &self.connected_anywhere().await?),
            supervised: self.supervision.get(),
            possible_duplicates: self.store.pair_count().await?,
            awaited: self.store.awaited().await?,
        })
    }

    fn summaries(&self, channels: Vec<ChannelRow>, connected: &BTreeSet<String>) -> Vec<hq::ChannelSummary> {
        let configuration = self.configuration();
        let now = self.clock.wall_micros();
        let mut bytes_left = MAX_BYTES;
        let summary = |row: ChannelRow| {
            // Beyond the bound a channel is listed by its name alone: a message may have 4 MiB.
            let status = row.status.filter(|status| status.len() <= bytes_left);
            bytes_left -= status.as_ref().map_or(0, Vec::len);
            let status = status.and_then(|bytes| common::ChannelStatus::decode(bytes.as_slice()).ok());
            let mut status = status.unwrap_or_default();
            row.id.as_str().clone_into(&mut status.channel_id);
            let contact = self.contacts.last(&row.id).max(row.last_contact_at);
            let micros = contact.map(|at| u64::try_from(now - at).unwrap_or_default());
            let settings = setting_states(&configuration, row.profile_version, &status);
            hq::ChannelSummary {
                settings,
                status: Some(status),
                last_contact: micros.and_then(|micros| Duration::from_micros(micros).try_into().ok()),
                profile_version: row.profile_version,
                features_version: configuration.version,
                connected: connected.contains(row.id.as_str()),
            }
        };
        channels.into_iter().map(summary).collect()
    }
}

pub(crate) fn place(query: &str, token: &str) -> Result<Option<i64>> {
    let after = PageToken::parse_number(query, token).map_err(|_| Error::BadPageToken)?;
    after.map(|after| i64::try_from(after).map_err(|_| Error::BadPageToken)).transpose()
}

pub(crate) fn token_at(query: &str, last: Option<i64>) -> String {
    let last = last.and_then(|seq| u64::try_from(seq).ok());
    last.map(|seq| PageToken::at_number(query, seq).to_string()).unwrap_or_default()
}
