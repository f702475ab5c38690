//! From rows to what they mean, the same for both databases.

use std::time::Duration;

use tillsync_proto::{
    ChannelId, CustomerId, Features, FunctionalityProfile, Job, Micros, Schedule, search::card,
};
use uuid::Uuid;

use super::{
    CardRequest, ChannelRow, Due, Head, Issued, Record, Result, RunRequests, Session, SetAside, StoreError,
    Stored, StoredPayload,
    batch::{HeadColumns, HeadRow},
};

/// Version, fingerprint, body.
pub(super) type CustomerColumns = (i64, Uuid, String);
/// Place, customer, operation, attempts.
pub(super) type DueColumns = (i64, Uuid, Option<String>, i64);
/// Place, channel, counter, operation, raw, reason, message, attempts, next attempt.
pub(super) type SetAsideColumns =
    (i64, String, i64, Option<String>, Option<Vec<u8>>, String, Option<String>, i64, Option<i64>);
/// Name, last contact, status, version of the profile.
pub(super) type ChannelColumns = (String, Option<i64>, Option<Vec<u8>>, i64);
/// Place, channel, job, request, start, micros, rows, error.
pub(super) type SessionColumns = (i64, String, String, i64, i64, i64, i64, String);

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

pub(super) fn due((seq, customer, operation, attempts): DueColumns) -> Due {
    Due {
        seq,
        customer: CustomerId(customer),
        operation: operation.and_then(|text| serde_json::from_str(&text).ok()),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
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

pub(super) fn flags(row: Option<(i64, i64)>) -> Result<(Features, u64)> {
    let (bits, version) = row.ok_or(StoreError::Missing("flags"))?;
    Ok((Features::from_bits(bits), count(version)))
}

pub(super) fn schedules(rows: Vec<(String,)>) -> Result<Vec<Schedule>> {
    rows.iter().map(|(body,)| read("schedules", body)).collect()
}

pub(super) fn run_requests(rows: Vec<(String, String, i64)>) -> RunRequests {
    let request = |(job, channel, request): (String, String, i64)| {
        Some(((Job::from_name(&job)?, channel), count(request)))
    };
    rows.into_iter().filter_map(request).collect()
}

/// `None` for a job that this version does not know.
pub(super) fn session(columns: SessionColumns) -> Option<(i64, Session)> {
    let (seq, channel, job, run_request, started_at, elapsed, rows, error) = columns;
    let session = Session {
        channel: channel.parse().ok(),
        job: Job::from_name(&job)?,
        run_request: count(run_request),
        started_at: Micros(started_at),
        elapsed: Duration::from_micros(count(elapsed)),
        rows: count(rows),
        error,
    };
    Some((seq, session))
}

/// A session as it is bound: channel, job, request, start, micros, rows, error.
pub(super) fn session_values(session: &Session) -> (&str, &'static str, i64, i64, i64, i64, &str) {
    let micros = i64::try_from(session.elapsed.as_micros()).unwrap_or(i64::MAX);
    (
        session.channel.as_ref().map_or("", ChannelId::as_str),
        session.job.name(),
        number(session.run_request),
        session.started_at.0,
        micros,
        number(session.rows),
        &session.error,
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
    columns.2.as_ref().map_or(0, String::len)
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
