//! What each service used of the machine, as a table (rule B3).

use std::fmt::Write as _;

use super::plot::escape;
use crate::{result::ResultFile, verdict::number};

/// The table; nothing if no service said it.
#[must_use]
pub fn table(result: &ResultFile) -> String {
    let mut names: Vec<&str> = Vec::new();
    for usage in result.runs.iter().flat_map(|run| &run.services) {
        if !names.contains(&usage.name.as_str()) {
            names.push(&usage.name);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let head: String = names.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
    let mut html = format!(
        "<h3>What each service used</h3><p>CPU, as a share of one processor, and memory in use.</p>\
         <div class=\"scroll\"><table><thead><tr><th>mode</th><th>offered/s</th>{head}</tr></thead><tbody>"
    );
    for run in &result.runs {
        let _ = write!(html, "<tr><td><b>{}</b></td><td>{}</td>", run.mode, number(run.offered_per_s));
        for name in &names {
            let used = run.services.iter().find(|usage| usage.name == *name);
            let used = used.map_or_else(
                || "-".to_owned(),
                |usage| {
                    let share = usage.cpu_s / run.seconds.max(f64::EPSILON) * 100.0;
                    format!("{share:.1} % <small>{:.0} MiB</small>", usage.rss_bytes / f64::from(1 << 20))
                },
            );
            let _ = write!(html, "<td>{used}</td>");
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{result::ServiceUsage, testing};

    #[test]
    fn b3_cpu_is_a_share_of_one_processor() {
        let mut result = testing::result();
        assert_eq!(table(&result), "");
        let usage = |name: &str, cpu_s| ServiceUsage {
            name: name.to_owned(),
            cpu_s,
            rss_bytes: 31_457_280.0,
            written_bytes: None,
        };
        result.runs[0].seconds = 4.0;
        result.runs[0].services = vec![usage("headquarters", 1.0), usage("store<1>", 0.1)];
        let html = table(&result);
        assert!(
            html.contains("<td>25.0 % <small>30 MiB</small></td><td>2.5 % <small>30 MiB</small></td></tr>")
        );
        assert!(
            html.contains("<th>store&lt;1&gt;</th>") && html.contains("<td>-</td><td>-</td></tr>"),
            "{html}"
        );
    }
}
