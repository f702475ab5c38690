//! What the knees say, in words.

use super::{millis, number, of_mode};
use crate::result::{Knee, Mode, ResultFile};

/// The highest rates that keep a goal, one sentence each, and what that means for the choice between sync and async.
#[must_use]
pub fn knees(result: &ResultFile) -> Vec<String> {
    let mut sentences: Vec<String> = result.knees.iter().map(knee).collect();
    sentences.extend(crossover(result));
    sentences
}

fn knee(knee: &Knee) -> String {
    let Knee { mode, goal, runs, .. } = knee;
    match (knee.per_s, knee.low, knee.high) {
        (Some(per_s), Some(low), Some(high)) => format!(
            "With this headquarters {mode} keeps {goal} up to {} creates per second ({} to {}; {runs} runs).",
            number(per_s),
            number(low),
            number(high)
        ),
        (_, Some(low), Some(high)) => format!(
            "{mode} keeps {goal} at {} creates per second and not at {}; {runs} runs could not tell more.",
            number(low),
            number(high)
        ),
        (_, Some(low), None) => {
            format!("{mode} keeps {goal} at {} creates per second, the most that was tried.", number(low))
        }
        (_, None, high) => format!(
            "{mode} does not keep {goal} even at {} creates per second.",
            number(high.unwrap_or_default())
        ),
    }
}

/// The rate from which on async pays: beyond what the others can keep.
fn crossover(result: &ResultFile) -> Option<String> {
    let of = |mode: Mode| result.knees.iter().find(|knee| knee.mode == mode);
    let asynchronous = of(Mode::Async)?;
    let least = asynchronous.per_s.or(asynchronous.low);
    let Some(least) = least else {
        return Some(format!("Async does not pay for this goal: it never keeps {}.", asynchronous.goal));
    };
    let waits = of(Mode::Sync).into_iter().chain(of(Mode::SyncFallback));
    let most = waits
        .map(|knee| (knee.per_s.or(knee.low).unwrap_or_default(), knee))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let (per_s, knee) = most?;
    if per_s >= least {
        let tried = if knee.per_s.is_none() { ", as far as was tried" } else { "" };
        return Some(format!(
            "Async does not pay for this goal{tried}: {} keeps it as far as async does.",
            knee.mode
        ));
    }
    let range = knee
        .low
        .zip(knee.high)
        .map_or_else(String::new, |(low, high)| format!(" ({} to {})", number(low), number(high)));
    let price = of_mode(result, Mode::Async).into_iter().filter(|run| run.offered_per_s >= per_s);
    let price = price.filter_map(|run| run.findable_everywhere_ms.p50).next();
    let price = price.map_or_else(String::new, |ms| {
        format!(" In return every store finds a customer after {} (median).", millis(ms))
    });
    Some(format!(
        "From {} creates per second on{range} async pays: only async keeps the goal.{price}",
        number(per_s)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn b4_the_knees_are_told_with_what_they_mean() {
        let goal = "p99=500ms".parse().unwrap();
        let found = |mode, per_s, low, high| Knee { mode, goal, per_s, low, high, runs: 20 };
        let mut result = testing::result();
        result.knees = vec![
            found(Mode::Sync, Some(84.6), Some(82.0), Some(87.0)),
            found(Mode::SyncFallback, None, Some(80.0), Some(90.0)),
            found(Mode::Async, None, Some(1_000.0), None),
        ];
        assert_eq!(
            knees(&result),
            [
                "With this headquarters sync keeps p99 within 500 ms up to 84.6 creates per second (82 to 87; 20 runs).",
                "sync-fallback keeps p99 within 500 ms at 80 creates per second and not at 90; 20 runs could not tell more.",
                "async keeps p99 within 500 ms at 1000 creates per second, the most that was tried.",
                "From 84.6 creates per second on (82 to 87) async pays: only async keeps the goal. In return every store \
                 finds a customer after 1.20 s (median).",
            ]
        );
        result.knees[2] = found(Mode::Async, None, None, Some(0.5));
        assert!(knees(&result)[3].contains("never keeps p99"));
        result.knees[2] = found(Mode::Async, Some(50.0), Some(49.0), Some(51.0));
        assert!(knees(&result)[3].contains("sync keeps it as far as async does"), "{:?}", knees(&result));
    }
}
