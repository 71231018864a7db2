//! What colours, sizes and widths mean, and what the figure leaves out.

use std::fmt::Write as _;

use tributary_model::Role;

use crate::document::{Svg, px};
use crate::figure::Figure;
use crate::palette;
use crate::scale::SMALLEST;
use crate::text::{count, number, width};

/// Size of the legend's text, in pixels.
pub(crate) const SIZE: f64 = 11.0;
/// Width of the sign before an item's text.
const SIGN: f64 = 30.0;

/// An item of the legend.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) sign: Sign,
    pub(crate) text: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Sign {
    Node { colour: &'static str, radius: f64 },
    Ghost,
    Edge { colour: &'static str, width: f64, opacity: f64 },
}

impl Item {
    pub(crate) fn width(&self) -> f64 {
        SIGN + width(&self.text, SIZE) + 18.0
    }

    pub(crate) fn draw(&self, out: &mut Svg, (x, y): (f64, f64)) {
        let centre = (x + SIGN / 2.0 - 4.0, y);
        match self.sign {
            Sign::Node { colour, radius } => out.element(
                "circle",
                &[("cx", px(centre.0)), ("cy", px(y)), ("r", px(radius)), ("fill", colour.to_owned())],
            ),
            Sign::Ghost => out.element(
                "circle",
                &[
                    ("cx", px(centre.0)),
                    ("cy", px(y)),
                    ("r", px(GHOST)),
                    ("fill", "none".to_owned()),
                    ("stroke", palette::FAINT.to_owned()),
                ],
            ),
            Sign::Edge { colour, width, opacity } => out.element(
                "line",
                &[
                    ("x1", px(x)),
                    ("x2", px(x + SIGN - 8.0)),
                    ("y1", px(y)),
                    ("y2", px(y)),
                    ("stroke", colour.to_owned()),
                    ("stroke-width", px(width)),
                    ("stroke-opacity", px(opacity)),
                ],
            ),
        }
        out.text(
            (x + SIGN - 2.0, y + 4.0),
            &self.text,
            &[("class", "legend"), ("font-size", "11"), ("fill", palette::INK)],
        );
    }
}

/// Breaks the legend into lines of at most `room`: each item with its line and where in it that starts.
pub(crate) fn flow(items: &[Item], room: f64) -> Vec<(Item, usize, f64)> {
    let (mut line, mut x) = (0, 0.0);
    let put = |item: &Item| {
        if x > 0.0 && x + item.width() > room {
            (line, x) = (line + 1, 0.0);
        }
        let found = (item.clone(), line, x);
        x += item.width();
        found
    };
    items.iter().map(put).collect()
}

impl Figure<'_> {
    pub(crate) fn legend(&self) -> Vec<Item> {
        let node = |colour, radius, text| Item { sign: Sign::Node { colour, radius }, text };
        let mut items: Vec<Item> =
            self.kinds().into_iter().map(|(kind, name)| node(palette::node(kind), 4.0, name)).collect();
        let any = palette::node(Role::Embedding);
        for share in [1.0, 0.1] {
            let importance = self.scale.importance * share;
            if importance > 0.0 {
                items.push(node(any, self.scale.radius(importance), format!("importance {}", number(importance))));
            }
        }
        if !self.graph.ghosts.is_empty() {
            items.push(Item { sign: Sign::Ghost, text: "ghost: originally alive, not in this set".to_owned() });
        }
        if self.scale.edge > 0.0 {
            for (sign_text, colour) in [("+", palette::POSITIVE), ("−", palette::NEGATIVE)] {
                for share in [1.0, 0.1] {
                    let value = self.scale.edge * share;
                    let sign =
                        Sign::Edge { colour, width: self.scale.width(value), opacity: self.scale.opacity(value) };
                    items.push(Item { sign, text: format!("{sign_text}{}", number(f64::from(value))) });
                }
            }
        }
        items
    }

    /// Where the graph explains something else than the target model, in sentences.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let Some(prediction) = self.prediction else { return remarks };
        if prediction.is_far() {
            remarks.push(format!("{}: see the numbers at the top right", self.manifest.settings.far()));
        }
        match prediction.far_outputs {
            0 => {}
            1 => remarks.push(
                "one output node, its label in this colour, is more than ten times off the target model's probability".to_owned(),
            ),
            far => remarks.push(format!(
                "{} output nodes, their labels in this colour, are more than ten times off the target model's probability",
                count(far)
            )),
        }
        remarks
    }

    /// How much is shown, in sentences.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let out = self.left_out;
        let shown = self.edges.len();
        let mut remarks = self.warnings();
        let mut edges = format!("{} of {} edges that are not zero", count(shown), count(self.nonzero));
        if out.edges > 0 && shown > 0 {
            let _ = write!(
                edges,
                ": the strongest, {} % of the summed |attribution|; each of the {} left out is at most {}",
                number((1.0 - out.magnitude) * 100.0),
                count(out.edges),
                number(f64::from(out.largest_edge)),
            );
        }
        remarks.push(edges);
        remarks.extend(self.view.described().map(|view| format!("attributions: {view}")));
        remarks.extend(self.manifest.settings.evaluated().map(|evaluated| format!("attributions {evaluated}")));
        let crosses = |edge: &tributary_graph::Edge| {
            let position = |node: u32| self.graph.nodes[node as usize].entry.position;
            edge.flows() && position(edge.source) != position(edge.target)
        };
        let between = self.graph.edges.iter().filter(|edge| crosses(edge)).count();
        if between > 0 {
            let shown = self.edges.iter().filter(|line| crosses(&self.graph.edges[line.index])).count();
            remarks.push(format!("{} of {} edges between positions", count(shown), count(between)));
        }
        let mut nodes = format!("{} of {} nodes", count(self.nodes.len()), count(self.graph.nodes.len()));
        if !self.graph.ghosts.is_empty() {
            let _ = write!(nodes, " and {} of {} ghosts", count(self.ghosts.len()), count(self.graph.ghosts.len()));
        }
        if out.nodes > 0 {
            nodes +=
                "; +n marks n nodes that are left out, none with an edge here and the least important of their cell";
        }
        remarks.push(nodes);
        if out.not_finite > 0 {
            remarks.push(format!(
                "{} edges are not finite (attributions that overflowed) and are not drawn",
                count(out.not_finite)
            ));
        }
        remarks
    }
}

/// Radius of the sign of ghosts.
const GHOST: f64 = SMALLEST + 1.0;
