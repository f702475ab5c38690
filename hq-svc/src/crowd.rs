//! What thousands of channels ask and say all the time: those who come within a moment share one statement, and a page of
//! the feed that many are at is read and encoded once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prost::{Message as _, bytes::Bytes};
use service_kit::{
    clock::{Clock, Ids},
    group::{Batches, Group, group},
    retry::transaction,
};
use tillsync_proto::{ChannelId, FunctionalityProfile, Micros, feed, pb::common};
use tokio::{sync::OnceCell, time::sleep};

use crate::{
    error::{Error, Result},
    store::{self, FeedRecord, Head, Included, MAX_CHANNELS, Report, Store},
};

/// Calls of a kind that wait for their statement, and most in one: a channel has one of each under way. Beyond it:
/// RESOURCE_EXHAUSTED, OVERLOADED (rule Z3).
const MAX_WAITING: usize = 2 * MAX_CHANNELS;
const MAX_TOGETHER: usize = 1_000;
/// Between two statements that look. Who comes when none was made for that long does not wait.
const LOOKS: Duration = Duration::from_millis(5);
/// Between two transactions that keep reports: nobody waits for them.
const REPORTS: Duration = Duration::from_millis(50);
/// Pages of the feed that are kept, each of at most [`PAGE_BYTES`] as stored. The newest ones: where channels are that keep
/// up.
const PAGES: usize = 16;
const PAGE_BYTES: usize = 3 << 20;

/// A page of the feed, encoded: nothing else of it is kept.
pub(crate) struct Page {
    records: Vec<(Bytes, Included)>,
    /// The version of its last record.
    pub last: Option<u64>,
}

impl Page {
    fn new(records: Vec<FeedRecord>) -> Self {
        let last = records.last().map(|record| record.stored.record.version);
        let encoded = |record: FeedRecord| {
            (common::CustomerRecord::from(&record).encode_to_vec().into(), record.included)
        };
        Self { records: records.into_iter().map(encoded).collect(), last }
    }

    /// The records, for a channel.
    pub fn records(&self, channel: &ChannelId) -> Vec<feed::FeedRecord> {
        let told = |(encoded, included): &(Bytes, Included)| {
            feed::FeedRecord::shared(encoded.clone(), included.of(channel.as_str()))
        };
        self.records.iter().map(told).collect()
    }
}

/// After which version, how many records, and the newest version when it was read: with a newer one there may be more.
type Place = (u64, usize, u64);
type Kept = (Place, Arc<OnceCell<Arc<Page>>>);

/// The callers' end.
#[derive(Clone)]
pub(crate) struct Crowd<S> {
    store: S,
    heads: Group<(), Result<Head>>,
    profiles: Group<ChannelId, Result<(FunctionalityProfile, u64)>>,
    reports: Group<Report, Result<()>>,
    pages: Arc<Mutex<VecDeque<Kept>>>,
}

/// Does what was asked: run it in a task of its own.
pub(crate) struct Asked<S> {
    keeper: Keeper<S>,
    heads: Batches<(), Result<Head>>,
    profiles: Batches<ChannelId, Result<(FunctionalityProfile, u64)>>,
    reports: Batches<Report, Result<()>>,
}

/// Both ends.
pub(crate) fn crowd<S: Store>(store: &S, ids: Ids, clock: Arc<dyn Clock>) -> (Crowd<S>, Asked<S>) {
    let ((heads, asked_heads), (profiles, asked_profiles), (reports, asked_reports)) = (
        group(MAX_WAITING, MAX_TOGETHER),
        group(MAX_WAITING, MAX_TOGETHER),
        group(MAX_WAITING, MAX_TOGETHER),
    );
    let asked = Asked {
        keeper: Keeper { store: store.clone(), ids, clock },
        heads: asked_heads,
        profiles: asked_profiles,
        reports: asked_reports,
    };
    (Crowd { store: store.clone(), heads, profiles, reports, pages: Arc::default() }, asked)
}

impl<S: Store> Crowd<S> {
    /// What the database is and has given out, no older than the call.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`], [`Error::Stopping`], the store's.
    pub async fn head(&self) -> Result<Head> {
        self.heads.submit(()).await?
    }

    /// The profile of a channel and its version.
    ///
    /// # Errors
    ///
    /// As [`Crowd::head`].
    pub async fn profile(&self, channel: &ChannelId) -> Result<(FunctionalityProfile, u64)> {
        self.profiles.submit(channel.clone()).await?
    }

    /// Keeps what a channel says; returns when it is kept.
    ///
    /// # Errors
    ///
    /// As [`Crowd::head`].
    pub async fn report(&self, report: Report) -> Result<()> {
        self.reports.submit(report).await?
    }

    /// Forgets the pages that are kept.
    pub fn forget(&self) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The records after a version, at most so many, of a database whose newest version is `head`.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn page(&self, after: u64, limit: usize, head: u64) -> Result<Arc<Page>> {
        let place = (after, limit, head);
        let page = {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            let known = pages.iter().find(|(known, _)| *known == place).map(|(_, page)| Arc::clone(page));
            known.unwrap_or_else(|| {
                let page = Arc::default();
                pages.push_back((place, Arc::clone(&page)));
                if pages.len() > PAGES {
                    pages.pop_front();
                }
                page
            })
        };
        // Who comes while it is read waits for it; if it cannot be read, the next one tries.
        let read = async {
            Ok::<_, Error>(Arc::new(Page::new(self.store.changes(after, limit, PAGE_BYTES).await?)))
        };
        page.get_or_try_init(|| read).await.cloned()
    }
}

impl<S: Store> Asked<S> {
    /// Answers until every [`Crowd`] is gone.
    pub async fn run(self) {
        let Self { keeper, heads, profiles, reports } = self;
        // Each with a keeper of its own, so that the futures are `Send` whatever they borrow.
        let (heads_keeper, profiles_keeper, reports_keeper) = (keeper.clone(), keeper.clone(), keeper);
        tokio::join!(
            answer(heads, LOOKS, move |asked| {
                let keeper = heads_keeper.clone();
                async move { keeper.heads(asked.len()).await }
            }),
            answer(profiles, LOOKS, move |channels| {
                let keeper = profiles_keeper.clone();
                async move { keeper.profiles(channels).await }
            }),
            answer(reports, REPORTS, move |said| {
                let keeper = reports_keeper.clone();
                async move { keeper.reports(said).await }
            }),
        );
    }
}

async fn answer<T, R, F>(mut batches: Batches<T, Result<R>>, pause: Duration, work: impl Fn(Vec<T>) -> F)
where
    F: Future<Output = Vec<Result<R>>>,
{
    while let Some((asked, replies)) = batches.next().await {
        replies.send(work(asked).await);
        sleep(pause).await;
    }
}

/// Who looks and keeps.
#[derive(Clone)]
struct Keeper<S> {
    store: S,
    ids: Ids,
    clock: Arc<dyn Clock>,
}

impl<S: Store> Keeper<S> {
    async fn heads(&self, callers: usize) -> Vec<Result<Head>> {
        each(callers, self.store.head().await.map(|head| vec![head; callers]))
    }

    async fn profiles(&self, channels: Vec<ChannelId>) -> Vec<Result<(FunctionalityProfile, u64)>> {
        each(channels.len(), self.store.profiles(&channels).await)
    }

    async fn reports(&self, said: Vec<Report>) -> Vec<Result<()>> {
        match self.keep(&said).await {
            // One of them may be to blame: the others must not pay for it.
            Err(error) if error.is_of_the_batch() && said.len() > 1 => {
                let mut answers = Vec::with_capacity(said.len());
                for one in &said {
                    answers.push(self.keep(std::slice::from_ref(one)).await.map_err(Error::from));
                }
                answers
            }
            kept => each(said.len(), kept.map(|()| vec![(); said.len()])),
        }
    }

    async fn keep(&self, said: &[Report]) -> store::Result<()> {
        let now = Micros(self.clock.wall_micros());
        transaction("keep reports", &self.ids, || self.store.report(said, now)).await
    }
}

/// To each caller what was found for it, or that nothing was.
fn each<R>(callers: usize, found: store::Result<Vec<R>>) -> Vec<Result<R>> {
    match found {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(error) => Error::from(error).for_all(callers),
    }
}
