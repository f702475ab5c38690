//! The search statements (rule C3). Their text is the same for both databases, which is why both find the
//! same customers in the same order.

use std::{collections::HashMap, fmt::Write as _};

use tillsync_proto::{Criterion, CustomerId, TermKind, prefix_end};
use uuid::Uuid;

use super::{Hit, MAX_HITS};

const BY_ACCOUNT: &str = "select id from customers where account_number = $1";
const BY_CARD: &str = "select customer_id from loyalty_cards where number = $1";

/// What to run for a criterion.
pub(super) enum Search {
    /// One statement with one parameter; it gives one customer or none.
    Whole(&'static str, String),
    /// Statements with the same parameters: the kind (`i16`), then two texts for each word. They give
    /// customers with their points.
    Prefix { statements: Vec<String>, kind: i16, texts: Vec<String> },
}

/// The statements of a criterion.
pub(super) fn search(criterion: &Criterion) -> Search {
    let (kind, words) = match criterion {
        Criterion::Account(text) => return Search::Whole(BY_ACCOUNT, text.clone()),
        Criterion::Card(text) => return Search::Whole(BY_CARD, text.clone()),
        Criterion::Name(words) => (TermKind::Name, words.as_slice()),
        Criterion::Email(text) => (TermKind::Email, std::slice::from_ref(text)),
        Criterion::Phone(text) => (TermKind::Phone, std::slice::from_ref(text)),
    };
    // A customer that matches every word is found however common each word is. Those that match some are
    // taken from the first candidates of each word.
    let mut statements = vec![statement(words.len(), false)];
    if words.len() > 1 {
        statements.push(statement(words.len(), true));
    }
    let texts = words.iter().flat_map(|word| [word.clone(), prefix_end(word)]).collect();
    Search::Prefix { statements, kind: kind as i16, texts }
}

/// One statement for `words` words. `all`: of customers that match all of them, from all candidates; else of
/// customers that match any, from the first [`MAX_HITS`] candidates of each word in the order of the index.
fn statement(words: usize, all: bool) -> String {
    let mut sql = "select customer_id, cast(sum(points) as bigint) as points from (".to_owned();
    for word in 0..words {
        let (first, end) = (word * 2 + 2, word * 2 + 3);
        let union = if word == 0 { "" } else { " union all " };
        let bound = if all { String::new() } else { format!(" order by term, customer_id limit {MAX_HITS}") };
        // Writing to a String cannot fail.
        let _ = write!(
            sql,
            "{union}select customer_id, max(points) as points from (\
             select customer_id, case when term = ${first} then 2 else 1 end as points from customer_terms \
             where kind = $1 and term >= ${first} and term < ${end}{bound}) c{word} group by customer_id"
        );
    }
    let every = if all { format!(" having count(*) = {words}") } else { String::new() };
    let _ =
        write!(sql, ") found group by customer_id{every} order by points desc, customer_id limit {MAX_HITS}");
    sql
}

/// The customers of all statements together: best first, ties by GUID, at most [`MAX_HITS`].
pub(super) fn merge(criterion: &Criterion, rows: Vec<(Uuid, i64)>) -> Vec<Hit> {
    // Only names have degrees of matching.
    let graded = matches!(criterion, Criterion::Name(_));
    let mut best: HashMap<Uuid, i64> = HashMap::new();
    for (id, points) in rows {
        let points = if graded { points } else { 1 };
        best.entry(id).and_modify(|known| *known = points.max(*known)).or_insert(points);
    }
    let mut hits: Vec<Hit> =
        best.into_iter().map(|(id, points)| Hit { id: CustomerId(id), points }).collect();
    hits.sort_unstable_by_key(|hit| (-hit.points, hit.id));
    hits.truncate(MAX_HITS);
    hits
}
