//! The page around the plots.

use std::fmt::Write as _;

use super::{
    figures::{self, Named},
    phases,
    plot::escape,
    services,
};
use crate::{
    result::{Arrivals, ResultFile, Run, Services, enough},
    verdict,
};

/// Everything the page looks like. Colours after Okabe and Ito: told apart by colour-blind people too.
const STYLE: &str = include_str!("style.css");

/// The report as one HTML file without a reference to anything outside it.
#[must_use]
pub fn render(result: &ResultFile) -> String {
    overlay(&[Named { name: "", result }])
}

/// Several results as one page: the plots laid over each other, the first result's lines the strongest.
#[must_use]
pub fn overlay(results: &[Named<'_>]) -> String {
    let Some(Named { result: first, .. }) = results.first() else { return String::new() };
    let played = first.setup.scenario.as_ref();
    let mut html = head("Tillsync: sync against async");
    let title = played.map_or("Creating a customer: sync against async", |played| &played.name);
    let _ = write!(html, "<header><h1>{}</h1>", escape(title));
    if let Some(played) = played {
        let _ = write!(html, "<p>{}</p>", escape(&played.look_for));
    }
    for named in results {
        html += &answers(named);
    }
    html += "</header>";
    if let Some(played) = played.filter(|played| !played.events.is_empty()) {
        html += "<p class=\"events\">";
        for event in &played.events {
            let _ = write!(html, "<span><b>{:.0} s</b> {}</span>", event.at_s, escape(&event.what));
        }
        html += "</p>";
    }
    html += "<h2>Plots</h2><div class=\"plots\">";
    for plot in figures::all(results) {
        html += &plot.html();
    }
    html += &phases::figure(first);
    html += "</div>";
    for Named { name, result } in results {
        let of = if name.is_empty() { String::new() } else { format!(": {}", escape(name)) };
        let _ = write!(html, "<h2>All runs{of}</h2>");
        html += &runs(result);
        html += &services::table(result);
        html += &goals(result);
        html += &warnings(result, &of);
        html += &measured(result, &of);
    }
    html += WORDS;
    html += "</main></body></html>\n";
    html
}

/// The sentences that answer the question, and the ledger.
fn answers(named: &Named<'_>) -> String {
    let Named { name, result } = named;
    let mut html = String::new();
    if !name.is_empty() {
        let _ = write!(html, "<h2>{}</h2>", escape(name));
    }
    let _ = write!(html, "<p class=\"answer\">{}</p><ul>", escape(&verdict::answer(result)));
    for finding in verdict::findings(result) {
        let _ = write!(html, "<li>{}</li>", escape(&finding));
    }
    let _ = write!(html, "</ul><p>{}</p>", escape(&verdict::capacity(result)));
    html + &ledger(result)
}

/// What the runs had to keep.
fn goals(result: &ResultFile) -> String {
    if result.checks.slos.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<h3>Goals</h3><div class=\"scroll\"><table><thead><tr><th>goal</th><th>mode</th><th>offered/s</th><th>it is</th>\
         <th></th></tr></thead><tbody>",
    );
    for outcome in &result.checks.slos {
        let (class, word) = if outcome.kept { ("kept", "kept") } else { ("missed", "missed") };
        let few = if outcome.few_samples { "~" } else { "" };
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{few}{}</td><td class=\"{class}\">{word}</td></tr>",
            escape(&outcome.slo),
            outcome.mode,
            verdict::number(outcome.offered_per_s),
            escape(&outcome.figure)
        );
    }
    html + "</tbody></table></div>"
}

/// The beginning of a page of ours, up to its words.
pub(super) fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{}</title>\
         <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head><body><main>",
        escape(title)
    )
}

/// The three modes, for those who do not know them.
const WORDS: &str = "<h2>Words</h2><dl>\
    <dt>sync</dt><dd>The store calls headquarters while the customer waits. If headquarters fails, the create fails.</dd>\
    <dt>sync-fallback</dt><dd>The same, but if headquarters cannot be reached or is too busy, the store keeps the \
    customer in its own database and hands it in later. This is the documented behaviour.</dd>\
    <dt>async</dt><dd>The store always keeps the customer in its own database, answers at once, and hands it in later.</dd>\
    <dt>findable everywhere</dt><dd>Every store finds the customer. A customer that headquarters made at once is found \
    from then on by a search in all stores; others when replication has brought them.</dd>\
    <dt>account number</dt><dd>Headquarters' number for the customer. Until it is back, the customer is pending.</dd>\
    <dt>probe</dt><dd>Other work at headquarters: a steady, slow stream of reads through the same workers.</dd>\
    <dt>queue, service, link, channel</dt><dd>Where the time of a create goes that headquarters makes: waiting for a \
    worker there, with the worker, on the way between store and headquarters, and all the rest.</dd>\
    <dt>p50, p99</dt><dd>Half, or 99 of 100, took no longer. A figure marked ~ has too few samples behind it.</dd></dl>";

fn ledger(result: &ResultFile) -> String {
    let class = match &result.ledger {
        _ if result.setup.services == Services::Simulated => "",
        Some(ledger) if ledger.holds() => "good",
        _ => "bad",
    };
    let mut html = format!("<p class=\"ledger {class}\">{}</p>", escape(&verdict::ledger(result)));
    let examples = result.ledger.iter().flat_map(|ledger| &ledger.examples);
    for example in examples {
        let _ = write!(html, "<p><code>{}</code></p>", escape(example));
    }
    html
}

fn runs(result: &ResultFile) -> String {
    let mut html = String::from(
        "<div class=\"scroll\"><table><thead><tr><th rowspan=\"2\">mode</th><th rowspan=\"2\">offered/s</th>\
         <th rowspan=\"2\">done/s</th><th rowspan=\"2\">failed</th><th colspan=\"4\">answer</th>\
         <th colspan=\"2\">findable everywhere</th><th colspan=\"2\">account number</th>\
         <th colspan=\"2\">headquarters</th><th colspan=\"2\">probe</th><th rowspan=\"2\">backlog</th></tr>\
         <tr><th>p50</th><th>p90</th><th>p99</th><th>max</th><th>p50</th><th>p99</th><th>p50</th><th>p99</th>\
         <th>busy</th><th>queue</th><th>p50</th><th>p99</th></tr></thead><tbody>",
    );
    for run in &result.runs {
        html += &row(run);
    }
    html += "</tbody></table></div>";
    for run in result.runs.iter().filter(|run| run.failed() > 0) {
        let errors: Vec<String> = run.errors.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let (rate, errors) = (verdict::number(run.offered_per_s), escape(&errors.join(", ")));
        let _ = write!(html, "<div><small>{} at {rate}/s failed: {errors}</small></div>", run.mode);
    }
    html
}

fn row(run: &Run) -> String {
    let ms = |figure: Option<f64>, count: u64, quantile: f64| {
        let mark = if enough(count, quantile) { "" } else { "~" };
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{mark}{}", verdict::millis(figure)))
    };
    let latency = &run.latency_ms;
    let failed = match run.failed() {
        0 => "0".to_owned(),
        _ => format!("{:.1} %", run.failed_share() * 100.0),
    };
    let mut cells = vec![
        format!("<b>{}</b>", run.mode),
        verdict::number(run.offered_per_s),
        verdict::number(run.completed_per_s),
        failed,
        ms(latency.p50, latency.count, 0.5),
        ms(latency.p90, latency.count, 0.9),
        ms(latency.p99, latency.count, 0.99),
        ms(latency.max, u64::MAX, 0.5),
    ];
    for two in [&run.findable_everywhere_ms, &run.account_number_ms] {
        cells.extend([ms(two.p50, two.count, 0.5), ms(two.p99, two.count, 0.99)]);
    }
    cells.extend(match &run.hq {
        Some(hq) => [format!("{:.0} %", hq.utilization * 100.0), hq.queue_max.to_string()],
        None => ["-".to_owned(), "-".to_owned()],
    });
    let probe = &run.probe_latency_ms;
    cells.extend([ms(probe.p50, probe.count, 0.5), ms(probe.p99, probe.count, 0.99)]);
    cells.push(run.backlog.at_end.to_string());
    let cells: Vec<String> = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr>{}</tr>", cells.join(""))
}

fn warnings(result: &ResultFile, of: &str) -> String {
    let session = result.warnings.iter().map(|warning| warning.text.clone());
    let runs = result.runs.iter().flat_map(|run| {
        let at = format!("{} at {}/s", run.mode, verdict::number(run.offered_per_s));
        run.warnings.iter().map(move |warning| format!("{at}: {}", warning.text))
    });
    let mut all: Vec<String> = session.chain(runs).collect();
    if result.interrupted {
        all.insert(0, "Ended early by a signal: what was measured until then is shown.".to_owned());
    }
    if all.is_empty() {
        return format!("<h3>When not to trust this{of}</h3><p>Nothing to warn of.</p>");
    }
    let items: Vec<String> = all.iter().map(|text| format!("<li>{}</li>", escape(text))).collect();
    format!(
        "<h3>When not to trust this{of}</h3><details open><summary>{} remarks</summary><ul>{}</ul></details>",
        items.len(),
        items.join("")
    )
}

fn measured(result: &ResultFile, of: &str) -> String {
    let setup = &result.setup;
    let services = match setup.services {
        Services::Embedded => {
            "started for it, as real servers over loopback TCP: they share the harness's processors"
        }
        Services::External => "up already, at the addresses on the command line",
        Services::Simulated => "none: simulated in virtual time",
    };
    let arrivals = match &setup.arrivals {
        Arrivals::Poisson => "Poisson".to_owned(),
        Arrivals::Constant => "constant".to_owned(),
        Arrivals::Closed { callers } => {
            format!("CLOSED-LOOP: {callers} callers that each wait for the answer; a stall is hidden")
        }
        Arrivals::Curve => "Poisson, at the scenario's rate".to_owned(),
        Arrivals::Trace { file, day, skip_idle_s } => {
            let day = day.as_ref().map_or_else(String::new, |day| format!(", day {day}"));
            let idle = skip_idle_s.map_or_else(String::new, |s| format!(", pauses shortened to {s} s"));
            format!("replayed from {file}{day}{idle}")
        }
        Arrivals::Daily { creates_per_day } => {
            format!("{creates_per_day} a day, Poisson at a rate that follows the day")
        }
    };
    let rows = [
        ("started", result.started.clone()),
        ("took", format!("{:.0} s", result.elapsed_s)),
        ("command, to repeat it", result.command.join(" ")),
        ("version", format!("{} {}", result.version, result.commit.as_deref().unwrap_or(""))),
        ("machine", format!("{}, {} processors", result.machine.os, result.machine.cpus)),
        ("services", format!("{services}; {} channels", setup.channels)),
        ("durability", setup.durability.clone()),
        ("arrivals", format!("{arrivals}{}, seed {}", open_loop(&setup.arrivals), setup.seed)),
        (
            "each run",
            format!(
                "{} s measured after {} s of load, made {} times, by {} generators",
                setup.seconds, setup.warmup_s, setup.repeat, setup.generators
            ),
        ),
        ("probe", format!("{} calls per second", setup.probe_per_s)),
        ("a channel waits for headquarters", format!("{} ms", setup.rts_timeout_ms)),
        ("a till waits for its channel", format!("{} ms", setup.call_deadline_ms)),
        ("followed to every store", format!("at most {} creates of a run", setup.sample)),
        ("CPU of the harness", optional(result.process.cpu_s, |s| format!("{s:.1} s"))),
        (
            "memory of the harness",
            optional(result.process.max_rss_bytes, |bytes| format!("{} MiB at most", bytes / 1_048_576)),
        ),
    ];
    let mut html =
        format!("<h3>How it was measured{of}</h3><div class=\"scroll\"><table class=\"setup\"><tbody>");
    for (name, value) in rows {
        let _ = write!(html, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value));
    }
    html += "</tbody></table></div>";
    if let Some(profile) = &setup.profile_toml {
        let _ = write!(
            html,
            "<details><summary>Profile of headquarters</summary><pre>{}</pre></details>",
            escape(profile)
        );
    }
    html
}

fn open_loop(arrivals: &Arrivals) -> &'static str {
    if matches!(arrivals, Arrivals::Closed { .. }) { "" } else { ", open-loop" }
}

fn optional<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "unknown".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn b9_the_report_has_every_plot_and_no_reference_outside() {
        let result = testing::result();
        let html = render(&result);
        for id in [
            "latency",
            "completed",
            "probe",
            "queue",
            "findable",
            "account",
            "distribution-low",
            "distribution",
        ] {
            assert!(html.contains(&format!("<figure id=\"{id}\">")), "{id}");
        }
        assert_eq!(html.matches("<svg").count(), 8);
        assert_eq!(html.matches("<svg").count(), html.matches("<desc").count());
        for outside in ["http:", "https:", "src=", "url(", "@import", "<script", "<iframe", "//"] {
            assert!(!html.contains(outside), "{outside}");
        }
        let answer = html.find("class=\"answer\"").unwrap();
        assert!(html[answer..].contains("With this headquarters"), "{html}");
        assert!(html.contains("failed 50 %"));
        assert!(html.contains("0 lost, 0 doubled"));
        assert!(html.contains("ledger good"));
        assert!(html.contains("sync at 200/s failed: RESOURCE_EXHAUSTED 100"));
    }

    #[test]
    fn b9_several_results_are_laid_over_each_other() {
        let (one, two) = (testing::result(), testing::result());
        let results = [Named { name: "before", result: &one }, Named { name: "after <b>", result: &two }];
        let html = overlay(&results);
        assert_eq!(html.matches("<svg").count(), render(&one).matches("<svg").count());
        assert!(html.contains("before: sync p50") && html.contains("after &lt;b&gt;: sync p50"));
        assert!(html.contains("class=\"of1\"") && html.matches("<h2>All runs").count() == 2);
    }

    #[test]
    fn what_was_entered_is_not_html_and_nothing_measured_is_still_a_page() {
        let mut result = testing::result();
        result.command = vec!["tillsync".to_owned(), "--out=<b>".to_owned()];
        result.runs.clear();
        result.ledger = None;
        let html = render(&result);
        assert!(html.contains("--out=&lt;b&gt;") && !html.contains("--out=<b>"));
        assert!(html.contains("nothing was measured"));
        assert!(html.contains("ledger bad"));
    }
}
