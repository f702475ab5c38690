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
/// Most rows of a table; of more places so many are listed.
const MAX_ROWS: usize = 24;
const FEW_ROWS: usize = 13;
/// What is listed of a distribution.
const QUANTILES: [f64; 7] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999];

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
    /// Lines across the plot at these places, and their names.
    pub limits: Vec<(f64, String)>,
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
    /// Of which result it is, from 0: those laid over the first are fainter.
    pub of: usize,
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
            html += "<div class=\"beside\">";
            html += &self.svg();
            html += &self.table();
            html += "</div>";
        }
        html += "</figure>\n";
        html
    }

    fn legend(&self) -> String {
        let mut html = String::from("<div class=\"legend\">");
        for line in &self.lines {
            let dash = if line.dashed { " dashed" } else { "" };
            let name = escape(&line.name);
            let _ = write!(
                html,
                "<span class=\"of{}\"><i class=\"{}{dash}\"></i>{name}</span>",
                line.of, line.class
            );
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
            svg += &drawn(line, self.x.1, place);
        }
        for (number, (at, name)) in self.limits.iter().enumerate() {
            svg += &limit(place(&(*at, 0.0)).0, name, number);
        }
        svg + "</svg>"
    }

    /// Everything but the marks and lines.
    fn frame(&self) -> String {
        let (id, title, reading) = (&self.id, escape(&self.title), escape(&self.reading));
        let (x, y) = (escape(self.x.0), escape(self.y.0));
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{reading} The figures are in the table beside it.</desc>\
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

    /// The figures, one row for each place: all where there are few, some where there are many; the result file has
    /// every point.
    fn table(&self) -> String {
        let mut html = String::from("<div class=\"figures\"><table><thead><tr>");
        let _ = write!(html, "<th>{}</th>", escape(self.x.0));
        for line in &self.lines {
            let _ = write!(html, "<th>{}</th>", escape(&line.name));
        }
        html += "</tr></thead><tbody>";
        let (places, apart) = self.places();
        for x in places {
            let _ = write!(html, "<tr><td>{}</td>", figure(x));
            for line in &self.lines {
                let distance = |point: &&(f64, f64)| (point.0 - x).abs();
                let nearest = line.points.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
                let nearest = nearest.filter(|point| distance(point) <= apart / 2.0 + 1e-9);
                let _ =
                    write!(html, "<td>{}</td>", nearest.map_or_else(String::new, |point| figure(point.1)));
            }
            html += "</tr>";
        }
        html + "</tbody></table></div>"
    }

    /// The places to list, and how far they are apart; 0 if every one is listed.
    fn places(&self) -> (Vec<f64>, f64) {
        let mut all: Vec<f64> =
            self.lines.iter().flat_map(|line| &line.points).map(|point| point.0).collect();
        all.sort_by(f64::total_cmp);
        all.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
        if all.len() <= MAX_ROWS {
            return (all, 0.0);
        }
        if self.x.1 == Scale::Quantile {
            return (QUANTILES.to_vec(), f64::INFINITY);
        }
        let (first, last) = (all[0], all[all.len() - 1]);
        let apart = (last - first) / (FEW_ROWS - 1) as f64;
        ((0..FEW_ROWS).map(|n| first + apart * n as f64).collect(), apart)
    }
}

/// A line across the plot; its name stands on top of everything.
fn limit(at: f64, name: &str, number: usize) -> String {
    let (bottom, name) = (HEIGHT - BOTTOM, escape(name));
    // Names of neighbours stand below each other, and to the left of a line at the right end.
    let down = (number % 4) as f64 * 15.0;
    let (x, anchor) = if at > WIDTH * 0.7 { (at - 4.0, "end") } else { (at + 4.0, "start") };
    format!(
        "<line class=\"limit\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
         <text class=\"limit\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{name}</text>",
        TOP + 12.0 + down
    )
}

fn drawn(line: &Line, x: Scale, place: impl Fn(&(f64, f64)) -> (f64, f64)) -> String {
    let (class, dash) = (line.class, if line.dashed { " dashed" } else { "" });
    let mut svg = format!("<g class=\"of{}\">", line.of);
    for part in unbroken(&line.points, x) {
        let path: Vec<String> = part.iter().map(&place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(svg, "<polyline class=\"{class}{dash}\" points=\"{}\"/>", path.join(" "));
    }
    if line.points.len() <= MAX_DOTS {
        line.points.iter().map(place).for_each(|place| svg += &mark(class, place));
    }
    svg + "</g>"
}

/// A course of many points is broken where some are missing: nothing was measured there, and no line says otherwise.
/// Of a distribution none is missing.
fn unbroken(points: &[(f64, f64)], x: Scale) -> Vec<&[(f64, f64)]> {
    let mut gaps: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    gaps.sort_by(f64::total_cmp);
    match gaps.get(gaps.len() / 2) {
        Some(usual) if points.len() > MAX_DOTS && x == Scale::Linear => {
            points.chunk_by(|a, b| b.0 - a.0 <= 2.5 * usual).collect()
        }
        _ => vec![points],
    }
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
    if value == 0.0 {
        return "0".to_owned();
    }
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
            lines: vec![Line { name: "sync \"p50\"".to_owned(), class: "sync", dashed: true, of: 0, points }],
            limits: vec![(100.0, "capacity".to_owned())],
        }
    }

    #[test]
    fn b9_a_plot_has_a_title_a_description_a_line_and_a_table_beside_it() {
        let html = plot(vec![(50.0, 40.0), (200.0, 700.0)]).html();
        assert!(html.contains("<title id=\"p-t\">A &lt;plot&gt;</title>") && html.contains("<desc"));
        assert_eq!(html.matches("class=\"mark sync\"").count(), 2);
        assert!(html.contains("<polyline class=\"sync dashed\""));
        assert!(
            html.contains("<th>sync &quot;p50&quot;</th>")
                && html.contains("<tr><td>50.0</td><td>40.0</td></tr>")
        );
        assert!(html.contains("capacity"));
    }

    #[test]
    fn a_long_line_is_drawn_whole_and_listed_thin() {
        let html = plot((0..1_000).map(|n| (f64::from(n), 1.0)).collect()).html();
        assert_eq!(html.matches("class=\"mark").count(), 0);
        assert_eq!(html.matches("<tr>").count(), FEW_ROWS + 1);
        assert_eq!(
            html.split("points=\"").nth(1).unwrap().split('"').next().unwrap().split(' ').count(),
            1_000
        );
    }

    #[test]
    fn a_course_is_broken_where_nothing_was_measured() {
        let course: Vec<(f64, f64)> =
            (0..60).filter(|n| !(20..30).contains(n)).map(|n| (f64::from(n), 1.0)).collect();
        assert_eq!(plot(course).html().matches("<polyline").count(), 2);
        assert_eq!(plot(vec![(1.0, 1.0), (2.0, 1.0), (90.0, 1.0)]).html().matches("<polyline").count(), 1);
        // Few samples lie far apart in the slow part of a distribution, and all are there.
        let distribution = (0..60).map(|n| (1.0 - 0.9_f64.powi(n), 1.0)).collect();
        let plot = Plot { x: ("share", Scale::Quantile), ..plot(distribution) };
        assert_eq!(plot.html().matches("<polyline").count(), 1);
    }

    #[test]
    fn lines_with_places_of_their_own_share_a_table() {
        let mut two = plot(vec![(1.0, 10.0), (2.0, 20.0)]);
        two.lines.push(Line { points: vec![(2.0, 5.0)], ..two.lines[0].clone() });
        let html = two.html();
        assert!(html.contains("<tr><td>1.0</td><td>10.0</td><td></td></tr>"), "{html}");
        assert!(html.contains("<tr><td>2.0</td><td>20.0</td><td>5.0</td></tr>"));
    }

    #[test]
    fn nothing_measured_is_told() {
        let html = plot(Vec::new()).html();
        assert!(html.contains("<svg") && html.contains("nothing was measured"));
    }
}
