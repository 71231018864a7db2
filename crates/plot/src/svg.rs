//! Writing a figure as SVG.

use tributary_graph::{Entry, Node};
use tributary_model::{Layer, token_heading};

use crate::document::{Svg, px};
use crate::figure::{Figure, Line, Mark};
use crate::grid::Row;
use crate::legend::{self, SIZE};
use crate::palette;
use crate::text::{count, fit, visible, width};

const MARGIN: f64 = 16.0;
const ROW_LABELS: f64 = 124.0;
const TITLE: f64 = 64.0;
const TOKENS: f64 = 42.0;
/// Size of the labels of output nodes, in pixels.
const LABEL: f64 = 9.5;
/// The legend and the title need this much, however few the columns.
const NARROWEST: f64 = 900.0;

impl Figure<'_> {
    /// The figure as an SVG document: `<path class="edge ...">`, `<circle class="node ...">`, `<circle class="ghost ...">`,
    /// each with a `<title>` that names it in full.
    pub fn svg(&self) -> String {
        let positions = self.prompt.tokens.len();
        let columns = positions as f64 * self.grid.column;
        let page = (2.0 * MARGIN + ROW_LABELS + columns).max(NARROWEST);
        let legend = legend::flow(&self.legend(), page - 2.0 * MARGIN);
        let remarks = self.remarks();
        let lines = legend.last().map_or(0, |&(_, line, _)| line + 1);
        let legend_top = TITLE + self.grid.height + TOKENS + 18.0;
        let height = legend_top + (lines + remarks.len()) as f64 * 18.0 + MARGIN;
        let title = format!("Attribution graph of the CI set {}", visible(&self.graph.set));
        let mut out = Svg::begin((page, height), &title);
        self.heading(&mut out, page);
        out.open("g", &[("transform", format!("translate({} {})", px(MARGIN + ROW_LABELS), px(TITLE)))]);
        self.background(&mut out, columns);
        out.open("g", &[("class", "edges".to_owned()), ("fill", "none".to_owned())]);
        for line in self.edges.iter().rev() {
            self.edge(&mut out, line);
        }
        out.close("g");
        self.marks(&mut out);
        out.close("g");
        for (item, line, x) in &legend {
            item.draw(&mut out, (MARGIN + x, legend_top + *line as f64 * 18.0));
        }
        let warnings = self.warnings().len();
        for (i, remark) in remarks.iter().enumerate() {
            let y = legend_top + (lines + i) as f64 * 18.0 + 8.0;
            let fitting = fit(remark, SIZE, page - 2.0 * MARGIN);
            let colour = if i < warnings { palette::WARNING } else { palette::FAINT };
            out.text((MARGIN, y), &fitting, &[("class", "remark"), ("font-size", "11"), ("fill", colour)]);
        }
        out.finish()
    }

    fn heading(&self, out: &mut Svg, page: f64) {
        let room = page - 2.0 * MARGIN;
        let counts = format!(
            "{} nodes, {} ghosts, {} edges",
            count(self.graph.nodes.len()),
            count(self.graph.ghosts.len()),
            count(self.graph.edges.len())
        );
        let name = fit(&self.graph.set, 16.0, room - width(&counts, 11.0) - 20.0);
        out.text((MARGIN, 28.0), &name, &[("class", "set"), ("font-size", "16"), ("fill", palette::INK)]);
        let attributes = [("text-anchor", "end"), ("font-size", "11"), ("fill", palette::FAINT)];
        out.text((page - MARGIN, 28.0), &counts, &attributes);
        let prediction = self.prediction.map(|prediction| prediction.to_string()).unwrap_or_default();
        let beside = if prediction.is_empty() { 0.0 } else { width(&prediction, 11.0) + 20.0 };
        let prompt = fit(&self.prompt.text, 11.0, room - beside);
        out.text((MARGIN, 46.0), &prompt, &[("class", "prompt"), ("font-size", "11"), ("fill", palette::FAINT)]);
        if let Some(found) = self.prediction {
            let colour = if found.is_far() { palette::WARNING } else { palette::FAINT };
            let attributes = [("class", "prediction"), ("text-anchor", "end"), ("font-size", "11"), ("fill", colour)];
            out.text((page - MARGIN, 46.0), &prediction, &attributes);
        }
    }

    fn background(&self, out: &mut Svg, columns: f64) {
        for row in &self.grid.rows {
            out.rect((0.0, row.top), (columns, row.height), palette::BAND);
            row_label(out, row);
        }
        let bottom = self.grid.height;
        for (position, token) in self.labels.iter().enumerate() {
            let left = position as f64 * self.grid.column;
            if position > 0 {
                out.element(
                    "line",
                    &[
                        ("x1", px(left)),
                        ("x2", px(left)),
                        ("y1", px(0.0)),
                        ("y2", px(bottom)),
                        ("stroke", palette::LINE.to_owned()),
                    ],
                );
            }
            let centre = left + self.grid.column / 2.0;
            let label = fit(&token_heading(token), 12.0, self.grid.column - 4.0);
            let attributes =
                [("class", "token"), ("text-anchor", "middle"), ("font-size", "12"), ("fill", palette::INK)];
            out.titled_text((centre, bottom + 19.0), &label, &attributes, token);
            let attributes = [("text-anchor", "middle"), ("font-size", "9"), ("fill", palette::FAINT)];
            out.text((centre, bottom + 33.0), &position.to_string(), &attributes);
        }
        for &((right, low), hidden) in &self.hidden {
            let attributes =
                [("class", "hidden"), ("text-anchor", "end"), ("font-size", "7"), ("fill", palette::FAINT)];
            out.text((right - 1.0, low - 2.0), &format!("+{hidden}"), &attributes);
        }
    }

    fn edge(&self, out: &mut Svg, line: &Line) {
        let edge = self.graph.edges[line.index];
        let ((x1, y1), (x2, y2)) = (line.from, line.to);
        let bend = (y1 - y2) * 0.45;
        let path = format!(
            "M{} {}C{} {} {} {} {} {}",
            px(x1),
            px(y1),
            px(x1),
            px(y1 - bend),
            px(x2),
            px(y2 + bend),
            px(x2),
            px(y2)
        );
        let (class, colour) =
            if edge.value > 0.0 { ("edge positive", palette::POSITIVE) } else { ("edge negative", palette::NEGATIVE) };
        out.open(
            "path",
            &[
                ("class", class.to_owned()),
                ("d", path),
                ("stroke", colour.to_owned()),
                ("stroke-width", px(self.scale.width(edge.value))),
                ("stroke-opacity", px(self.scale.opacity(edge.value))),
            ],
        );
        let (source, target) =
            (self.graph.nodes[edge.source as usize].entry, self.graph.nodes[edge.target as usize].entry);
        let title = format!("{} → {}: {:e}", self.entry_name(source), self.entry_name(target), edge.value);
        out.text_element("title", &[], &title);
        out.close("path");
    }

    fn marks(&self, out: &mut Svg) {
        for ghost in &self.ghosts {
            let colour = palette::node(ghost.entry.layer.role());
            let attributes = [
                ("class", "ghost".to_owned()),
                ("fill", "none".to_owned()),
                ("stroke", colour.to_owned()),
                ("stroke-width", "0.6".to_owned()),
                ("stroke-opacity", "0.7".to_owned()),
            ];
            out.circle(ghost.at, ghost.radius, &attributes, &format!("{} (ghost)", self.entry_name(ghost.entry)));
            if ghost.entry.layer.is_output() {
                self.ghost_label(out, ghost);
            }
        }
        for mark in &self.nodes {
            let node = &self.graph.nodes[mark.index];
            let kind = mark.entry.layer.role();
            let attributes = [
                ("class", format!("node {}", kind.name())),
                ("fill", palette::node(kind).to_owned()),
                ("stroke", palette::BACKGROUND.to_owned()),
                ("stroke-width", "0.5".to_owned()),
            ];
            let named = [
                ("CI", node.ci),
                ("probability", node.probability),
                ("target probability", node.target_probability),
                ("activation", node.activation),
            ];
            let values = named.iter().filter_map(|&(name, value)| Some(format!("{name} {:e}", value?)));
            let values: Vec<String> = values.chain([format!("importance {:e}", node.importance as f32)]).collect();
            let title = format!("{}: {}", self.entry_name(mark.entry), values.join(", "));
            out.circle(mark.at, mark.radius, &attributes, &title);
            if mark.entry.layer.is_output() {
                self.output_label(out, mark, node);
            }
        }
    }

    /// Token and probability beside an output node; where the target model's is far from it, that too if there is room.
    fn output_label(&self, out: &mut Svg, mark: &Mark, node: &Node) {
        let mut numbers = node.probability.map(|p| format!(" {}", share(p))).unwrap_or_default();
        let room = |numbers: &str| self.grid.column - 16.0 - width(numbers, LABEL);
        if let Some(target) = node.target_probability.filter(|_| node.is_far()) {
            let both = format!("{numbers} (target {})", share(target));
            // Half of a token of usual length is the least that is left of it.
            if room(&both) > 2.0 * LABEL {
                numbers = both;
            }
        }
        let token = token_heading(&self.manifest.output_label(mark.entry.component));
        let colour = if node.is_far() { palette::WARNING } else { palette::INK };
        label(out, mark, &(fit(&token, LABEL, room(&numbers)) + &numbers), ("output-label", colour));
    }

    fn ghost_label(&self, out: &mut Svg, mark: &Mark) {
        let token = token_heading(&self.manifest.output_label(mark.entry.component));
        label(out, mark, &fit(&token, LABEL, self.grid.column - 16.0), ("ghost-label", palette::FAINT));
    }

    fn entry_name(&self, entry: Entry) -> String {
        entry.name(&self.labels, |token| self.manifest.output_label(token))
    }
}

fn label(out: &mut Svg, mark: &Mark, text: &str, (class, colour): (&str, &str)) {
    let at = (mark.at.0 + 7.5, mark.at.1 + 3.5);
    out.text(at, text, &[("class", class), ("font-size", &LABEL.to_string()), ("fill", colour)]);
}

/// A probability as labels have it.
fn share(probability: f32) -> String {
    if probability < 0.01 { format!("{probability:.0e}") } else { format!("{probability:.2}") }
}

fn row_label(out: &mut Svg, row: &Row) {
    let layers: Vec<Layer> = row.bands.keys().copied().collect();
    let label = match (layers.len(), layers.first().and_then(|layer| layer.block())) {
        (2.., Some(_)) => {
            let parts = layers.iter().map(|layer| layer.path().rsplit_once('.').unwrap_or(("", layer.path())));
            let letters = parts.clone().map(|(_, name)| name.trim_end_matches("_proj"));
            let module = parts.map(|(module, _)| module).next().unwrap_or_default();
            format!("{module} {}", letters.collect::<Vec<_>>().join(" · "))
        }
        _ => layers.iter().map(Layer::to_string).collect(),
    };
    let attributes = [("class", "layer"), ("text-anchor", "end"), ("font-size", "11"), ("fill", palette::INK)];
    out.text((-8.0, row.top + row.height / 2.0 + 4.0), &label, &attributes);
}
