//! The answer on the terminal.

use std::fmt::Write as _;

use super::WhatIf;
use crate::{
    report::answers,
    result::TwoPercentiles,
    verdict::{millis, number},
};

/// All of it.
pub fn render(found: &WhatIf) -> String {
    let mut text = String::new();
    for answer in answers(found) {
        text += &answer;
        text += "\n";
    }
    text += "\nhour    creates/s  sync keeps it  stores that should create async\n";
    text += "────────────────────────────────────────────────────────────────\n";
    for hour in &found.hours {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "{:>2}:00 {:>12.2}  {:<13}  {}",
            hour.hour,
            hour.offered_per_s,
            if hour.sync_keeps_goal { "yes" } else { "no" },
            match hour.stores_async {
                0 => "none".to_owned(),
                all if all == found.stores => "all".to_owned(),
                some => format!("the {some} largest of {}", found.stores),
            }
        );
    }
    text += "\nHighest rate at which sync keeps the goal, in creates per second:\n\n";
    let _ = write!(text, "{:>14}", "mean service");
    for workers in &found.workers {
        let _ = write!(text, "{:>11}", format!("{workers} workers"));
    }
    text += "\n";
    for (service_ms, row) in found.service_ms.iter().zip(&found.knees) {
        let _ = write!(text, "{:>14}", millis(*service_ms));
        for knee in row {
            let _ = write!(text, "{:>11}", knee.map_or_else(|| "no limit".to_owned(), number));
        }
        text += "\n";
    }
    text += "\nWhat async costs, by the pause between two runs of each of the three jobs:\n\n";
    text += "       pause   account number p50, p99   findable everywhere p50, p99\n";
    for (pause_s, account, findable) in &found.schedules {
        let two = |figure: &TwoPercentiles| {
            let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), millis);
            format!("{:>12} {:>11}", ms(figure.p50), ms(figure.p99))
        };
        let _ = writeln!(text, "{:>12} {} {:>6}{}", format!("{pause_s} s"), two(account), "", two(findable));
    }
    text
}
