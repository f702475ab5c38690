//! Which channels there are and when each last called.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use service_kit::{
    clock::{Clock, Ids},
    retry::transaction,
};
use tillsync_proto::ChannelId;

use crate::{
    error::{Error, Result},
    store::{ChannelRow, Store},
};

/// The contacts; at most [`crate::store::MAX_CHANNELS`], because only registered channels are in it. Every
/// call updates them in memory; the table has the name from the first call on, and the time of the last
/// status report.
#[derive(Clone)]
pub(crate) struct Contacts<S> {
    store: S,
    ids: Ids,
    clock: Arc<dyn Clock>,
    /// Wall-clock micros of the last call; `None`: registered by an administrator, or not since the start.
    last: Arc<Mutex<HashMap<ChannelId, Option<i64>>>>,
}

impl<S: Store> Contacts<S> {
    pub fn new(store: S, ids: Ids, clock: Arc<dyn Clock>, known: Vec<ChannelRow>) -> Self {
        let last = known.into_iter().map(|row| (row.id, row.last_contact_at)).collect();
        Self { store, ids, clock, last: Arc::new(Mutex::new(last)) }
    }

    /// A channel called.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyChannels`] for a new one beyond the bound; the store's.
    pub async fn called(&self, channel: &ChannelId) -> Result<()> {
        self.register(channel).await?;
        self.set(channel, Some(self.clock.wall_micros()));
        Ok(())
    }

    /// Makes a channel known that may never have called.
    ///
    /// # Errors
    ///
    /// As [`Contacts::called`].
    pub async fn register(&self, channel: &ChannelId) -> Result<()> {
        if self.knows(channel) {
            return Ok(());
        }
        let register = || self.store.register_channel(channel);
        if !transaction("register a channel", &self.ids, register).await? {
            return Err(Error::TooManyChannels);
        }
        self.lock().entry(channel.clone()).or_default();
        Ok(())
    }

    /// Whether a channel is known.
    pub fn knows(&self, channel: &ChannelId) -> bool {
        self.lock().contains_key(channel)
    }

    /// When a channel last called, in wall-clock micros.
    pub fn last(&self, channel: &ChannelId) -> Option<i64> {
        self.lock().get(channel).copied().flatten()
    }

    fn set(&self, channel: &ChannelId, at: Option<i64>) {
        if let Some(last) = self.lock().get_mut(channel) {
            *last = at;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Option<i64>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
