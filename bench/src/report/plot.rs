//! A small plot: lines over two axes, as inline SVG with a title, a description, and its figures as a table
//! beside it. Colours come from the page's style sheet, so that a plot is light or dark as the page is.

use std::fmt::Write as _;

use super::axis::{Axis, Scale};

/// Size of the drawing; the page scales it.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
/// Room for the marks.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 44.0;
/// Lines of at most this many points show each point.
const MAX_DOTS: usize = 24;

/// A plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Short name, unique on the page.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// How to read it, in a sentence.
    pub reading: String,
    /// What is to the right, with its unit.
    pub x: (&'static str, Scale),
    /// What is upwards, with its unit.
    pub y: (&'static str, Scale),
    /// The lines; none is told as such.
    pub lines: Vec<Line>,
    /// A line across the plot at this place, and its name.
    pub limit: Option<(f64, &'static str)>,
}

/// A line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its class in the style sheet.
    pub class: &'static str,
    /// Drawn with gaps.
    pub dashed: bool,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

impl Plot {
    /// The plot as a `figure`.
    #[must_use]
    pub fn html(&self) -> String {
        let mut html = String::new();
        let (id, title, reading) = (&self.id, escape(&self.title), escape(&self.reading));
        // Writing to a string cannot fail, here and below.
        let _ = write!(html, "<figure id=\"{id}\"><figcaption><b>{title}</b> {reading}</figcaption>");
        if self.lines.iter().all(|line| line.points.is_empty()) {
            html += &self.empty();
        } else {
            html += &self.legend();
            html += &self.svg();
        }
        html += &self.table();
        html += "</figure>\n";
        html
    }

    fn legend(&self) -> String {
        let mut html = String::from("<div class=\"legend\">");
        for line in &self.lines {
            let dash = if line.dashed { " dashed" } else { "" };
            let name = escape(&line.name);
            let _ = write!(html, "<span><i class=\"{}{dash}\"></i>{name}</span>", line.class);
        }
        html + "</div>"
    }

    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let x = Axis::new(self.x.1, points().map(|point| point.0));
        let y = Axis::new(self.y.1, points().map(|point| point.1));
        let mut svg = self.frame();
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (figure, label) in x.marks() {
            let at = LEFT + x.place(figure) * (right - LEFT);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                bottom + 16.0
            );
        }
        for (figure, label) in y.marks() {
            let at = bottom - y.place(figure) * (bottom - TOP);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        let place = |(px, py): &(f64, f64)| {
            (LEFT + x.place(*px) * (right - LEFT), bottom - y.place(*py) * (bottom - TOP))
        };
        for line in &self.lines {
            svg += &drawn(line, place);
        }
        if let Some((at, name)) = self.limit {
            svg += &limit(place(&(at, 0.0)).0, name);
        }
        svg + "</svg>"
    }

    /// Everything but the marks and lines.
    fn frame(&self) -> String {
        let (id, title, reading) = (&self.id, escape(&self.title), escape(&self.reading));
        let (x, y) = (escape(self.x.0), escape(self.y.0));
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{reading} The figures are in the table below.</desc>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{x}</text>\
             <text x=\"4\" y=\"13\">{y}</text>",
            LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
            HEIGHT - 8.0,
        )
    }

    /// A plot without a point is still a plot.
    fn empty(&self) -> String {
        let middle = (WIDTH / 2.0, HEIGHT / 2.0);
        let nothing = "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">nothing was measured</text></svg>";
        let nothing = nothing.replace("{x}", &middle.0.to_string()).replace("{y}", &middle.1.to_string());
        self.frame() + &nothing
    }

    fn table(&self) -> String {
        let mut html = String::from("<details><summary>Figures</summary><table><thead><tr>");
        let _ = write!(
            html,
            "<th>line</th><th>{}</th><th>{}</th></tr></thead><tbody>",
            escape(self.x.0),
            escape(self.y.0)
        );
        for line in &self.lines {
            // A long line is thinned out: the result file has every point.
            let every = line.points.len().div_ceil(MAX_DOTS).max(1);
            for (x, y) in line.points.iter().step_by(every) {
                let name = escape(&line.name);
                let _ =
                    write!(html, "<tr><td>{name}</td><td>{}</td><td>{}</td></tr>", figure(*x), figure(*y));
            }
        }
        html + "</tbody></table></details>"
    }
}

/// A line across the plot; its name stands on top of everything.
fn limit(at: f64, name: &str) -> String {
    let (bottom, name) = (HEIGHT - BOTTOM, escape(name));
    format!(
        "<line class=\"limit\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
         <text class=\"limit\" x=\"{:.1}\" y=\"{}\">{name}</text>",
        at + 4.0,
        TOP + 12.0
    )
}

fn drawn(line: &Line, place: impl Fn(&(f64, f64)) -> (f64, f64)) -> String {
    let places: Vec<(f64, f64)> = line.points.iter().map(place).collect();
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let dash = if line.dashed { " dashed" } else { "" };
    let mut svg = format!("<polyline class=\"{}{dash}\" points=\"{}\"/>", line.class, path.join(" "));
    if places.len() <= MAX_DOTS {
        places.iter().for_each(|place| svg += &mark(line.class, *place));
    }
    svg
}

/// A point. Each mode has a shape of its own, so that colour is not all that tells them apart.
fn mark(class: &str, (x, y): (f64, f64)) -> String {
    let shape = match class {
        "sync" => format!("M{:.1},{y:.1}a3.5,3.5 0 1 0 7,0a3.5,3.5 0 1 0 -7,0z", x - 3.5),
        "fallback" => format!("M{:.1},{:.1}h6.4v6.4h-6.4z", x - 3.2, y - 3.2),
        _ => format!("M{x:.1},{:.1}l4.2,7.2h-8.4z", y - 4.6),
    };
    format!("<path class=\"mark {class}\" d=\"{shape}\"/>")
}

fn figure(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 1.0 {
        1
    } else {
        4
    };
    format!("{value:.digits$}")
}

/// Text that cannot be taken for HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            id: "p".to_owned(),
            title: "A <plot>".to_owned(),
            reading: "Lower is better.".to_owned(),
            x: ("offered per s", Scale::Linear),
            y: ("ms", Scale::Log),
            lines: vec![Line { name: "sync \"p50\"".to_owned(), class: "sync", dashed: true, points }],
            limit: Some((100.0, "capacity")),
        }
    }

    #[test]
    fn a_plot_has_a_title_a_description_a_line_and_a_table() {
        let html = plot(vec![(50.0, 40.0), (200.0, 700.0)]).html();
        assert!(html.contains("<title id=\"p-t\">A &lt;plot&gt;</title>") && html.contains("<desc"));
        assert_eq!(html.matches("class=\"mark sync\"").count(), 2);
        assert!(html.contains("<polyline class=\"sync dashed\""));
        assert!(html.contains("<td>sync &quot;p50&quot;</td><td>50.0</td><td>40.0</td>"));
        assert!(html.contains("capacity"));
    }

    #[test]
    fn a_long_line_is_drawn_whole_and_listed_thin() {
        let html = plot((0..1_000).map(|n| (f64::from(n), 1.0)).collect()).html();
        assert_eq!(html.matches("class=\"mark").count(), 0);
        assert!(html.matches("<tr>").count() <= MAX_DOTS + 2);
        assert_eq!(
            html.split("points=\"").nth(1).unwrap().split('"').next().unwrap().split(' ').count(),
            1_000
        );
    }

    #[test]
    fn nothing_measured_is_told() {
        let html = plot(Vec::new()).html();
        assert!(html.contains("<svg") && html.contains("nothing was measured"));
    }
}
