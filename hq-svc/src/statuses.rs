//! The synchronization status of operations, and their repair (rule S1). Needs flag E4.

use service_kit::retry::transaction;
use tillsync_proto::{ChannelId, CustomerRef, Feature, Operation, Violations, fold, pb::common};

use crate::{
    admin::{Page, place, token_at},
    error::{Error, Result},
    hq::Headquarters,
    store::{Due, OperationRow, StatusFilter, Store, StoredPayload, SyncStatus},
    sync_job::SyncJob,
};

/// A page stops before it has this much, in bytes.
const MAX_BYTES: usize = 3 << 20;
/// Operations read at a time while a text is looked for in their values, and most of them for one page (rule Z3).
const STEP: usize = 1_000;
const MAX_LOOKED_AT: usize = 20_000;

/// Which operations to list.
pub(crate) struct Wanted {
    /// What the database can tell.
    pub filter: StatusFilter,
    /// The customer, as it was named.
    pub customer: Option<CustomerRef>,
}

impl<S: Store> Headquarters<S> {
    fn needs_audit(&self) -> Result<()> {
        if self.configuration().features.has(Feature::E4) { Ok(()) } else { Err(Error::NeedsAudit) }
    }

    /// One page of operations, newest arrival first.
    pub async fn sync_statuses(
        &self,
        wanted: Wanted,
        page_size: usize,
        token: &str,
    ) -> Result<Page<OperationRow>> {
        self.needs_audit()?;
        let Wanted { mut filter, customer } = wanted;
        let query = format!("statuses {customer:?} {filter:?}");
        filter.customer = match customer {
            Some(CustomerRef::Id(id)) => Some(id),
            // Nobody with this number: no operations.
            Some(by) => match self.store.customer(&by).await? {
                Some(record) => Some(record.customer.id),
                None => return Ok(Page { items: Vec::new(), next_page_token: String::new() }),
            },
            None => None,
        };
        let mut before = place(&query, token)?;
        let text = filter.value.take().map(|text| fold(&text));
        let (mut items, mut looked_at) = (Vec::new(), 0);
        loop {
            let size = if text.is_some() { STEP } else { page_size - items.len() };
            let (rows, next) = self.store.operations(&filter, before, size, MAX_BYTES).await?;
            looked_at += rows.len();
            for row in rows {
                before = Some(row.seq);
                if text.as_ref().is_none_or(|text| holds(&row, text)) {
                    items.push(row);
                }
                if items.len() == page_size {
                    return Ok(Page { items, next_page_token: token_at(&query, before) });
                }
            }
            let Some(next) = next else {
                return Ok(Page { items, next_page_token: String::new() });
            };
            before = Some(next);
            // Whatever has been found is answered: a page may be short.
            if text.is_none() || looked_at >= MAX_LOOKED_AT {
                return Ok(Page { items, next_page_token: token_at(&query, before) });
            }
        }
    }

    /// Saves new values for an operation that was set aside.
    pub async fn correct(&self, channel: &ChannelId, operation: Operation) -> Result<OperationRow> {
        self.needs_audit()?;
        let counter = operation.counter;
        let row = self.failed(channel, counter).await?;
        if row.customer.is_some_and(|customer| customer != operation.customer_id) {
            let rule = "is not that of the operation, which cannot be given to somebody else";
            return Err(Violations::one("operation.customer_id", rule).into());
        }
        let correct = || self.store.correct(channel, counter, &operation);
        if !transaction("correct an operation", &self.ids, correct).await? {
            return Err(Error::NotFailed("operation"));
        }
        self.one(channel, counter).await
    }

    /// Processes one operation that was set aside now.
    pub async fn synchronize(&self, channel: &ChannelId, counter: u64) -> Result<OperationRow> {
        self.needs_audit()?;
        let row = self.failed(channel, counter).await?;
        let Some(customer) = row.customer else {
            let rule = "is not known; correct the operation first";
            return Err(Violations::one("operation.customer_id", rule).into());
        };
        if self.store.has_earlier_failure(customer, row.seq).await? {
            return Err(Error::EarlierFailure(customer));
        }
        let operation = row.corrected.or(match row.payload {
            StoredPayload::Good(operation) => Some(operation),
            StoredPayload::Bad(_) => None,
        });
        let (seq, channel_id, attempts) = (row.seq, row.channel, row.attempts);
        SyncJob::asked(self)
            .process_one(Due {
                seq,
                channel: channel_id,
                counter,
                customer,
                operation,
                attempts,
                included: 0,
            })
            .await?;
        self.one(channel, counter).await
    }

    async fn one(&self, channel: &ChannelId, counter: u64) -> Result<OperationRow> {
        self.store.operation(channel, counter).await?.ok_or(Error::Nothing("operation"))
    }

    async fn failed(&self, channel: &ChannelId, counter: u64) -> Result<OperationRow> {
        let row = self.one(channel, counter).await?;
        if row.status == SyncStatus::Failed { Ok(row) } else { Err(Error::NotFailed("operation")) }
    }
}

/// Whether a folded text is in the new, old or overwritten values.
fn holds(row: &OperationRow, text: &str) -> bool {
    fn in_value(value: &serde_json::Value, text: &str) -> bool {
        match value {
            serde_json::Value::String(there) => fold(there).contains(text),
            serde_json::Value::Array(values) => values.iter().any(|value| in_value(value, text)),
            serde_json::Value::Object(fields) => fields.values().any(|value| in_value(value, text)),
            serde_json::Value::Number(number) => number.to_string() == text,
            serde_json::Value::Null | serde_json::Value::Bool(_) => false,
        }
    }
    let of = |operation: &Operation| {
        let values = [serde_json::to_value(&operation.change), serde_json::to_value(&operation.previous)];
        values.into_iter().flatten().any(|value| in_value(&value, text))
    };
    let came = match &row.payload {
        StoredPayload::Good(operation) => of(operation),
        StoredPayload::Bad(raw) => fold(&String::from_utf8_lossy(raw)).contains(text),
    };
    came || row.corrected.as_ref().is_some_and(of)
        || row.overwritten.iter().any(|lost| in_value(&lost.value, text))
}

/// The operation as it came, or as somebody has corrected it.
pub(crate) fn newest(row: &OperationRow) -> common::Operation {
    use prost::Message as _;
    let operation = match (&row.corrected, &row.payload) {
        (Some(operation), _) | (None, StoredPayload::Good(operation)) => operation.into(),
        // It came as a message once, so it is one.
        (None, StoredPayload::Bad(raw)) => common::Operation::decode(raw.as_slice()).unwrap_or_default(),
    };
    common::Operation { counter: row.counter, ..operation }
}
