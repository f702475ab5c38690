//! The channel as it sees itself (rule S2): read from the tables, and from the tail, which is data too.

use std::time::Duration;

use tillsync_proto::{
    Micros, OperationTable, PageToken, convert,
    pb::common::{self, ChannelStatus, DurationSummary, FeedCursor},
};

use crate::{
    error::Error,
    exchange::Exchange,
    find::page_size,
    log::{entry::operation, slices},
    store::{Store, StoreError},
};

/// Most operations that one page looks at; a page of a table that few of them appear in may be short.
const MAX_LOOKED_AT: usize = 10_000;

fn duration(micros: i64) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(Duration::from_micros(u64::try_from(micros).unwrap_or_default())).ok()
}

fn summary(mut times: Vec<Duration>) -> DurationSummary {
    times.sort_unstable();
    let at = |percent: usize| {
        let time = times.get((times.len() * percent).div_ceil(100).saturating_sub(1));
        time.and_then(|time| prost_types::Duration::try_from(*time).ok())
    };
    let count = u64::try_from(times.len()).unwrap_or(u64::MAX);
    DurationSummary { count, p50: at(50), p99: at(99) }
}

/// One page of the log.
pub(crate) struct Operations {
    /// The operations, oldest first.
    pub operations: Vec<common::Operation>,
    /// For the next page; empty on the last.
    pub next_page_token: String,
}

impl<S: Store> Exchange<S> {
    /// The channel's status.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn status(&self) -> Result<ChannelStatus, StoreError> {
        // The tail first: what is on its way from there to the tables is counted where it has arrived.
        let waiting = self.tail.creates();
        let log = self.store.log_progress().await?;
        let tables = self.store.table_progress().await?;
        let waiting = waiting.into_iter().filter(|seq| *seq > tables.applied_through).count();
        let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
        let (settings, arrived) = (self.current.get(), self.current.arrived());
        let (stall, exchange_restarts) = self.supervision.get();
        let now = self.clock.wall_micros();
        let ago = |at: Micros| (at.0 > 0).then(|| duration(now.saturating_sub(at.0))).flatten();
        let lag = tables.feed_head.saturating_sub(tables.feed_version);
        self.metrics.pending(tables.pending + waiting);
        Ok(ChannelStatus {
            channel_id: self.hq.channel().to_owned(),
            logged_counter: log.newest_operation,
            uploaded_counter: log.uploaded_through,
            indexed_counter: tables.applied_through.min(log.newest_operation),
            pending_customers: tables.pending + waiting,
            oldest_pending_age: tables.oldest_pending.and_then(ago),
            customers: tables.customers + waiting,
            feed_cursor: Some(FeedCursor { epoch: tables.feed_epoch, version: tables.feed_version }),
            feed_lag_rows: lag,
            feed_lag: ago(tables.level_at),
            last_hq_contact_time: (tables.contact_at.0 > 0).then(|| tables.contact_at.into()),
            profile: Some(settings.profile.clone().into()),
            profile_version: settings.profile_version,
            features: settings.features.iter().map(|f| common::Feature::from(f).into()).collect(),
            features_version: settings.features_version,
            time_to_account_number: Some(summary(self.times())),
            circuit_breaker: Some(self.breaker.status()),
            job_runs: self.store.job_runs().await?.iter().map(Into::into).collect(),
            arrived_profile_version: arrived.profile_version,
            arrived_features_version: arrived.features_version,
            configuration_cache: self.current.cache().try_into().ok(),
            stall,
            exchange_restarts,
        })
    }

    /// Pages through the log, oldest first, as one of the five documented tables or as all of them (rule X2).
    ///
    /// # Errors
    ///
    /// As `ListOperations` promises them.
    pub async fn operations(
        &self,
        table: Option<OperationTable>,
        size: i32,
        page_token: &str,
    ) -> Result<Operations, Error> {
        let size = page_size(size, 100, 1_000)?;
        let query = format!("operations {}", table.map_or("", OperationTable::name));
        let start = PageToken::parse_number(&query, page_token).map_err(|_| Error::BadPageToken)?;
        let mut after = start.unwrap_or_default();
        let (mut operations, mut looked_at) = (Vec::new(), 0);
        loop {
            let rows = self.store.read_operations(after).await?;
            if rows.is_empty() {
                return Ok(Operations { operations, next_page_token: String::new() });
            }
            for row in rows {
                for (seq, entry) in slices(&row)? {
                    let logged = operation(seq, entry).map_err(StoreError::from)?;
                    let Some(wire) = logged.filter(|_| seq > after) else { continue };
                    if operations.len() == size || looked_at == MAX_LOOKED_AT {
                        let next_page_token = PageToken::at_number(&query, after).to_string();
                        return Ok(Operations { operations, next_page_token });
                    }
                    after = seq;
                    looked_at += 1;
                    let shown = match (table, convert::operation(wire.clone())) {
                        (Some(table), Ok(logged)) => table.shows(&logged.change),
                        (None, _) => true,
                        (Some(_), Err(_)) => false,
                    };
                    if shown {
                        operations.push(wire);
                    }
                }
            }
        }
    }
}
