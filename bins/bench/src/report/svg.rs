//! Plots as SVG: bars and lines, with a whisker from the least to the greatest figure.

use std::fmt::Write;

use super::tables::grouped;
use crate::statistics::Spread;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 290.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 56.0;
const BAR: f64 = 20.0;
const GAP: f64 = 8.0;
const HEIGHT_OF_LINES: f64 = 420.0;
const COLOURS: [&str; 6] = ["#2f6fab", "#c8553d", "#588157", "#8d6a9f", "#b08900", "#4f5d75"];

/// A figure with its name.
pub(crate) struct Bar {
    /// Its name in the plot.
    pub(crate) name: String,
    /// The figure.
    pub(crate) figure: Spread,
    /// Index of its colour.
    pub(crate) colour: usize,
}

/// Points of one thing, from left to right.
pub(crate) struct Line {
    /// Its name in the plot.
    pub(crate) name: String,
    /// Its points: places on the horizontal axis and figures.
    pub(crate) points: Vec<(f64, Spread)>,
}

/// One bar below the other.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = TOP + bars.len() as f64 * (BAR + GAP) + 24.0;
    let most = bars.iter().map(|bar| bar.figure.max).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let x = |figure: f64| LEFT + figure / most * (WIDTH - LEFT - RIGHT);
    let mut drawing = Drawing::new(title, unit, height);
    for (n, bar) in bars.iter().enumerate() {
        let y = TOP + n as f64 * (BAR + GAP);
        let middle = y + BAR / 2.0;
        let colour = COLOURS[bar.colour % COLOURS.len()];
        drawing.text(LEFT - 8.0, middle + 4.0, "end", &bar.name);
        let width = x(bar.figure.median) - LEFT;
        drawing.add(&format!(r#"<rect x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{BAR}" fill="{colour}"/>"#));
        drawing.line((x(bar.figure.min), middle), (x(bar.figure.max), middle), "#222", 1.5);
        drawing.text(x(bar.figure.max) + 6.0, middle + 4.0, "start", &figure_text(bar.figure.median));
    }
    drawing.finish()
}

/// Lines over one axis, whose places are named; both axes begin at what there is, the vertical one at 0.
pub(crate) fn lines(title: &str, unit: &str, places: &[(f64, String)], lines: &[Line]) -> String {
    let (bottom, right) = (HEIGHT_OF_LINES - 50.0, WIDTH - 240.0);
    let all = || lines.iter().flat_map(|line| &line.points);
    let most = all().map(|(_, figure)| figure.max).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let first = places.iter().map(|(place, _)| *place).fold(f64::INFINITY, f64::min);
    let last = places.iter().map(|(place, _)| *place).fold(f64::NEG_INFINITY, f64::max);
    let x = |place: f64| 80.0 + (place - first) / (last - first).max(f64::MIN_POSITIVE) * (right - 100.0);
    let y = |figure: f64| bottom - figure / most * (bottom - TOP);
    let mut drawing = Drawing::new(title, unit, HEIGHT_OF_LINES);
    for step in 0..=4 {
        let figure = most * f64::from(step) / 4.0;
        drawing.line((70.0, y(figure)), (right, y(figure)), "#ddd", 1.0);
        drawing.text(64.0, y(figure) + 4.0, "end", &figure_text(figure));
    }
    for (place, name) in places {
        drawing.text(x(*place), bottom + 20.0, "middle", name);
    }
    for (n, line) in lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let path: Vec<String> =
            line.points.iter().map(|(place, figure)| format!("{:.1},{:.1}", x(*place), y(figure.median))).collect();
        drawing
            .add(&format!(r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, path.join(" ")));
        for (place, figure) in &line.points {
            let (x, y_of_median) = (x(*place), y(figure.median));
            drawing.line((x, y(figure.min)), (x, y(figure.max)), colour, 1.5);
            drawing.add(&format!(r#"<circle cx="{x:.1}" cy="{y_of_median:.1}" r="3.5" fill="{colour}"/>"#));
        }
        let y_of_name = TOP + n as f64 * 20.0;
        drawing.line((right + 12.0, y_of_name), (right + 32.0, y_of_name), colour, 3.0);
        drawing.text(right + 38.0, y_of_name + 4.0, "start", &line.name);
    }
    drawing.finish()
}

fn figure_text(figure: f64) -> String {
    if figure >= 100.0 { grouped(figure.round() as u64) } else { format!("{figure:.2}") }
}

struct Drawing(String);

impl Drawing {
    fn new(title: &str, unit: &str, height: f64) -> Self {
        let mut drawing = Self(format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">"#
        ));
        drawing.add(r##"<rect width="100%" height="100%" fill="#fff"/>"##);
        drawing.add(&format!(r#"<text x="16" y="24" font-size="16">{}</text>"#, escaped(title)));
        drawing.add(&format!(r##"<text x="16" y="42" fill="#555">{}</text>"##, escaped(unit)));
        drawing
    }

    fn add(&mut self, element: &str) {
        // Writing to a string can't fail.
        let _ = write!(self.0, "\n{element}");
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.add(&format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(text)));
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str, width: f64) {
        self.add(&format!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#
        ));
    }

    fn finish(mut self) -> String {
        self.0.push_str("\n</svg>\n");
        self.0
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width() {
        let figure = |median| Spread { median, min: median, max: median };
        let bar = |name: &str, median| Bar { name: name.to_owned(), figure: figure(median), colour: 0 };
        let svg = bars("a < b", "answers/s", &[bar("raw", 200.0), bar("read", 100.0)]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"), "{svg}");
        let width = WIDTH - LEFT - RIGHT;
        for expected in [format!(r#"width="{width:.1}""#), format!(r#"width="{:.1}""#, width / 2.0)] {
            assert!(svg.contains(&expected), "{expected}: {svg}");
        }
    }

    #[test]
    fn lines_have_their_points_and_names() {
        let figure = Spread { median: 2.0, min: 1.0, max: 3.0 };
        let line = Line { name: "read".to_owned(), points: vec![(1.0, figure), (8.0, figure)] };
        let svg = lines("t", "u", &[(1.0, "1".to_owned()), (8.0, "8".to_owned())], &[line]);
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count()), (2, 1));
        assert!(svg.contains(">read</text>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let alone = lines("t", "u", &[(1.0, "1".to_owned())], &[]);
        assert!(!alone.contains("NaN") && !alone.contains("inf"), "{alone}");
    }
}
