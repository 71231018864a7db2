//! Charts of lines: small panels side by side, which share what their colours mean.
//!
//! ```
//! use tributary_plot::chart::{Axis, Chart, Line, Panel};
//! use tributary_plot::png;
//!
//! let line = |name: &str, colour, points: &[(f64, f64)]| Line { name: name.to_owned(), colour, shade: 0, points: points.to_vec() };
//! let chart = Chart {
//!     title: "What is left of the label".to_owned(),
//!     colours: vec!["ci".to_owned(), "stochastic".to_owned()],
//!     panels: vec![Panel {
//!         title: "seed_0".to_owned(),
//!         x: Axis::logarithmic("nodes kept"),
//!         y: Axis::linear("label probability").including(0.0, 1.0),
//!         lines: vec![
//!             line("ci", 0, &[(10.0, 0.2), (100.0, 0.9), (1000.0, 0.95)]),
//!             line("stochastic", 1, &[(10.0, 0.1), (100.0, 0.4), (1000.0, 0.8)]),
//!         ],
//!     }],
//!     ..Chart::default()
//! };
//! let svg = chart.svg();
//! assert!(svg.starts_with("<svg") && png(&svg, 1.5)?.bytes.starts_with(b"\x89PNG"));
//! # Ok::<(), tributary_plot::PlotError>(())
//! ```

mod axis;

use std::fmt::Write as _;

use crate::document::{Svg, px};
use crate::legend::{self, Item, SIZE, Sign};
use crate::palette;
use crate::text::{count, fit, number, visible};
use axis::Placed;

pub use axis::{Axis, AxisScale};

const MARGIN: f64 = 16.0;
const TITLE: f64 = 40.0;
const SUBTITLE: f64 = 18.0;
/// What the numbers of an axis and its label take, left of a panel and below it, and its title above.
const LEFT: f64 = 66.0;
const BELOW: f64 = 44.0;
const ABOVE: f64 = 24.0;
/// Between the panels of a row.
const GAP: f64 = 14.0;
/// Between the ends of an axis and what is drawn.
const INSET: f64 = 6.0;
/// A line of the legend or of remarks.
const LINE: f64 = 18.0;
/// Size of the numbers of axes.
const TICK: f64 = 9.5;
/// Of lines with few points each is marked, with its numbers.
const MARKED: usize = 40;
/// The longest name in the legend, in pixels.
const NAME: f64 = 360.0;
/// The legend and the title need this much, however few the panels.
const NARROWEST: f64 = 640.0;

/// Panels of lines in one figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Above everything.
    pub title: String,
    /// Under the title, smaller; may be empty.
    pub subtitle: String,
    /// What each colour stands for, in the order in which lines name them.
    pub colours: Vec<String>,
    /// What each shade of a colour stands for, the strongest first; empty where there is one.
    pub shades: Vec<String>,
    /// In rows, from left to right.
    pub panels: Vec<Panel>,
    /// Sentences below.
    pub remarks: Vec<String>,
}

/// Lines on the same axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// The first is drawn on top.
    pub lines: Vec<Line>,
}

/// A line through points. Where one cannot be drawn, being no finite number or not above 0 on a logarithmic axis, it is broken;
/// a remark tells how many there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What it is, told where it is pointed at.
    pub name: String,
    /// Index in the chart's colours.
    pub colour: usize,
    /// Index in the chart's shades.
    pub shade: usize,
    /// Numbers of both axes.
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// The chart as an SVG document: `<path class="line ...">` and, of lines with few points, `<circle class="point">`, each with a
    /// `<title>`.
    pub fn svg(&self) -> String {
        let columns = columns(self.panels.len());
        let rows = self.panels.len().div_ceil(columns);
        let size = if columns == 1 { (560.0, 320.0) } else { (300.0, 190.0) };
        let cell = (LEFT + size.0 + GAP, ABOVE + size.1 + BELOW);
        let page = (2.0 * MARGIN + columns as f64 * cell.0).max(NARROWEST);
        let room = page - 2.0 * MARGIN;
        let top = TITLE + if self.subtitle.is_empty() { 0.0 } else { SUBTITLE };
        let legend = legend::flow(&self.legend(), room);
        let remarks = self.remarks();
        let legend_top = top + rows as f64 * cell.1 + 12.0;
        let lines = legend.last().map_or(0, |&(_, line, _)| line + 1);
        let height = legend_top + (lines + remarks.len()) as f64 * LINE + MARGIN;
        let mut out = Svg::begin((page, height), &visible(&self.title));
        let heading = fit(&self.title, 16.0, room);
        out.titled_text(
            (MARGIN, 28.0),
            &heading,
            &[("class", "set"), ("font-size", "16"), ("fill", palette::INK)],
            &self.title,
        );
        if !self.subtitle.is_empty() {
            let attributes = [("class", "prompt"), ("font-size", "11"), ("fill", palette::FAINT)];
            out.titled_text((MARGIN, 46.0), &fit(&self.subtitle, SIZE, room), &attributes, &self.subtitle);
        }
        for (index, panel) in self.panels.iter().enumerate() {
            let corner =
                (MARGIN + (index % columns) as f64 * cell.0 + LEFT, top + (index / columns) as f64 * cell.1 + ABOVE);
            let place = format!("translate({} {})", px(corner.0), px(corner.1));
            out.open("g", &[("class", "panel".to_owned()), ("transform", place)]);
            self.panel(&mut out, panel, size);
            out.close("g");
        }
        for (item, line, x) in &legend {
            item.draw(&mut out, (MARGIN + x, legend_top + *line as f64 * LINE));
        }
        for (index, remark) in remarks.iter().enumerate() {
            let y = legend_top + (lines + index) as f64 * LINE + 8.0;
            let attributes = [("class", "remark"), ("font-size", "11"), ("fill", palette::FAINT)];
            out.titled_text((MARGIN, y), &fit(remark, SIZE, room), &attributes, remark);
        }
        out.finish()
    }

    fn panel(&self, out: &mut Svg, panel: &Panel, (wide, high): (f64, f64)) {
        out.rect((0.0, 0.0), (wide, high), palette::BAND);
        let title = fit(&panel.title, 12.0, wide);
        let attributes = [("class", "panel-title"), ("font-size", "12"), ("fill", palette::INK)];
        out.titled_text((0.0, -8.0), &title, &attributes, &panel.title);
        let [x, y] = panel.placed((wide, high));
        for (at, text) in x.ticks(fitting(wide, 70.0)) {
            grid_line(out, ((at, 0.0), (at, high)));
            axis_text(out, "x-tick", (at, high + 13.0), "middle", &text);
        }
        for (at, text) in y.ticks(fitting(high, 34.0)) {
            grid_line(out, ((0.0, at), (wide, at)));
            axis_text(out, "y-tick", (-6.0, at + 3.5), "end", &text);
        }
        axis_text(out, "x-label", (wide / 2.0, high + 28.0), "middle", &fit(&panel.x.label, TICK, wide));
        if !panel.y.label.is_empty() {
            let attributes = [("transform", format!("translate({} {}) rotate(-90)", px(-LEFT + 14.0), px(high / 2.0)))];
            out.open("g", &attributes);
            axis_text(out, "y-label", (0.0, 0.0), "middle", &fit(&panel.y.label, TICK, high));
            out.close("g");
        }
        for line in panel.lines.iter().rev() {
            let colour = palette::line(line.colour, self.colours.len());
            let opacity = px(self.opacity(line.shade));
            let points = line.points.iter().map(|&(of_x, of_y)| Some((x.at(of_x)?, y.at(of_y)?)));
            let points: Vec<Option<(f64, f64)>> = points.collect();
            out.open(
                "path",
                &[
                    ("class", format!("line colour-{} shade-{}", line.colour, line.shade)),
                    ("d", path(&points)),
                    ("fill", "none".to_owned()),
                    ("stroke", colour.to_owned()),
                    ("stroke-width", "1.4".to_owned()),
                    ("stroke-opacity", opacity.clone()),
                    ("stroke-linejoin", "round".to_owned()),
                    ("stroke-linecap", "round".to_owned()),
                ],
            );
            out.text_element("title", &[], &line.name);
            out.close("path");
            if points.len() <= MARKED {
                for (at, &(of_x, of_y)) in points.iter().zip(&line.points) {
                    let Some(at) = *at else { continue };
                    let attributes =
                        [("class", "point".to_owned()), ("fill", colour.to_owned()), ("fill-opacity", opacity.clone())];
                    out.circle(at, 2.2, &attributes, &format!("{}: {}, {}", line.name, number(of_x), number(of_y)));
                }
            }
        }
    }

    fn legend(&self) -> Vec<Item> {
        let item = |colour, opacity, text: &str| Item {
            sign: Sign::Edge { colour, width: 2.2, opacity },
            text: fit(text, SIZE, NAME),
        };
        let colours = self.colours.iter().enumerate();
        let colours = colours.map(|(index, name)| item(palette::line(index, self.colours.len()), 1.0, name));
        let shades = self.shades.iter().enumerate();
        let shades = shades.map(|(index, name)| item(palette::FAINT, self.opacity(index), name));
        colours.chain(shades).collect()
    }

    /// From that of the first shade to one that can still be seen.
    fn opacity(&self, shade: usize) -> f64 {
        let last = self.shades.len().saturating_sub(1);
        if last == 0 { 1.0 } else { 1.0 - 0.7 * shade.min(last) as f64 / last as f64 }
    }

    fn remarks(&self) -> Vec<String> {
        let left_out: usize = self.panels.iter().map(Panel::left_out).sum();
        let told = match left_out {
            0 => None,
            1 => Some(
                "1 point is no finite number, or not above 0 on a logarithmic axis: lines are broken there".to_owned(),
            ),
            _ => Some(format!(
                "{} points are no finite numbers, or not above 0 on a logarithmic axis: lines are broken there",
                count(left_out)
            )),
        };
        self.remarks.iter().cloned().chain(told).collect()
    }
}

impl Panel {
    fn points(&self) -> impl Iterator<Item = (f64, f64)> + Clone {
        self.lines.iter().flat_map(|line| line.points.iter().copied())
    }

    /// Points that can be drawn.
    fn drawn(&self) -> impl Iterator<Item = (f64, f64)> + Clone {
        self.points().filter(|&(x, y)| self.x.has(x) && self.y.has(y))
    }

    fn left_out(&self) -> usize {
        self.points().count() - self.drawn().count()
    }

    fn placed(&self, (wide, high): (f64, f64)) -> [Placed<'_>; 2] {
        let drawn = self.drawn();
        [
            Placed::new(&self.x, drawn.clone().map(|(x, _)| x), [INSET, wide - INSET]),
            Placed::new(&self.y, drawn.map(|(_, y)| y), [high - INSET, INSET]),
        ]
    }
}

/// How many numbers of an axis have room on a length when each takes so much, and at least 2.
fn fitting(length: f64, each: f64) -> usize {
    (2_u8..64).take_while(|&count| f64::from(count) * each <= length).last().map_or(2, usize::from)
}

/// Panels of a row.
fn columns(panels: usize) -> usize {
    match panels {
        0 | 1 => 1,
        2 | 4 => 2,
        ..=12 => 3,
        _ => 4,
    }
}

/// Through neighbouring points; one that has no neighbour is a dot.
fn path(points: &[Option<(f64, f64)>]) -> String {
    let mut path = String::new();
    for run in points.split(Option::is_none) {
        for (index, (x, y)) in run.iter().flatten().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(path, "{}{} {}", if index == 0 { "M" } else { "L" }, px(*x), px(*y));
        }
        if let [Some((x, y))] = run {
            let _ = write!(path, "L{} {}", px(*x), px(*y));
        }
    }
    path
}

fn grid_line(out: &mut Svg, ((x1, y1), (x2, y2)): ((f64, f64), (f64, f64))) {
    let ends = [("x1", px(x1)), ("y1", px(y1)), ("x2", px(x2)), ("y2", px(y2)), ("stroke", palette::LINE.to_owned())];
    out.element("line", &ends);
}

fn axis_text(out: &mut Svg, class: &str, at: (f64, f64), anchor: &str, text: &str) {
    let size = TICK.to_string();
    out.text(at, text, &[("class", class), ("text-anchor", anchor), ("font-size", &size), ("fill", palette::FAINT)]);
}
