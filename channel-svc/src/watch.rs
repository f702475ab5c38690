//! Watching one customer (rule S3).

use tillsync_proto::CustomerRef;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    customers::{Customers, reference},
    error::Error,
    log::entry::Row,
    store::Store,
    watchers::Watch,
};

/// States of a customer, the present one first.
pub(crate) type States = ReceiverStream<Result<Row, Error>>;

impl<S: Store> Customers<S> {
    /// Tells the present state of a customer and every later one, as fast as they are taken: changes in between
    /// come as one. Ends when the stream is dropped or the service stops.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] unless `allow_missing` and named by GUID, [`Error::Overloaded`] at the bound.
    pub async fn watch(&self, name: &str, allow_missing: bool) -> Result<States, Error> {
        let name = reference(name)?;
        let known = self.find(&name).await?;
        let id = match (&known, &name) {
            (Some(row), _) => row.customer.id,
            (None, CustomerRef::Id(id)) if allow_missing => *id,
            (None, _) => return Err(Error::NotFound("customer")),
        };
        let watch = self.watchers.watch(id)?;
        // The watcher takes one state at a time.
        let (states, taken) = mpsc::channel(1);
        let this = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = this.shutdown.cancelled() => {}
                () = states.closed() => {}
                () = this.tell(watch, &states, id) => {}
            }
        });
        Ok(ReceiverStream::new(taken))
    }

    async fn tell(
        &self,
        mut watch: Watch,
        states: &mpsc::Sender<Result<Row, Error>>,
        id: tillsync_proto::CustomerId,
    ) {
        let mut told: Option<(String, usize)> = None;
        loop {
            // Read after the watch began, so no change falls between the two.
            let (row, failed) = match self.find_id(id).await {
                Ok(row) => (row, None),
                Err(error) => (None, Some(error)),
            };
            if let Some(error) = failed {
                let _ = states.send(Err(error)).await;
                return;
            }
            if let Some(row) = row {
                let state = (row.customer.etag(), row.edits.len());
                if told.as_ref() != Some(&state) {
                    told = Some(state);
                    if states.send(Ok(row)).await.is_err() {
                        return;
                    }
                }
            }
            watch.changed().await;
        }
    }
}
