//! The emulator's presets under rising load, as a page.

use std::fmt::Write as _;

use super::{
    axis::Scale,
    page::head,
    plot::{Line, Plot, escape},
};
use crate::{plan::profiles::Loaded, result::Run, verdict::number};

/// The page.
#[must_use]
pub fn profiles(presets: &[Loaded]) -> String {
    let mut html = head("Tillsync: the presets of the emulator");
    html += "<h1>What each preset does to sync creates under rising load</h1><p>Simulated in virtual time, ten minutes \
             at each rate, two stores that wait two seconds for headquarters, Poisson arrivals; what happens at certain \
             times (batch work, outages) happens then. A create that fails has no latency: look at both plots.</p>";
    for preset in presets {
        let capacity = preset.capacity_per_s.map_or_else(
            || "nothing limits it".to_owned(),
            |capacity| format!("it can serve {} creates per second", number(capacity)),
        );
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            html,
            "<h2 id=\"{0}\">{0}</h2><p>{1}; {capacity}.</p>",
            preset.name,
            escape(&purpose(preset.text))
        );
        html += "<div class=\"plots\">";
        for plot in plots(preset) {
            html += &plot.html();
        }
        let _ = write!(
            html,
            "</div><details><summary>The profile, with where its figures are from</summary><pre>{}</pre></details>",
            escape(preset.text)
        );
    }
    html + "</main></body></html>\n"
}

/// The first sentence of a preset's comments.
fn purpose(text: &str) -> String {
    let words: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix('#'))
        .map(str::trim)
        .take_while(|l| !l.is_empty())
        .collect();
    let words = words.join(" ");
    let end = words.find(". ").unwrap_or(words.trim_end_matches('.').len());
    words[..end].to_owned()
}

fn plots(preset: &Loaded) -> [Plot; 2] {
    let line = |name: &str, class, dashed, figure: fn(&Run) -> Option<f64>| Line {
        name: name.to_owned(),
        class,
        dashed,
        of: 0,
        points: preset.runs.iter().filter_map(|run| Some((run.offered_per_s, figure(run)?))).collect(),
    };
    let limit: Vec<(f64, String)> =
        preset.capacity_per_s.map(|capacity| (capacity, "capacity".to_owned())).into_iter().collect();
    let x = ("creates offered per second", Scale::Linear);
    let latency = Plot {
        id: format!("{}-latency", preset.name),
        title: "Time until the answer.".to_owned(),
        reading: "Median and 99th percentile of the creates that were answered.".to_owned(),
        x,
        y: ("milliseconds", Scale::Log),
        lines: vec![
            line("p50", "async", false, |run| run.latency_ms.p50),
            line("p99", "sync", true, |run| run.latency_ms.p99),
        ],
        limits: limit.clone(),
    };
    let failed = Plot {
        id: format!("{}-failed", preset.name),
        title: "Creates that fail.".to_owned(),
        reading: "Refused, given up by the store, or failed by headquarters.".to_owned(),
        x,
        y: ("per cent", Scale::Linear),
        lines: vec![line("failed", "sync", false, |run| Some(run.failed_share() * 100.0))],
        limits: limit,
    };
    [latency, failed]
}
