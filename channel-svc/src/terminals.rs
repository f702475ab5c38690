//! What a store's terminals bring from their time offline (rules O2, O4).

use std::collections::HashMap;

use tillsync_proto::{
    Change, Operation, Reason, convert,
    pb::{
        common,
        hq::{OperationOutcome, OperationResult},
    },
    reason_name,
};
use tokio::task::JoinSet;

use crate::{
    customers::Customers,
    error::Error,
    log::{
        Appended, EditRefusal, EditRequest,
        entry::{CreatePath, Entry, Origin},
    },
    store::Store,
};

/// Most operations of one upload, as at headquarters.
const MAX_OPERATIONS: usize = 1_000;

impl<S: Store> Customers<S> {
    /// Takes operations into the log: they are answered once they are durable there, each on its own, and the P-job
    /// carries them on. Taking one again is free of effect.
    ///
    /// # Errors
    ///
    /// Too many at once.
    pub async fn take(&self, operations: Vec<common::Operation>) -> Result<Vec<OperationOutcome>, Error> {
        if operations.len() > MAX_OPERATIONS {
            return Err(tillsync_proto::Violations::one("operations", "has more than 1000 entries").into());
        }
        // Those of one customer one after the other, as they were logged.
        let mut by_customer: HashMap<String, Vec<(usize, common::Operation)>> = HashMap::new();
        for (place, operation) in operations.into_iter().enumerate() {
            by_customer.entry(operation.customer_id.clone()).or_default().push((place, operation));
        }
        let mut tasks = JoinSet::new();
        for operations in by_customer.into_values() {
            let this = self.clone();
            // In a task of its own: a terminal that goes away does not undo what others wait for.
            tasks.spawn(async move {
                let mut outcomes = Vec::with_capacity(operations.len());
                for (place, operation) in operations {
                    outcomes.push((place, this.take_one(operation).await));
                }
                outcomes
            });
        }
        let mut outcomes: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        outcomes.sort_unstable_by_key(|(place, _)| *place);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    async fn take_one(&self, operation: common::Operation) -> OperationOutcome {
        let outcome = |result: OperationResult, account_number: String, reason: &str| OperationOutcome {
            counter: operation.counter,
            result: result.into(),
            account_number,
            reason: reason.to_owned(),
        };
        // Without a result the terminal keeps it, and shows why.
        let kept = |reason| outcome(OperationResult::Unspecified, String::new(), reason_name(reason));
        let Ok(read) = convert::operation(operation.clone()) else { return kept(Reason::InvalidField) };
        match self.enter(read).await {
            Ok(Appended::New(_)) => outcome(OperationResult::Arrived, String::new(), ""),
            Ok(Appended::Known(entry)) => {
                let number = entry.account_number().unwrap_or_default().to_owned();
                outcome(OperationResult::Known, number, "")
            }
            // The terminal erases it too, once it hears of it; nothing is kept of it here.
            Ok(Appended::Erased) => {
                outcome(OperationResult::Known, String::new(), reason_name(Reason::CustomerErased))
            }
            Ok(Appended::Taken) => kept(Reason::GuidTaken),
            Ok(Appended::Refused(EditRefusal::Invalid(_))) => kept(Reason::InvalidField),
            Ok(Appended::Refused(EditRefusal::TooMany)) => kept(Reason::Overloaded),
            Ok(Appended::Refused(_)) => kept(Reason::NotFound),
            Ok(Appended::Nothing) => kept(Reason::Internal),
            Err(Error::Overloaded(_)) => kept(Reason::Overloaded),
            Err(_) => kept(Reason::Internal),
        }
    }

    async fn enter(&self, operation: Operation) -> Result<Appended, Error> {
        let Operation { customer_id: id, logged_at, change, previous, fingerprint, .. } = operation;
        let content = match change {
            Change::Create(content) => content,
            change @ (Change::Update(_) | Change::SaveAddress(_)) => {
                let (made_at, etag) = (logged_at, String::new());
                let edit =
                    EditRequest { customer: id, base: None, change, previous: Some(previous), made_at, etag };
                return Ok(self.log.edit(edit).await?);
            }
        };
        let entry = || {
            let (wire, own) = content.clone().into_wire();
            let fingerprint = fingerprint.unwrap_or(own);
            let origin = Origin { fingerprint, path: Some(CreatePath::Async) };
            Entry::create(id, wire, logged_at, &origin).0
        };
        match self.log.append(entry(), true).await? {
            // The GUID has other content: an answer was lost, and the form was changed before it was sent again. It
            // goes up all the same, for a person at headquarters to look at.
            Appended::Taken => Ok(self.log.append(entry(), false).await?),
            appended => Ok(appended),
        }
    }
}
