//! Notices customers that may be the same person (rule C5): the same e-mail, or the same phone and name. They are
//! listed for somebody to look at; nothing is merged or refused because of it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use service_kit::{config::Chain, retry::transaction};
use tillsync_proto::{CustomerId, Micros, Term, TermKind, terms};
use tokio_util::sync::CancellationToken;
use tracing::error;
use uuid::Uuid;

use crate::{
    admin::{Page, place, token_at},
    error::{Error, Result},
    hq::Headquarters,
    metrics,
    store::{self, Likeness, NoticedPair, Pair, Record, Store, TermRow},
};

/// Between two looks at what has changed.
const PAUSE: Duration = Duration::from_secs(1);
/// Customers looked at together, and bytes of them.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 << 20;
/// Most rows that say who shares a term with a batch; what is beyond is not noticed (rule Z3).
const MAX_SHARING: usize = 20_000;
/// Most others that one customer is paired with: a family's e-mail is one finding, not a thousand (rule Z3).
const MAX_OTHERS: usize = 10;

/// Looks at what has changed, again and again, until `shutdown`.
pub(crate) async fn run<S: Store>(hq: Headquarters<S>, shutdown: CancellationToken) {
    loop {
        let looking = async {
            tokio::time::sleep(PAUSE).await;
            if let Err(error) = hq.notice_duplicates().await {
                error!(error = %Chain(&error), "possible duplicates cannot be looked for; it will be tried again");
            }
        };
        if shutdown.run_until_cancelled(looking).await.is_none() {
            return;
        }
    }
}

impl<S: Store> Headquarters<S> {
    /// Looks at the customers that have changed since the last time; gives how many pairs it has noticed. One batch only while
    /// customers wait to become real: for them somebody waits.
    pub async fn notice_duplicates(&self) -> store::Result<usize> {
        let mut noticed = 0;
        while let Some(pairs) = self.notice_batch().await? {
            noticed += pairs;
            if self.store.arrival_counts().await?.waiting > BATCH as u64 {
                break;
            }
        }
        Ok(noticed)
    }

    /// Looks at the next of them; gives how many pairs it has noticed. `None`: none has changed.
    async fn notice_batch(&self) -> store::Result<Option<usize>> {
        let through = self.store.duplicates_through().await?;
        let changed = self.store.records(through, BATCH, BATCH_BYTES).await?;
        let Some(last) = changed.last() else { return Ok(None) };
        let last = last.version;
        let pairs = self.pairs_of(&changed).await?;
        let now = Micros(self.clock.wall_micros());
        let note = || self.store.note_pairs(&pairs, last, now);
        transaction("note possible duplicates", &self.ids, note).await?;
        metrics::duplicates(pairs.len());
        Ok(Some(pairs.len()))
    }

    async fn pairs_of(&self, changed: &[Record]) -> store::Result<Vec<Pair>> {
        let asked: BTreeSet<(i16, String)> = changed
            .iter()
            .flat_map(|record| terms(&record.customer))
            .filter(|term| matches!(term.kind, TermKind::Email | TermKind::Phone))
            .map(|term| (term.kind as i16, term.text))
            .collect();
        let asked: Vec<(i16, String)> = asked.into_iter().collect();
        let sharing = self.store.sharing(&asked, MAX_SHARING).await?;
        // Who shares a phone has to share the name too, so their names are read.
        let phones = sharing.iter().filter(|(kind, _, _)| *kind == TermKind::Phone as i16);
        let mut by_phone: HashMap<&str, Vec<Uuid>> = HashMap::new();
        phones.for_each(|(_, term, id)| by_phone.entry(term).or_default().push(*id));
        let shared: BTreeSet<Uuid> = by_phone.into_values().filter(|ids| ids.len() > 1).flatten().collect();
        let shared: Vec<CustomerId> = shared.into_iter().map(CustomerId).collect();
        let mut names: HashMap<CustomerId, Vec<Term>> = HashMap::new();
        for ids in shared.chunks(BATCH) {
            let stored = self.store.customers(ids).await?;
            names.extend(stored.iter().map(|s| (s.record.customer.id, name(&s.record))));
        }
        Ok(pairs(changed, &sharing, &names))
    }

    /// One page of pairs, newest first.
    pub async fn possible_duplicates(&self, page_size: usize, token: &str) -> Result<Page<NoticedPair>> {
        const QUERY: &str = "possible duplicates";
        let before = place(QUERY, token)?;
        let mut items = self.store.pairs(before, page_size + 1).await?;
        let more = items.len() > page_size;
        items.truncate(page_size);
        let last = items.last().map(|pair| pair.seq).filter(|_| more);
        Ok(Page { items, next_page_token: token_at(QUERY, last) })
    }

    /// Takes a pair off the list for good.
    pub async fn dismiss(&self, one: CustomerId, other: CustomerId) -> Result<()> {
        let dismiss = || self.store.dismiss(one, other);
        let done = transaction("dismiss a pair", &self.ids, dismiss).await?;
        if done { Ok(()) } else { Err(Error::Nothing("pair of customers")) }
    }
}

fn name(record: &Record) -> Vec<Term> {
    terms(&record.customer).into_iter().filter(|term| term.kind == TermKind::Name).collect()
}

/// The pairs that changed customers are in, the later GUID first: GUIDs begin with the time of their making.
fn pairs(changed: &[Record], sharing: &[TermRow], names: &HashMap<CustomerId, Vec<Term>>) -> Vec<Pair> {
    let mut owners: HashMap<(i16, &str), BTreeSet<Uuid>> = HashMap::new();
    for (kind, term, id) in sharing {
        owners.entry((*kind, term)).or_default().insert(*id);
    }
    let mut seen: HashSet<(CustomerId, CustomerId)> = HashSet::new();
    let mut pairs = Vec::new();
    for record in changed {
        let (id, mut others) = (record.customer.id, 0);
        let mut all = terms(&record.customer);
        // E-mails say more than phones.
        all.retain(|term| matches!(term.kind, TermKind::Email | TermKind::Phone));
        for term in all {
            let likeness =
                if term.kind == TermKind::Email { Likeness::Email } else { Likeness::PhoneAndName };
            let Some(owners) = owners.get(&(term.kind as i16, term.text.as_str())) else { continue };
            for other in owners.iter().map(|other| CustomerId(*other)).filter(|other| *other != id) {
                let pair = (id.max(other), id.min(other));
                let alike = likeness == Likeness::Email
                    || names.get(&id).is_some_and(|name| names.get(&other) == Some(name));
                if others < MAX_OTHERS && alike && seen.insert(pair) {
                    pairs.push(Pair { customer: pair.0, other: pair.1, likeness });
                    others += 1;
                }
            }
        }
    }
    pairs
}
