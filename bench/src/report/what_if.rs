//! The answer to "what if" as a page: the same words, the day as a table, and the highest rates as a heat map.

use std::fmt::Write as _;

use super::{page::head, plot::escape};
use crate::{
    plan::what_if::{Hour, WhatIf},
    result::TwoPercentiles,
    verdict::{millis, number},
};

/// The sentences that answer the questions, the first one first.
#[must_use]
pub fn answers(found: &WhatIf) -> Vec<String> {
    let mut answers = vec![which(found)];
    let capacity = found.capacity_per_s.map_or_else(String::new, |capacity| {
        format!(", of {} that headquarters can serve", number(capacity))
    });
    answers.push(match found.knee {
        Some(knee) if knee.per_s < 0.01 => {
            format!("Sync never keeps the goal ({}), however few create.", found.goal)
        }
        Some(knee) => format!(
            "Sync keeps the goal ({}) up to {} creates per second{capacity} ({} to {} in five simulations).",
            found.goal,
            number(knee.per_s),
            number(knee.range.0),
            number(knee.range.1)
        ),
        None => {
            format!("Nothing limits this headquarters: sync keeps the goal ({}) at any rate.", found.goal)
        }
    });
    let (latency, busy) = &found.all_sync;
    answers.push(format!(
        "The busiest hour, if all create sync: {}; headquarters is {:.0} % busy.",
        percentiles(latency),
        busy * 100.0
    ));
    if let (Some((latency, busy)), 1..) = (&found.others, found.stores_async.0) {
        answers.push(format!(
            "With these stores async, the sync creates of the others then take: {}; headquarters is {:.0} % busy.",
            percentiles(latency),
            busy * 100.0
        ));
    }
    answers
}

/// Which stores, and when.
fn which(found: &WhatIf) -> String {
    let (stores, share) = found.stores_async;
    let creates = format!("{} stores with {:.0} creates a day", found.stores, found.creates_per_day);
    match stores {
        0 => format!("{creates}: every store can create sync all day."),
        all if all == found.stores => {
            format!("{creates}: every store should create async{}.", times(&found.hours))
        }
        some => format!(
            "{creates}: the {some} largest, which make {:.0} % of the creates, should create async{}; all others can create \
             sync all day.",
            share * 100.0,
            times(&found.hours)
        ),
    }
}

/// The hours in which some stores should, as ranges.
fn times(hours: &[Hour]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for hour in hours.iter().filter(|hour| !hour.sync_keeps_goal) {
        match ranges.last_mut() {
            Some((_, end)) if *end == hour.hour => *end += 1,
            _ => ranges.push((hour.hour, hour.hour + 1)),
        }
    }
    if ranges == [(0, 24)] {
        return String::new();
    }
    let ranges: Vec<String> =
        ranges.iter().map(|(start, end)| format!("from {start}:00 to {end}:00")).collect();
    format!(" {}", ranges.join(" and "))
}

fn percentiles(two: &TwoPercentiles) -> String {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), millis);
    format!("p50 {}, p99 {}", ms(two.p50), ms(two.p99))
}

/// The page.
#[must_use]
pub fn what_if(found: &WhatIf) -> String {
    let mut html = head("Tillsync: which stores should create async?");
    html += "<h1>Which stores should create async, and when?</h1>";
    for (place, answer) in answers(found).iter().enumerate() {
        let class = if place == 0 { " class=\"answer\"" } else { "" };
        // Writing to a string cannot fail, here and below.
        let _ = write!(html, "<p{class}>{}</p>", escape(answer));
    }
    html += &heat(found);
    html += "<h2>The day</h2><div class=\"scroll\"><table><thead><tr><th>hour</th><th>creates/s</th><th>sync keeps the \
             goal</th><th>stores that should create async</th></tr></thead><tbody>";
    for hour in &found.hours {
        let _ = write!(
            html,
            "<tr><td>{}:00</td><td>{:.2}</td><td>{}</td><td>{}</td></tr>",
            hour.hour,
            hour.offered_per_s,
            if hour.sync_keeps_goal { "yes" } else { "no" },
            hour.stores_async
        );
    }
    html += "</tbody></table></div>";
    html += &schedules(found);
    html += "</main></body></html>\n";
    html
}

/// The highest rates as a table whose cells are the darker the more they are.
fn heat(found: &WhatIf) -> String {
    let mut html = String::from(
        "<h2>How the answer moves with headquarters</h2><p>Highest rate at which sync keeps the goal, in creates per \
         second.</p><div class=\"scroll\"><table class=\"heat\"><thead><tr><th>mean service</th>",
    );
    for workers in &found.workers {
        let _ = write!(html, "<th>{workers} workers</th>");
    }
    html += "</tr></thead><tbody>";
    let most = found.knees.iter().flatten().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    for (service_ms, row) in found.service_ms.iter().zip(&found.knees) {
        let _ = write!(html, "<tr><th>{}</th>", millis(*service_ms));
        for knee in row {
            let share = knee.map_or(1.0, |knee| knee / most);
            let text = knee.map_or_else(|| "no limit".to_owned(), number);
            let _ = write!(html, "<td style=\"--heat:{:.0}%\">{text}</td>", share * 75.0);
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>"
}

fn schedules(found: &WhatIf) -> String {
    let mut html = String::from(
        "<h2>What async costs, by schedule</h2><p>The same pause for the P-job, the customer sync job and 1010.</p>\
         <div class=\"scroll\"><table><thead><tr><th rowspan=\"2\">pause</th><th colspan=\"2\">account number</th>\
         <th colspan=\"2\">findable everywhere</th></tr><tr><th>p50</th><th>p99</th><th>p50</th><th>p99</th></tr></thead><tbody>",
    );
    for (pause_s, account, findable) in &found.schedules {
        let _ = write!(html, "<tr><td>{pause_s} s</td>");
        for ms in [account.p50, account.p99, findable.p50, findable.p99] {
            let _ = write!(html, "<td>{}</td>", ms.map_or_else(|| "-".to_owned(), millis));
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>"
}
