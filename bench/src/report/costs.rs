//! The cost table as a page.

use std::fmt::Write as _;

use super::{page::head, plot::escape};
use crate::{
    costs::{Costs, StoreCosts, megabytes, millis},
    verdict::number,
};

/// A figure: what it is, and how it is written for a database.
type Figure = (&'static str, fn(&StoreCosts) -> String);

const FIGURES: [Figure; 12] = [
    ("empty calls/s", |store| number(store.ping_per_s.median)),
    ("creates/s", |store| number(store.create_per_s.median)),
    ("of the empty call", |store| {
        format!("{:.2} ({:.2} to {:.2})", store.ratio.median, store.ratio.low, store.ratio.high)
    }),
    ("calls/s of the latencies", |store| number(store.paced_per_s)),
    ("empty call p50 / p99, ms", |store| millis(store.ping_ms)),
    ("create p50 / p99, ms", |store| millis(store.create_ms)),
    ("store's CPU per create", |store| micros(Some(store.store_cpu_us))),
    ("database's CPU per create", |store| micros(store.database_cpu_us)),
    ("written per create", |store| {
        store.written_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0} B"))
    }),
    ("memory", |store| megabytes(store.rss_bytes)),
    ("idle", |store| megabytes(store.idle_bytes)),
    ("start", |store| format!("{:.0} ms", store.start_ms)),
];

fn micros(us: Option<f64>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{us:.0} µs"))
}

/// The page.
#[must_use]
pub fn costs(costs: &Costs) -> String {
    let mut html = head("Tillsync: what a store costs");
    let Costs { cpus, rounds, seconds, .. } = costs;
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        html,
        "<h1>What a store costs on each database</h1><p>Async creates by 64 callers on 4 connections that each wait for their \
         answer, in turn with an empty call of the same store: medians of {rounds} rounds of {seconds} s, the ratio also with \
         its lowest and highest. Callers, store and database servers shared {cpus} processors. Latencies are open-loop at the \
         rate shown, from the instant at which a call was due. CPU time and bytes written to disk are for \
         each create until it is searchable, of the store and all its database servers, the standby too.</p>\
         <div class=\"scroll\"><table><thead><tr><th></th>"
    );
    for store in &costs.stores {
        let _ = write!(html, "<th>{}</th>", escape(store.database.name()));
    }
    html += "</tr></thead><tbody>";
    for (name, figure) in FIGURES {
        let _ = write!(html, "<tr><td>{name}</td>");
        for store in &costs.stores {
            let _ = write!(html, "<td>{}</td>", escape(&figure(store)));
        }
        html += "</tr>";
    }
    html += "</tbody></table></div><h2>Services that nobody calls</h2><table><thead><tr><th>Service</th>\
             <th>From start to serving</th><th>Memory</th></tr></thead><tbody>";
    for service in &costs.services {
        let (name, memory) = (escape(&service.name), megabytes(service.idle_bytes));
        let _ = write!(html, "<tr><td>{name}</td><td>{:.0} ms</td><td>{memory}</td></tr>", service.start_ms);
    }
    html + "</tbody></table></main></body></html>\n"
}
