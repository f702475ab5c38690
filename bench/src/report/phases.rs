//! Where the time of sync creates went: bars of means that add up, with their figures as a table.

use std::fmt::Write as _;

use super::plot::escape;
use crate::{
    result::{Part, ResultFile, Run},
    verdict::{millis, number},
};

/// Size of the drawing, of a bar, and room for its name.
const WIDTH: f64 = 640.0;
const BAR: f64 = 22.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 70.0;
/// Most bars: of more runs the hardest of each mode are shown.
const MAX_BARS: usize = 16;

/// The figure; nothing if nobody has told where the time went.
#[must_use]
pub fn figure(result: &ResultFile) -> String {
    let told: Vec<(&Run, [(&'static str, Part); 4])> = result
        .runs
        .iter()
        .filter_map(|run| {
            let phases = run.phases_ms?;
            let parts = [
                ("queue", phases.queue),
                ("service", phases.service),
                ("link", phases.link),
                ("channel", phases.channel),
            ];
            Some((run, parts))
        })
        .take(MAX_BARS)
        .collect();
    let total = |parts: &[(&str, Part); 4]| parts.iter().filter_map(|(_, part)| part.mean).sum::<f64>();
    let most = told.iter().map(|(_, parts)| total(parts)).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let height = told.len() as f64 * (BAR + 8.0) + 8.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"phases-t phases-d\">\
         <title id=\"phases-t\">Where the time of sync creates went</title>\
         <desc id=\"phases-d\">A bar for each run, in parts. The figures are in the table beside it.</desc>"
    );
    let mut rows = String::new();
    for (place, (run, parts)) in told.iter().enumerate() {
        let y = 8.0 + place as f64 * (BAR + 8.0);
        let name = format!("{} {}/s", run.mode, number(run.offered_per_s));
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 16.0,
            escape(&name)
        );
        let mut x = LEFT;
        let _ = write!(rows, "<tr><td>{}</td>", escape(&name));
        for (class, part) in parts {
            let wide = part.mean.unwrap_or_default() / most * (WIDTH - LEFT - RIGHT);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" width=\"{wide:.1}\" height=\"{BAR}\"/>"
            );
            x += wide;
            let show = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), millis);
            let _ = write!(rows, "<td>{} <small>{}</small></td>", show(part.mean), show(part.p99));
        }
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{}\">{}</text>", x + 6.0, y + 16.0, millis(total(parts)));
        rows += "</tr>";
    }
    format!(
        "<figure id=\"phases\"><figcaption><b>Where the time of sync creates went</b> Means of the creates that \
         headquarters made; they add up to the mean answer. In the table the 99th percentile stands beside.</figcaption>\
         <div class=\"legend\"><span><i class=\"queue\"></i>queue at headquarters</span>\
         <span><i class=\"service\"></i>service at headquarters</span><span><i class=\"link\"></i>link</span>\
         <span><i class=\"channel\"></i>channel</span></div><div class=\"beside\">{svg}</svg><div class=\"figures\"><table>\
         <thead><tr><th>run</th><th>queue</th><th>service</th><th>link</th><th>channel</th></tr></thead>\
         <tbody>{rows}</tbody></table></div></div></figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{result::Phases, testing};

    #[test]
    fn b3_the_parts_of_a_bar_are_as_long_as_their_means() {
        let mut result = testing::result();
        assert_eq!(figure(&result), "");
        let part = |mean| Part { mean: Some(mean), p50: Some(mean), p99: Some(2.0 * mean) };
        result.runs[0].phases_ms =
            Some(Phases { queue: part(10.0), service: part(40.0), link: part(0.0), channel: part(50.0) });
        let html = figure(&result);
        // 420 for 100 ms.
        for bar in ["width=\"42.0\"", "width=\"168.0\"", "width=\"0.0\"", "width=\"210.0\""] {
            assert!(html.contains(bar), "{bar}: {html}");
        }
        assert!(html.contains("<td>10 ms <small>20 ms</small></td>") && html.contains("sync 50/s"));
    }
}
