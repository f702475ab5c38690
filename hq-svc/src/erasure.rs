//! Erasing a customer for good (rule Z5), and the record of it: who asked, when, and which channels have done it since.

use std::time::Duration;

use prost::Message as _;
use service_kit::{config::Chain, retry::transaction};
use tillsync_proto::{ChannelId, CustomerId, CustomerRef, Micros, Violations, pb::common::ChannelStatus};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    admin::{Page, place, token_at},
    error::{Error, Result},
    hq::Headquarters,
    store::{self, Asker, Erasure, Store},
};

/// Longest name of who asks, in characters.
const MAX_WHO_CHARS: usize = 100;
/// Between two looks at which channels have erased what they were told to.
const PAUSE: Duration = Duration::from_secs(1);
/// Erasures that are looked at together; further ones have their turn when these are done.
const MAX_OPEN: usize = 100;

impl<S: Store> Headquarters<S> {
    /// Erases a customer. What remains says that there was one; channels hear of it by 1010. Erasing again is free of effect.
    pub async fn erase(&self, by: &CustomerRef, asker: &Asker) -> Result<Erasure> {
        let (mut v, who) = (Violations::default(), &asker.requested_by);
        if who.trim().is_empty() && asker.caller.is_empty() {
            v.add("requested_by", "is empty");
        } else if who.chars().count() > MAX_WHO_CHARS || who.contains('\0') {
            v.add("requested_by", format_args!("is longer than {MAX_WHO_CHARS} characters, or holds a NUL"));
        }
        v.or(())?;
        let now = Micros(self.clock.wall_micros());
        let erased = transaction("erase a customer", &self.ids, || self.store.erase(by, asker, now)).await?;
        let customer = erased.ok_or(Error::NoCustomer)?;
        // Pages of the feed are kept in memory.
        self.crowd.forget();
        info!(%customer, "a customer was erased");
        let erasure = self.store.erasures(Some(customer), None, 1).await?.pop();
        erasure.ok_or(Error::Broken)
    }

    /// One page of erasures, newest first, or that of one customer.
    pub async fn erasures(
        &self,
        customer: Option<CustomerId>,
        page_size: usize,
        token: &str,
    ) -> Result<Page<Erasure>> {
        const QUERY: &str = "erasures";
        let before = place(QUERY, token)?;
        let mut items = self.store.erasures(customer, before, page_size + 1).await?;
        let more = items.len() > page_size;
        items.truncate(page_size);
        let last = items.last().map(|erasure| erasure.seq).filter(|_| more);
        Ok(Page { items, next_page_token: token_at(QUERY, last) })
    }

    /// Keeps which channels have erased what they were told to: those whose 1010 has come past it, which it does only once
    /// their log, their tables and their memory hold nothing of it.
    pub async fn confirm_erasures(&self) -> store::Result<()> {
        let open = self.store.open_erasures(MAX_OPEN).await?;
        if open.is_empty() {
            return Ok(());
        }
        let epoch = self.epoch.to_string();
        let told = self.store.channels().await?.into_iter().filter_map(|row| {
            let status = ChannelStatus::decode(row.status?.as_slice()).ok()?;
            let cursor = status.feed_cursor.filter(|cursor| cursor.epoch == epoch);
            Some((row.id, cursor.map_or(0, |cursor| cursor.version)))
        });
        let told: Vec<(ChannelId, u64)> = told.collect();
        let now = Micros(self.clock.wall_micros());
        for (customer, version) in open {
            let past = told.iter().filter(|(_, through)| *through >= version);
            let channels: Vec<ChannelId> = past.map(|(channel, _)| channel.clone()).collect();
            let done = channels.len() == told.len();
            let confirm = || self.store.confirm_erasure(customer, &channels, done, now);
            transaction("confirm an erasure", &self.ids, confirm).await?;
        }
        Ok(())
    }
}

/// Looks again and again which channels have done it, until `shutdown`.
pub(crate) async fn run<S: Store>(hq: Headquarters<S>, shutdown: CancellationToken) {
    loop {
        let looking = async {
            tokio::time::sleep(PAUSE).await;
            if let Err(error) = hq.confirm_erasures().await {
                error!(error = %Chain(&error), "who has erased what cannot be told; it will be looked again");
            }
        };
        if shutdown.run_until_cancelled(looking).await.is_none() {
            return;
        }
    }
}
