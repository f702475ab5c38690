//! From rows to what they mean, the same for both databases.

use std::time::Duration;

use tillsync_proto::{
    AttributeDefinitions, ChannelId, CustomerId, Features, FunctionalityProfile, Job, JobRun, Micros,
    Schedule, SessionState, search::card,
};
use uuid::Uuid;

use super::{
    CardRequest, ChannelRow, Due, GlobalConfiguration, Head, Issued, Likeness, NoticedPair, OperationRow,
    Pair, Record, Result, RunRequest, RunRequests, Session, SetAside, StoreError, Stored, StoredPayload,
    SyncStatus,
    batch::{HeadColumns, HeadRow},
};
use crate::numbers::{NumberFormat, NumberSequence, NumberSequences};

/// Version, fingerprint, body.
pub(super) type CustomerColumns = (i64, Uuid, String);
/// The same, and how far the edits of a channel are in it.
pub(super) type FeedColumns = (i64, Uuid, String, Option<String>, Option<i64>);
/// Channel, profile, version.
pub(super) type ProfileColumns = (String, Option<String>, i64);
/// Place, channel, counter, customer, operation, attempts, how far the edits of the channel are in the customer.
pub(super) type DueColumns = (i64, String, i64, Uuid, Option<String>, i64, Option<i64>);
/// Place, channel, counter, customer, operation, raw, corrected, arrival, whether it was processed, attempts, next
/// attempt, reason, message, overwritten values, account number.
pub(super) type OperationColumns = (
    i64,
    String,
    i64,
    Option<Uuid>,
    Option<String>,
    Option<Vec<u8>>,
    Option<String>,
    i64,
    i64,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);
/// Place, customer, other customer, what they share, when it was noticed.
pub(super) type PairColumns = (i64, Uuid, Uuid, i64, i64);
/// Place, channel, counter, operation, raw, reason, message, attempts, next attempt.
pub(super) type SetAsideColumns =
    (i64, String, i64, Option<String>, Option<Vec<u8>>, String, Option<String>, i64, Option<i64>);
/// Name, last contact, status, version of the profile.
pub(super) type ChannelColumns = (String, Option<i64>, Option<Vec<u8>>, i64);
/// Place, channel, job, request, start, micros, rows, error, state, bytes.
pub(super) type SessionColumns = (i64, String, String, i64, i64, i64, i64, String, i64, i64);

pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// For binding: what is counted here never comes near the bound.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn head(columns: Option<HeadColumns>) -> Result<Head> {
    columns.map(|columns| HeadRow::from(columns).public()).ok_or(StoreError::Missing("hq_head"))
}

fn read<T: serde::de::DeserializeOwned>(table: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| StoreError::Inconsistent { table, source })
}

/// Writes a value as it is stored.
pub(super) fn write<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(StoreError::Encode)
}

pub(super) fn stored((version, fingerprint, body): CustomerColumns) -> Result<Stored> {
    let record = Record { customer: read("customers", &body)?, version: count(version) };
    Ok(Stored { record, fingerprint })
}

pub(super) fn due((seq, channel, counter, customer, operation, attempts, included): DueColumns) -> Due {
    Due {
        seq,
        channel,
        counter: count(counter),
        customer: CustomerId(customer),
        operation: operation.and_then(|text| serde_json::from_str(&text).ok()),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        included: included.map_or(0, count),
    }
}

pub(super) fn set_aside(columns: SetAsideColumns) -> Result<SetAside> {
    let (seq, channel, counter, operation, raw, reason, message, attempts, next_attempt_at) = columns;
    let payload = match operation {
        Some(text) => StoredPayload::Good(read("arrivals", &text)?),
        None => StoredPayload::Bad(raw.unwrap_or_default()),
    };
    Ok(SetAside {
        seq,
        channel,
        counter: count(counter),
        payload,
        reason,
        message: message.unwrap_or_default(),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        next_attempt_at,
    })
}

pub(super) fn operation(columns: OperationColumns) -> Result<OperationRow> {
    let (seq, channel, counter, customer, operation, raw, corrected, arrived_at, completed, attempts, ..) =
        &columns;
    let payload = match operation {
        Some(text) => StoredPayload::Good(read("arrivals", text)?),
        None => StoredPayload::Bad(raw.clone().unwrap_or_default()),
    };
    let status = match (completed, &columns.11) {
        (1, _) => SyncStatus::Succeeded,
        (_, None) => SyncStatus::Pending,
        (_, Some(_)) => SyncStatus::Failed,
    };
    Ok(OperationRow {
        seq: *seq,
        channel: channel.clone(),
        counter: count(*counter),
        customer: customer.map(CustomerId),
        payload,
        corrected: corrected.as_deref().map(|text| read("arrivals", text)).transpose()?,
        arrived_at: Micros(*arrived_at),
        status,
        attempts: u32::try_from(*attempts).unwrap_or(u32::MAX),
        next_attempt_at: columns.10,
        reason: columns.11.unwrap_or_default(),
        message: columns.12.unwrap_or_default(),
        overwritten: columns.13.map(|text| read("arrivals", &text)).transpose()?.unwrap_or_default(),
        account_number: columns.14,
    })
}

pub(super) fn operation_len(columns: &OperationColumns) -> usize {
    let texts = [&columns.4, &columns.6, &columns.13].into_iter().flatten().map(String::len).sum::<usize>();
    texts + columns.5.as_ref().map_or(0, Vec::len)
}

pub(super) fn pair((seq, customer, other, likeness, noticed_at): PairColumns) -> NoticedPair {
    let likeness = if likeness == Likeness::Email as i64 { Likeness::Email } else { Likeness::PhoneAndName };
    let pair = Pair { customer: CustomerId(customer), other: CustomerId(other), likeness };
    NoticedPair { seq, pair, noticed_at: Micros(noticed_at) }
}

/// The sequences as they are stored: kind, format, block. A format that cannot be read is the default.
pub(super) fn sequences(rows: &[(String, String, i64)], fallback: &NumberSequences) -> NumberSequences {
    let mut sequences = fallback.clone();
    for kind in crate::numbers::SequenceKind::ALL {
        let row = rows.iter().find(|(name, _, _)| name == kind.name());
        let read = row.and_then(|(_, format, block)| Some((format.parse::<NumberFormat>().ok()?, *block)));
        if let Some((format, block)) = read {
            *sequences.of(kind) = NumberSequence::new(format, u32::try_from(block).unwrap_or_default());
        }
    }
    sequences
}

/// `None` for a name that is no channel's: nothing here writes one.
pub(super) fn channel((id, last_contact_at, status, profile_version): ChannelColumns) -> Option<ChannelRow> {
    let id: ChannelId = id.parse().ok()?;
    Some(ChannelRow { id, last_contact_at, status, profile_version: count(profile_version) })
}

pub(super) fn profile(row: Option<(Option<String>, i64)>) -> Result<(FunctionalityProfile, u64)> {
    match row {
        None => Ok((FunctionalityProfile::default(), 1)),
        Some((None, version)) => Ok((FunctionalityProfile::default(), count(version))),
        Some((Some(text), version)) => Ok((read("channels", &text)?, count(version))),
    }
}

pub(super) fn configuration(row: Option<(i64, String, i64)>) -> Result<GlobalConfiguration> {
    const TABLE: &str = "global_configuration";
    let (bits, attributes, version) = row.ok_or(StoreError::Missing(TABLE))?;
    let attributes: AttributeDefinitions = read(TABLE, &attributes)?;
    Ok(GlobalConfiguration { features: Features::from_bits(bits), attributes, version: count(version) })
}

pub(super) fn schedules(rows: Vec<(String,)>) -> Result<Vec<Schedule>> {
    rows.iter().map(|(body,)| read("schedules", body)).collect()
}

pub(super) fn run_requests(rows: Vec<(String, String, i64, i64, i64)>) -> RunRequests {
    let request = |(job, channel, request, canceled, start): (String, String, i64, i64, i64)| {
        let canceled_start = (start > 0).then_some(Micros(start));
        let request = RunRequest { request: count(request), canceled: count(canceled), canceled_start };
        Some(((Job::from_name(&job)?, channel), request))
    };
    rows.into_iter().filter_map(request).collect()
}

/// `None` for a job that this version does not know.
pub(super) fn session(columns: SessionColumns) -> Option<Session> {
    let (seq, channel, job, run_request, started_at, elapsed, rows, error, state, bytes) = columns;
    let state = i32::try_from(state).ok().and_then(|state| SessionState::try_from(state).ok());
    let run = JobRun {
        job: Job::from_name(&job)?,
        run_request: count(run_request),
        started_at: Micros(started_at),
        elapsed: Duration::from_micros(count(elapsed)),
        state: state.unwrap_or_default(),
        rows: count(rows),
        bytes: count(bytes),
        error,
    };
    Some(Session { seq, channel: channel.parse().ok(), run })
}

/// A session as it is bound: channel, job, request, start, micros, rows, error, state, bytes.
pub(super) type SessionValues<'a> = (&'a str, &'static str, i64, i64, i64, i64, &'a str, i64, i64);

pub(super) fn session_values(session: &Session) -> SessionValues<'_> {
    let run = &session.run;
    let micros = i64::try_from(run.elapsed.as_micros()).unwrap_or(i64::MAX);
    (
        session.channel.as_ref().map_or("", ChannelId::as_str),
        run.job.name(),
        number(run.run_request),
        run.started_at.0,
        micros,
        number(run.rows),
        &run.error,
        i64::from(i32::from(run.state)),
        number(run.bytes),
    )
}

/// The bytes of a page. The first row fits whatever its size, so that a page is never empty while there is
/// more.
pub(super) struct Budget {
    left: usize,
    first: bool,
}

impl Budget {
    pub fn new(max_bytes: usize) -> Self {
        Self { left: max_bytes, first: true }
    }

    /// Whether a row still fits.
    pub fn takes(&mut self, bytes: usize) -> bool {
        let fits = std::mem::take(&mut self.first) || bytes <= self.left;
        self.left = self.left.saturating_sub(bytes);
        fits
    }
}

pub(super) fn due_len(columns: &DueColumns) -> usize {
    columns.4.as_ref().map_or(0, String::len)
}

pub(super) fn set_aside_len(columns: &SetAsideColumns) -> usize {
    columns.3.as_ref().map_or(0, String::len) + columns.4.as_ref().map_or(0, Vec::len)
}

impl Record {
    /// The answer to a card request whose id was used before.
    pub(super) fn card_of_request(self, request: &CardRequest, number: &str, owner: Uuid) -> Issued {
        let same = owner == request.customer.0
            && request.number.as_deref().is_none_or(|asked| card(asked) == number);
        if same { self.card(number) } else { Issued::RequestUsed }
    }

    /// The answer that names a card of this customer, as it was written when it was issued.
    pub(super) fn card(self, number: &str) -> Issued {
        let cards = self.customer.loyalty_cards.iter();
        let shown = cards.clone().find(|shown| card(shown) == card(number)).cloned();
        Issued::Card { number: shown.unwrap_or_else(|| number.to_owned()), record: self }
    }
}
