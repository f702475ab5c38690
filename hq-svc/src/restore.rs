//! A database that was restored from a backup: it has another epoch, and nothing changes until the channels have brought
//! what it has lost (rule X7). So nobody gets a second account number, and no number goes to two customers.

use std::sync::atomic::Ordering;

use prost::Message as _;
use service_kit::retry::transaction;
use tillsync_proto::{ChannelId, CustomerRef, Micros, Violations, convert, pb::common};
use tracing::info;

use crate::{
    error::Result,
    hq::Headquarters,
    store::{Recovered, Store},
};

/// Most customers and bytes that are brought at once.
const MAX_RECORDS: usize = 1_000;
const MAX_BYTES: usize = 3 << 20;

impl<S: Store> Headquarters<S> {
    /// Takes customers that were lost, as a channel knows them.
    pub async fn recover(&self, channel: &ChannelId, records: Vec<common::CustomerRecord>) -> Result<()> {
        if records.len() > MAX_RECORDS {
            return Err(Violations::one("records", format!("has more than {MAX_RECORDS} entries")).into());
        }
        if records.iter().map(common::CustomerRecord::encoded_len).sum::<usize>() > MAX_BYTES {
            return Err(Violations::one("records", format!("has more than {MAX_BYTES} bytes")).into());
        }
        let read = |(i, record)| read(record).map_err(|v: Violations| v.under(&format!("records[{i}]")));
        let brought =
            records.into_iter().enumerate().map(read).collect::<std::result::Result<Vec<_>, _>>()?;
        self.contacts.called(channel).await?;
        let now = Micros(self.clock.wall_micros());
        let recover = || self.store.recover(channel, &brought, now);
        transaction("recover customers", &self.ids, recover).await?;
        info!(%channel, customers = brought.len(), "a channel has brought customers that were lost");
        Ok(())
    }

    /// Notes that a channel has started anew in this database, after it has brought what it had.
    pub(crate) async fn has_recovered(
        &self,
        channel: &ChannelId,
        cursor: Option<&common::FeedCursor>,
    ) -> Result<()> {
        let here = cursor.is_some_and(|cursor| cursor.epoch == self.epoch.to_string());
        if here && self.recovering.load(Ordering::Relaxed) {
            self.end_recovery(Some(channel)).await?;
        }
        Ok(())
    }

    /// Waits no longer for a channel, or for any; gives for whom it still does.
    pub async fn end_recovery(&self, channel: Option<&ChannelId>) -> Result<Vec<String>> {
        transaction("wait no longer", &self.ids, || self.store.await_no_longer(channel)).await?;
        let awaited = self.store.awaited().await?;
        if awaited.is_empty() && self.recovering.swap(false, Ordering::Relaxed) {
            info!("every channel has brought what was lost");
        }
        Ok(awaited)
    }
}

fn read(record: common::CustomerRecord) -> std::result::Result<Recovered, Violations> {
    let mut v = Violations::default();
    let asked = convert::fingerprint(&record.fingerprint, &mut v);
    let wire = record.customer.ok_or_else(|| Violations::one("customer", "is missing"))?;
    let customer = convert::customer(wire).map_err(|violations| violations.under("customer"))?;
    match customer.account_number.as_deref().map(str::parse::<CustomerRef>) {
        Some(Ok(CustomerRef::Account(_))) => {}
        _ => v.add("customer.account_number", "is none"),
    }
    let fingerprint = asked.unwrap_or_else(|| customer.content.fingerprint());
    v.or(Recovered { customer, version: record.version, fingerprint, included: record.included_counter })
}
