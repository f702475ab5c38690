//! What the figures say, in words: computed from the result alone, so that another profile gives other words.

mod knees;

pub use knees::knees;

use crate::{
    result::{Arrivals, Ledger, Mode, ResultFile, Run, Services, enough},
    slo::{Metric, quantile_name},
    usage::{EMULATOR, HEADQUARTERS},
};

/// The sentence that answers the question: how far sync carries, and what async costs.
#[must_use]
pub fn answer(result: &ResultFile) -> String {
    if !result.knees.is_empty() {
        return knees(result).join(" ");
    }
    if let Arrivals::Closed { callers } = result.setup.arrivals {
        let runs = Mode::ALL.into_iter().flat_map(|mode| of_mode(result, mode));
        let rates: Vec<String> =
            runs.map(|run| format!("{} {}/s", run.mode, number(run.completed_per_s))).collect();
        return format!("Closed-loop, {callers} callers get done: {}.", rates.join(", "));
    }
    if result.setup.scenario.is_some() {
        let runs = Mode::ALL.into_iter().flat_map(|mode| of_mode(result, mode));
        let modes: Vec<String> = runs.map(|run| format!("{} {}", run.mode, outcome(run))).collect();
        let costs = costs(result).map_or_else(String::new, |costs| format!("; {costs}"));
        return format!("In this scenario {}{costs}.", modes.join("; "));
    }
    [carries(result), costs(result)]
        .into_iter()
        .flatten()
        .reduce(|one, two| format!("{one}; {two}"))
        .map_or_else(|| headline(result), |text| format!("With this headquarters {text}."))
}

/// How far the mode that asks headquarters carries: the rates at which it answers in time.
fn carries(result: &ResultFile) -> Option<String> {
    let mode =
        [Mode::Sync, Mode::SyncFallback].into_iter().find(|mode| !of_mode(result, *mode).is_empty())?;
    let runs = of_mode(result, mode);
    let quantile = if runs.iter().all(|run| enough(run.arrivals, 0.99)) { 0.99 } else { 0.9 };
    let in_time = |run: &&&Run| Metric::Answer(quantile).of(run).is_some_and(|(ms, _)| ms <= IN_TIME_MS);
    let goal = format!("{} under {}", quantile_name(quantile), millis(IN_TIME_MS));
    let kept = runs.iter().take_while(in_time).count();
    Some(match (kept, runs.len()) {
        (0, _) => format!("{mode} did not hold {goal} at any rate that was offered"),
        (all, runs_made) if all == runs_made => {
            format!(
                "{mode} held {goal} at every rate, up to {} creates/s",
                number(runs[all - 1].offered_per_s)
            )
        }
        (some, _) => format!(
            "{mode} held {goal} up to {} creates/s, and not at {}",
            number(runs[some - 1].offered_per_s),
            number(runs[some].offered_per_s)
        ),
    })
}

/// What async took at worst, and until its customers were findable.
fn costs(result: &ResultFile) -> Option<String> {
    let runs = of_mode(result, Mode::Async);
    let slowest = runs
        .iter()
        .filter_map(|run| run.latency_ms.max)
        .fold(None, |most: Option<f64>, ms| Some(most.map_or(ms, |most| most.max(ms))))?;
    let everywhere = runs.iter().filter_map(|run| run.findable_everywhere_ms.p50).max_by(f64::total_cmp);
    let everywhere = everywhere.map_or_else(String::new, |ms| {
        format!(" and made customers findable everywhere after {} (median)", millis(ms))
    });
    Some(format!("async never exceeded {}{everywhere}", millis(slowest)))
}

/// What is quick enough at a till, in the sentence that answers the question.
const IN_TIME_MS: f64 = 500.0;

/// In more words: what happened at the hardest rate that all modes were put to.
#[must_use]
pub fn headline(result: &ResultFile) -> String {
    if !result.knees.is_empty() {
        return knees(result).join(" ");
    }
    let Some((rate, runs)) = hardest(result) else {
        return "Nothing was measured.".to_owned();
    };
    let modes: Vec<String> = runs.iter().map(|run| format!("{} {}", run.mode, outcome(run))).collect();
    format!("At {} creates per second{}: {}.", number(rate), against_capacity(result, rate), modes.join("; "))
}

/// What else they say, one sentence each.
#[must_use]
pub fn findings(result: &ResultFile) -> Vec<String> {
    if !result.knees.is_empty() || matches!(result.setup.arrivals, Arrivals::Closed { .. }) {
        // Each mode has rates of its own: there is none at which they can be put side by side.
        return Vec::new();
    }
    // In the course of a scenario there is no rate at which it happened.
    let headline = result.setup.scenario.is_none().then(|| headline(result));
    [headline, usable(result), rescue(result), price(result), other_work(result), processors(result)]
        .into_iter()
        .flatten()
        .collect()
}

/// What sync and async take of the processors, where each service is a process of its own.
fn processors(result: &ResultFile) -> Option<String> {
    let (rate, runs) = hardest(result)?;
    let used = |mode: Mode| {
        let run = runs.iter().find(|run| run.mode == mode)?;
        let (hq, others): (Vec<_>, Vec<_>) =
            run.services.iter().partition(|usage| usage.name == HEADQUARTERS);
        let stores = others.into_iter().filter(|usage| usage.name != EMULATOR);
        let percent = |cpu_s: f64| cpu_s / run.seconds.max(f64::EPSILON) * 100.0;
        Some((percent(hq.first()?.cpu_s), percent(stores.map(|usage| usage.cpu_s).sum())))
    };
    let (sync, asynchronous) = (used(Mode::Sync)?, used(Mode::Async)?);
    Some(format!(
        "At {}/s sync used {:.0} % of a processor at headquarters and {:.0} % in the stores together, async {:.0} % \
         and {:.0} %.",
        number(rate),
        sync.0,
        sync.1,
        asynchronous.0,
        asynchronous.1
    ))
}

/// What headquarters can do.
#[must_use]
pub fn capacity(result: &ResultFile) -> String {
    let probe = result.setup.probe_per_s;
    let mut text = match result.setup.capacity_per_s {
        Some(capacity) => format!("Headquarters serves at most {} creates per second", number(capacity)),
        None => "Headquarters has no limit, or none that is known".to_owned(),
    };
    if probe > 0.0 {
        text += &format!("; a steady probe of other work there takes {} calls per second", number(probe));
    }
    text + "."
}

/// The ledger's line.
#[must_use]
pub fn ledger(result: &ResultFile) -> String {
    const NONE: &str = "Ledger: the services could not be read, so nothing is proved.";
    const PLANNED: &str =
        "Simulated in virtual time: there are no customers to count, so there is no ledger.";
    if result.setup.services == Services::Simulated {
        return PLANNED.to_owned();
    }
    result.ledger.as_ref().map_or_else(|| NONE.to_owned(), ledger_line)
}

/// A ledger in one line.
#[must_use]
pub fn ledger_line(ledger: &Ledger) -> String {
    if ledger.stores_only {
        let Ledger { acknowledged, in_hq, lost, .. } = ledger;
        return format!(
            "Ledger of the stores alone: {acknowledged} acknowledged, {in_hq} found in a store, {lost} lost."
        );
    }
    let mut text = format!(
        "Ledger: {} acknowledged, {} at headquarters, {} lost, {} doubled, {} pending",
        ledger.acknowledged, ledger.in_hq, ledger.lost, ledger.doubled, ledger.pending
    );
    if ledger.differing > 0 {
        text += &format!(", {} differ between a channel and headquarters", ledger.differing);
    }
    text + "."
}

/// The highest offered rate, and its runs by mode; of all modes where there is such a rate.
#[must_use]
pub fn hardest(result: &ResultFile) -> Option<(f64, Vec<&Run>)> {
    let modes = |rate: f64| result.runs.iter().filter(move |run| same(run.offered_per_s, rate));
    let most = result.runs.iter().map(|run| modes(run.offered_per_s).count()).max()?;
    let rates = result.runs.iter().map(|run| run.offered_per_s);
    let rate = rates.filter(|rate| modes(*rate).count() == most).max_by(f64::total_cmp)?;
    let mut runs: Vec<&Run> = modes(rate).collect();
    runs.sort_by_key(|run| run.mode);
    Some((rate, runs))
}

/// Runs of a mode, by rate.
#[must_use]
pub fn of_mode(result: &ResultFile, mode: Mode) -> Vec<&Run> {
    let mut runs: Vec<&Run> = result.runs.iter().filter(|run| run.mode == mode).collect();
    runs.sort_by(|a, b| a.offered_per_s.total_cmp(&b.offered_per_s));
    runs
}

/// Whether two rates are the same one.
#[must_use]
pub fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn against_capacity(result: &ResultFile, rate: f64) -> String {
    match result.setup.capacity_per_s {
        Some(capacity) if rate > capacity => {
            format!(", {:.1} times what headquarters can serve", rate / capacity)
        }
        Some(capacity) => format!(", {:.0} % of what headquarters can serve", rate / capacity * 100.0),
        None => String::new(),
    }
}

fn outcome(run: &Run) -> String {
    let failed = match run.failed() {
        0 => "failed none".to_owned(),
        _ => format!("failed {}", percent(run.failed_share())),
    };
    match slowest(run) {
        Some(latency) => format!("{failed} and answered within {latency}"),
        None => failed,
    }
}

/// The p99 if there are samples for it, or else the p90.
fn slowest(run: &Run) -> Option<String> {
    let latency = &run.latency_ms;
    let (figure, name) =
        if enough(latency.count, 0.99) { (latency.p99, "p99") } else { (latency.p90, "p90") };
    figure.map(|figure| format!("{} ({name})", millis(figure)))
}

/// The lowest rate, where usually every mode works.
fn usable(result: &ResultFile) -> Option<String> {
    let (hardest, _) = hardest(result)?;
    let lowest = result.runs.iter().map(|run| run.offered_per_s).min_by(f64::total_cmp)?;
    if same(lowest, hardest) {
        return None;
    }
    let mut runs: Vec<&Run> = result.runs.iter().filter(|run| same(run.offered_per_s, lowest)).collect();
    runs.sort_by_key(|run| run.mode);
    let modes: Vec<String> = runs
        .iter()
        .filter_map(|run| Some(format!("{} {}{}", run.mode, millis(run.latency_ms.p50?), failures(run))))
        .collect();
    (!modes.is_empty())
        .then(|| format!("At {} per second the median answer takes: {}.", number(lowest), modes.join(", ")))
}

fn failures(run: &Run) -> String {
    if run.failed() == 0 { String::new() } else { format!(" ({} failed)", percent(run.failed_share())) }
}

/// What the documented fallback costs at the hardest rate.
fn rescue(result: &ResultFile) -> Option<String> {
    let (_, runs) = hardest(result)?;
    let run = runs.into_iter().find(|run| run.mode == Mode::SyncFallback)?;
    let total = run.acknowledged.total();
    let rescued = run.acknowledged.async_fallback;
    if rescued == 0 || total == 0 {
        return None;
    }
    let share = percent(rescued as f64 / total as f64);
    // The median may well be a quick refusal by a full queue, so it says nothing about those who wait.
    let waits = run.latency_ms.p90.map_or_else(String::new, |p90| {
        format!("; one customer in ten still waits {} or more for the answer", millis(p90))
    });
    Some(format!("The fallback rescues {share} of the creates there after headquarters failed them{waits}."))
}

/// What async costs: the time until others find the customer.
fn price(result: &ResultFile) -> Option<String> {
    let (_, runs) = hardest(result)?;
    let run = runs.into_iter().find(|run| run.mode == Mode::Async)?;
    let (everywhere, account) = (run.findable_everywhere_ms.p50?, run.account_number_ms.p50?);
    Some(format!(
        "The price of async: every store finds the customer after {} (median), the account number is back after {}.",
        millis(everywhere),
        millis(account)
    ))
}

/// What creates do to other work at headquarters.
fn other_work(result: &ResultFile) -> Option<String> {
    let (rate, runs) = hardest(result)?;
    let modes: Vec<String> = runs
        .iter()
        .filter_map(|run| {
            let failed: u64 = run.probe_errors.values().sum();
            let all = failed + run.probe_latency_ms.count;
            let failures = match failed {
                0 => String::new(),
                _ => format!(" ({} failed)", percent(failed as f64 / all as f64)),
            };
            Some(format!("{} beside {}{failures}", millis(run.probe_latency_ms.p50?), run.mode))
        })
        .collect();
    (!modes.is_empty()).then(|| {
        format!(
            "Other work at headquarters, at {} creates per second, takes (median): {}.",
            number(rate),
            modes.join(", ")
        )
    })
}

/// Milliseconds, or seconds where that reads better.
#[must_use]
pub fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 10_000.0 => format!("{:.2} s", ms / 1_000.0),
        ms => format!("{:.0} s", ms / 1_000.0),
    }
}

/// A rate, without digits that say nothing.
#[must_use]
pub fn number(value: f64) -> String {
    if value >= 100.0 || (value - value.round()).abs() < 0.05 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// A share; a small one is not shown as none.
fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn b9_the_question_is_answered_first() {
        let mut result = testing::result();
        assert_eq!(
            answer(&result),
            "With this headquarters sync held p90 under 500 ms up to 50 creates/s, and not at 200; async never exceeded \
             5.0 ms and made customers findable everywhere after 1.20 s (median)."
        );
        result.runs.retain(|run| run.mode == Mode::SyncFallback && run.offered_per_s < 100.0);
        assert_eq!(
            answer(&result),
            "With this headquarters sync-fallback held p90 under 500 ms at every rate, up to 50 creates/s."
        );
    }

    #[test]
    fn the_words_follow_the_figures() {
        let result = testing::result();
        assert_eq!(
            headline(&result),
            "At 200 creates per second, 2.0 times what headquarters can serve: sync failed 50 % and answered \
             within 700 ms (p90); sync-fallback failed none and answered within 700 ms (p90); async failed none \
             and answered within 2.0 ms (p90)."
        );
        let found = findings(&result).join("\n");
        assert!(found.contains("At 50 per second the median answer takes: sync 40 ms"), "{found}");
        assert!(found.contains("rescues 50 % of the creates there after headquarters failed them; one customer in ten still waits 700 ms"), "{found}");
        assert!(found.contains("every store finds the customer after 1.20 s"), "{found}");
        assert!(found.contains("650 ms beside sync"), "{found}");
        assert_eq!(
            ledger(&result),
            "Ledger: 1000 acknowledged, 1000 at headquarters, 0 lost, 0 doubled, 0 pending."
        );
    }

    #[test]
    fn other_figures_give_other_words() {
        let mut result = testing::result();
        for run in &mut result.runs {
            run.errors.clear();
            run.acknowledged.async_fallback = 0;
            run.latency_ms.count = 5_000;
            run.latency_ms.p99 = Some(3.0);
        }
        result.setup.capacity_per_s = Some(1_000.0);
        assert!(headline(&result).starts_with("At 200 creates per second, 20 % of what headquarters can serve: sync failed none and answered within 3.0 ms (p99)"));
        assert!(!findings(&result).join("\n").contains("rescues"));
        result.runs.clear();
        assert_eq!(headline(&result), "Nothing was measured.");
        assert_eq!(findings(&result), ["Nothing was measured."]);
        assert_eq!(answer(&result), "Nothing was measured.");
        result.ledger = None;
        assert!(ledger(&result).contains("nothing is proved"));
    }
}
