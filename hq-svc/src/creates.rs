//! Creates of the real-time service: many that wait at the same time share one transaction.

use service_kit::{
    clock::Ids,
    group::{Batches, Group, group},
    retry::transaction,
};
use tillsync_proto::CustomerId;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    metrics,
    planted::planted,
    store::{NewCustomer, Plan, Record, Settled, Store, Write},
};

/// Most creates that wait for their commit. One more is refused: RESOURCE_EXHAUSTED, OVERLOADED (rule Z3).
pub(crate) const MAX_WAITING: usize = 4_096;
/// Most creates in one transaction.
const MAX_BATCH: usize = 256;

type Answer = Result<Record>;

/// The queue in front of the committer.
#[derive(Clone)]
pub(crate) struct Creates {
    group: Group<NewCustomer, Answer>,
}

/// The committer: run [`Committer::run`] in a task of its own.
pub(crate) struct Committer<S> {
    batches: Batches<NewCustomer, Answer>,
    store: S,
    ids: Ids,
}

/// The queue and its committer.
pub(crate) fn creates<S: Store>(store: S, ids: Ids) -> (Creates, Committer<S>) {
    let (group, batches) = group(MAX_WAITING, MAX_BATCH);
    (Creates { group }, Committer { batches, store, ids })
}

impl Creates {
    /// Creates a customer, and gives it with its account number once that is durable (rules M1, M8). The same
    /// GUID with the same content gives the customer that is there (rules M6, M9).
    ///
    /// # Errors
    ///
    /// [`Error::GuidTaken`], [`Error::NumbersExhausted`], [`Error::Overloaded`], [`Error::Stopping`],
    /// [`Error::Store`].
    pub async fn create(&self, new: NewCustomer) -> Result<Record> {
        let _waiting = metrics::Waiting::new();
        self.group.submit(new).await?
    }
}

impl<S: Store> Committer<S> {
    /// Commits until every [`Creates`] is gone.
    pub async fn run(self) {
        let Self { batches, store, ids } = self;
        batches
            .run(move |batch| {
                // Owned, so that the future is `Send` whatever it borrows.
                let (store, ids) = (store.clone(), ids.clone());
                async move { commit(&store, &ids, batch).await }
            })
            .await;
    }
}

async fn commit<S: Store>(store: &S, ids: &Ids, batch: Vec<NewCustomer>) -> Vec<Answer> {
    metrics::create_batch(batch.len());
    let plan = |new| Plan::of(Write::Insert(new));
    let asked: Vec<_> = batch.iter().map(|new| (new.id, new.fingerprint)).collect();
    let plans: Vec<Plan> = batch.into_iter().map(plan).collect();
    match settle(store, ids, &plans).await {
        Ok(settled) => asked.into_iter().zip(settled).map(answer).collect(),
        Err(error) if plans.len() > 1 && !matches!(error, Error::Database(_) | Error::Recovering) => {
            // One of them may be to blame: the others must not pay for it.
            let mut answers = Vec::with_capacity(plans.len());
            for (asked, plan) in asked.into_iter().zip(&plans) {
                let settled = settle(store, ids, std::slice::from_ref(plan)).await;
                answers.push(settled.and_then(|settled| {
                    settled.into_iter().next().map_or(Err(Error::Broken), |settled| answer((asked, settled)))
                }));
            }
            answers
        }
        Err(error) => error.for_all(asked.len()),
    }
}

async fn settle<S: Store>(store: &S, ids: &Ids, plans: &[Plan]) -> Result<Vec<Settled>> {
    Ok(transaction("create customers", ids, || store.settle(plans)).await?)
}

fn answer(((id, fingerprint), settled): ((CustomerId, Uuid), Settled)) -> Answer {
    match settled {
        Settled::Written(record) => Ok(record),
        Settled::Conflict(stored) if stored.record.customer.is_erased() => Err(Error::Erased(id)),
        Settled::Conflict(stored)
            if stored.fingerprint == fingerprint || planted("other content is a repeat") =>
        {
            Ok(stored.record)
        }
        Settled::Conflict(_) => Err(Error::GuidTaken(id)),
        Settled::Exhausted => Err(Error::NumbersExhausted),
        Settled::Done | Settled::Gone => Err(Error::Broken),
    }
}
