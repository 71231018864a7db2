//! Where the entries of each layer and position stand.
//!
//! A row of the figure holds one layer, or the queries, keys and values of a block side by side. Its cell at a position is
//! a part of the column for each of its layers, filled with lines of slots. Every cell of a row has as many lines as the
//! fullest needs, up to a limit that only nodes with edges in the figure exceed.

use std::collections::BTreeMap;

use tributary_graph::layer_rows;
use tributary_model::Layer;

/// Distance of neighbouring slots, in pixels.
pub(crate) const PITCH: f64 = 11.0;
/// Height of a line of output nodes, which have their token beside them.
pub(crate) const OUTPUT_LINE: f64 = 13.0;
/// Space above and below the lines of a row.
const ROW_PADDING: f64 = 9.0;
/// Space between rows, for edges to be seen in.
const ROW_GAP: f64 = 26.0;
/// Space left and right in a column.
const COLUMN_PADDING: f64 = 5.0;
/// Lines of a cell, unless nodes with edges need more.
const LINES: usize = 3;
/// Width that a figure aims at; more positions than fit make it wider.
const WIDTH: f64 = 1500.0;
/// Narrowest and widest column; the widest is given up where few columns leave the page empty.
const COLUMN: std::ops::RangeInclusive<f64> = 66.0..=300.0;
/// Width that a figure has at least.
const NARROWEST: f64 = 740.0;

/// How many entries of a layer there are at one position.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    /// Nodes with edges in the figure.
    pub(crate) connected: usize,
    /// All nodes and ghosts.
    pub(crate) all: usize,
}

/// The part of a row that belongs to one layer.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    /// From the left of a column.
    pub(crate) left: f64,
    pub(crate) width: f64,
    pub(crate) per_line: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) bands: BTreeMap<Layer, Band>,
    pub(crate) top: f64,
    pub(crate) height: f64,
    pub(crate) lines: usize,
}

/// The rows and columns of a figure, from (0, 0) at the top left.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    /// From bottom to top, as data flows.
    pub(crate) rows: Vec<Row>,
    pub(crate) column: f64,
    pub(crate) height: f64,
}

impl Grid {
    /// A grid for the layers, ascending, where `needs` has every position of every layer.
    pub(crate) fn new(layers: &[Layer], positions: usize, needs: &BTreeMap<Layer, Vec<Need>>) -> Self {
        let share = |width: f64| width / positions.max(1) as f64;
        let column = share(WIDTH).clamp(*COLUMN.start(), *COLUMN.end()).max(share(NARROWEST));
        let mut rows: Vec<Row> =
            layer_rows(layers.iter().copied()).iter().map(|layers| Row::new(layers, column, needs)).collect();
        let mut top = 0.0;
        for row in rows.iter_mut().rev() {
            row.top = top;
            top += row.height + ROW_GAP;
        }
        Self { rows, column, height: (top - ROW_GAP).max(0.0) }
    }

    pub(crate) fn row(&self, layer: Layer) -> Option<&Row> {
        self.rows.iter().find(|row| row.bands.contains_key(&layer))
    }
}

impl Row {
    fn new(layers: &[Layer], column: f64, needs: &BTreeMap<Layer, Vec<Need>>) -> Self {
        let is_output = layers == [Layer::output()];
        let most = |layer: &Layer, count: fn(&Need) -> usize| needs[layer].iter().map(count).max().unwrap_or(0);
        let inner = column - 2.0 * COLUMN_PADDING;
        #[expect(clippy::cast_sign_loss, reason = "columns are wider than their padding")]
        let slots = if is_output { 1 } else { (inner / PITCH) as usize };
        let weight = |layer: &Layer| most(layer, |need| need.all).max(1);
        let total: usize = layers.iter().map(weight).sum();
        // A layer of few entries leaves its room to its neighbours, but keeps a slot.
        let spare = slots.saturating_sub(layers.len());
        let per_line: Vec<usize> = layers.iter().map(|layer| 1 + spare * weight(layer) / total).collect();
        let used: usize = per_line.iter().sum();
        let mut bands = BTreeMap::new();
        let mut left = COLUMN_PADDING;
        let mut lines = 1;
        for (layer, per_line) in layers.iter().zip(per_line) {
            let width = inner * per_line as f64 / used as f64;
            bands.insert(*layer, Band { left, width, per_line });
            left += width;
            let needed = most(layer, |need| need.all).div_ceil(per_line).min(LINES);
            lines = lines.max(needed).max(most(layer, |need| need.connected).div_ceil(per_line));
        }
        let line = if is_output { OUTPUT_LINE } else { PITCH };
        Self { bands, top: 0.0, height: lines as f64 * line + 2.0 * ROW_PADDING, lines }
    }

    /// Number of entries that a cell of this layer takes.
    pub(crate) fn capacity(&self, layer: Layer) -> usize {
        self.bands[&layer].per_line * self.lines
    }

    /// Centre of slot `slot` of `count` in the cell of a layer, from the left of the column and the top of the figure.
    /// Lines are centred, and so are they in the row.
    pub(crate) fn slot(&self, layer: Layer, slot: usize, count: usize) -> (f64, f64) {
        let band = &self.bands[&layer];
        let lines = count.div_ceil(band.per_line).max(1);
        // Full lines with one short line look ragged; even ones do not.
        let even = count.div_ceil(lines).max(1);
        let (line, in_line) = (slot / even, slot % even);
        let here = even.min(count - line * even);
        let x = band.left + band.width / 2.0 + (in_line as f64 - (here - 1) as f64 / 2.0) * PITCH;
        let y = self.top + self.height / 2.0 + (line as f64 - (lines - 1) as f64 / 2.0) * PITCH;
        (x, y)
    }

    /// Centre of the circle of output node `slot` of `count`, whose token stands to its right.
    pub(crate) fn output_slot(&self, slot: usize, count: usize) -> (f64, f64) {
        let y = self.top + self.height / 2.0 + (slot as f64 - (count.max(1) - 1) as f64 / 2.0) * OUTPUT_LINE;
        (COLUMN_PADDING + 4.0, y)
    }
}
