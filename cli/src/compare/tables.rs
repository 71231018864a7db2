//! A comparison for the terminal.

use std::cmp::Ordering;
use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table};
use tributary_compare::{
    Comparison, EdgeKey, GroupOverlap, NodeKey, Overlap, PredictionSummary, SetSummary, StepCounts,
};
use tributary_graph::Entry;
use tributary_model::token_label;
use tributary_results::{Regime, SetEvaluation, SpeltToken};

use crate::{console, visible};

/// All of a comparison in tables, the most general first.
pub(crate) fn text(comparison: &Comparison) -> String {
    let tables = Tables { comparison };
    let parts = [
        tables.sets(),
        tables.evaluations(),
        tables.occurrence(),
        tables.pairwise(),
        tables.layers(),
        tables.pairs(),
        tables.consensus(),
        tables.unique(),
        tables.sweep(),
    ];
    parts.concat()
}

struct Tables<'a> {
    comparison: &'a Comparison,
}

impl Tables<'_> {
    fn label(&self, set: usize) -> String {
        visible::on_one_line(&self.comparison.sets[set].label)
    }

    fn labels(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.comparison.sets.len()).map(|set| self.label(set))
    }

    fn output_token(&self, id: u32) -> Option<String> {
        let prompt = &self.comparison.prompt;
        let known = prompt.output_token_texts.get(&id).or_else(|| prompt.output_tokens.get(&id));
        known.map(|text| token_label(text))
    }

    fn node(&self, entry: Entry) -> String {
        let prompt = &self.comparison.prompt;
        let token = |id: u32| self.output_token(id).unwrap_or_else(|| format!("<{id}>"));
        let labels: Vec<String> = prompt.token_texts.iter().map(|text| token_label(text)).collect();
        visible::on_one_line(&entry.name(&labels, token))
    }

    fn edge(&self, key: &EdgeKey) -> String {
        format!("{} -> {}", self.node(key.source), self.node(key.target))
    }

    fn sets(&self) -> String {
        let Comparison { prompt, sets, nodes, edges, options, view, notes, .. } = self.comparison;
        let mut text = format!(
            "{} sets on the prompt {:?}, {} tokens\nan edge is an attribution that is not zero",
            sets.len(),
            prompt.text,
            prompt.tokens.len()
        );
        if let Some(least) = options.min_edge {
            let _ = write!(text, " and at least {least} in absolute value");
        }
        text.push('\n');
        if let Some(view) = view.described() {
            let _ = writeln!(text, "attributions: {view}");
        }
        let is_known = sets.iter().any(|set| set.prediction.is_some());
        let mut table = console::table([]);
        let columns = ["set", "nodes", "its alone", "edges", "its alone", "sum |attribution|"].into_iter();
        let of_prediction = if is_known { &["mean KL", "likeliest the same"][..] } else { &[] };
        table.set_header(columns.chain(of_prediction.iter().copied()));
        for (i, set) in sets.iter().enumerate() {
            let mut cells = vec![
                self.label(i),
                set.nodes.to_string(),
                nodes.unique[i].count.to_string(),
                set.edges.to_string(),
                edges.unique[i].count.to_string(),
                format!("{:.4}", set.magnitude),
            ];
            if is_known {
                cells.extend(prediction(set.prediction));
            }
            row(&mut table, cells, 1);
        }
        let _ = writeln!(text, "{table}");
        for note in notes {
            let _ = writeln!(text, "note: {}", visible::on_one_line(note));
        }
        text
    }

    /// What the model predicts with nothing but the nodes of each set, along the sparsity coefficient where there is one.
    fn evaluations(&self) -> String {
        let of_set = |set: &SetSummary| SetEvaluation::of(set.metadata.as_ref()?)?.ok();
        let sets: Vec<Option<SetEvaluation>> = self.comparison.sets.iter().map(of_set).collect();
        if sets.iter().all(Option::is_none) {
            return String::new();
        }
        let mut lines: Vec<(Option<f64>, usize)> = (0..sets.len()).map(|set| (self.coefficient(set), set)).collect();
        // Those without one come last.
        lines.sort_by(|(a, _), (b, _)| a.is_none().cmp(&b.is_none()).then(a.partial_cmp(b).unwrap_or(Ordering::Equal)));
        let is_sweep = self.comparison.sweep.is_some();
        let mut table = console::table([]);
        let columns = is_sweep.then_some("coefficient").into_iter().chain(["set", "nodes", "of"]);
        table.set_header(columns.chain(Regime::ALL.map(Regime::name)));
        for (coefficient, set) in lines {
            let mut cells = Vec::new();
            if is_sweep {
                cells.push(coefficient.map_or_else(|| "-".to_owned(), |coefficient| format!("{coefficient:e}")));
            }
            cells.extend([self.label(set), self.comparison.sets[set].nodes.to_string()]);
            match &sets[set] {
                None => cells.extend(["-"; 1 + Regime::ALL.len()].map(str::to_owned)),
                Some(evaluation) => {
                    cells.push(self.looked_at(evaluation));
                    let prob = |regime| evaluation.whole().label_prob(regime);
                    let text = |regime| prob(regime).map_or_else(|| "-".to_owned(), |prob| prob.text());
                    cells.extend(Regime::ALL.map(text));
                }
            }
            row(&mut table, cells, if is_sweep { 2 } else { 1 });
        }
        format!("\nput to the test: the probability of the label with nothing but the nodes of a set\n{table}\n")
    }

    fn looked_at(&self, evaluation: &SetEvaluation) -> String {
        let label = evaluation
            .label
            .as_ref()
            .map(|SpeltToken { id, spelling }| self.output_token(*id).unwrap_or_else(|| token_label(spelling)));
        let masked = if evaluation.mask_by_ci { ", masked by CI" } else { "" };
        visible::on_one_line(&format!("{}{masked}", evaluation.looked_at(&label.unwrap_or_default())))
    }

    /// The sparsity coefficient of a set.
    fn coefficient(&self, set: usize) -> Option<f64> {
        let steps = &self.comparison.sweep.as_ref()?.steps;
        steps.iter().find(|step| step.sets.contains(&set)).map(|step| step.coefficient)
    }

    fn occurrence(&self) -> String {
        let Comparison { nodes, edges, .. } = self.comparison;
        let columns = ["", "union", "in all", "in exactly 1, 2, ... sets"];
        let mut table = console::table(columns);
        for (what, overlap) in [("nodes", &nodes.overlap), ("edges", &edges.overlap)] {
            let exactly: Vec<String> = overlap.in_exactly.iter().map(usize::to_string).collect();
            let Overlap { union, intersection, .. } = overlap;
            row(&mut table, [what.to_owned(), union.to_string(), intersection.to_string(), exactly.join(", ")], 1);
        }
        format!("\nhow many sets have each\n{table}\n")
    }

    fn pairwise(&self) -> String {
        let Comparison { nodes, edges, sets, .. } = self.comparison;
        let mut table = console::table([
            "sets",
            "nodes shared",
            "Jaccard",
            "weighted",
            "edges shared",
            "Jaccard",
            "weighted",
            "rank corr.",
            "signs differ",
            "of |attr.|",
        ]);
        let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0));
        for a in 0..sets.len() {
            for b in a + 1..sets.len() {
                let (of_nodes, of_edges, signs) =
                    (&nodes.overlap.pairwise, &edges.overlap.pairwise, &edges.sign_disagreement[a][b]);
                let cells = [
                    format!("{} | {}", self.label(a), self.label(b)),
                    of_nodes.shared[a][b].to_string(),
                    format!("{:.3}", of_nodes.jaccard[a][b]),
                    format!("{:.3}", of_nodes.weighted_jaccard[a][b]),
                    of_edges.shared[a][b].to_string(),
                    format!("{:.3}", of_edges.jaccard[a][b]),
                    format!("{:.3}", of_edges.weighted_jaccard[a][b]),
                    of_edges.rank_correlation[a][b].map_or("-".to_owned(), |rank| format!("{rank:.3}")),
                    signs.count.to_string(),
                    share(signs.magnitude),
                ];
                row(&mut table, cells, 1);
            }
        }
        format!(
            "\nset by set: weighted is sum of min / sum of max of importances (nodes) and |attributions| (edges); rank \
             correlation (Spearman) and signs are of shared edges\n{table}\n"
        )
    }

    fn layers(&self) -> String {
        let layers = &self.comparison.nodes.layers;
        let lines = layers.iter().map(|layer| (layer.layer.to_string(), &layer.overlap));
        format!("\nnodes by layer\n{}\n", self.groups("layer", lines))
    }

    fn pairs(&self) -> String {
        let pairs = self.comparison.edges.pairs.iter().filter(|pair| pair.overlap.union > 0);
        let lines = pairs.map(|pair| (format!("{} -> {}", pair.source, pair.target), &pair.overlap));
        format!("\nedges by pair of layers\n{}\n", self.groups("pair", lines))
    }

    fn groups<'g>(&self, what: &str, lines: impl Iterator<Item = (String, &'g GroupOverlap)>) -> Table {
        let columns: Vec<String> = [what.to_owned()]
            .into_iter()
            .chain(self.labels())
            .chain(["union", "in all", "mean Jaccard"].map(str::to_owned))
            .collect();
        let mut table = console::table([]);
        table.set_header(columns);
        for (name, overlap) in lines {
            let counts = overlap.counts.iter().map(usize::to_string);
            let rest =
                [overlap.union.to_string(), overlap.intersection.to_string(), format!("{:.3}", overlap.mean_jaccard)];
            row(&mut table, [name].into_iter().chain(counts).chain(rest), 1);
        }
        table
    }

    fn consensus(&self) -> String {
        let consensus = &self.comparison.consensus;
        let of = self.comparison.sets.len();
        let mut text = format!(
            "\nconsensus, in at least {} of {of} sets: {} nodes, {} edges\n",
            consensus.k, consensus.nodes, consensus.edges
        );
        if !consensus.strongest_edges.is_empty() {
            let mut table = console::table(["strongest edges", "sets", "mean", "std", "sign agreement"]);
            for edge in &consensus.strongest_edges {
                let cells = [
                    self.edge(&edge.key),
                    edge.sets.to_string(),
                    format!("{:+.4e}", edge.mean),
                    format!("{:.1e}", edge.std),
                    format!("{:.2}", edge.sign_agreement),
                ];
                row(&mut table, cells, 1);
            }
            let _ = writeln!(text, "{table}");
        }
        text
    }

    fn unique(&self) -> String {
        let Comparison { nodes, edges, sets, .. } = self.comparison;
        let mut text = "\nwhat one set alone has, the strongest\n".to_owned();
        for set in 0..sets.len() {
            let (of_nodes, of_edges) = (&nodes.unique[set], &edges.unique[set]);
            let _ = writeln!(text, "{}: {} nodes, {} edges", self.label(set), of_nodes.count, of_edges.count);
            for node in &of_nodes.strongest {
                let _ = writeln!(text, "  node {}, importance {:.4e}", self.node(node.key.node), node.importance);
            }
            for edge in &of_edges.strongest {
                let _ = writeln!(text, "  edge {}: {:+.4e}", self.edge(&edge.key), edge.value);
            }
        }
        text
    }

    fn sweep(&self) -> String {
        let Some(sweep) = &self.comparison.sweep else { return String::new() };
        let mut text = format!("\nalong the sparsity coefficient ({})\n", visible::on_one_line(&sweep.found_in));
        if !sweep.without.is_empty() {
            let without: Vec<String> = sweep.without.iter().map(|&set| self.label(set)).collect();
            let _ = writeln!(text, "sets without one are left out: {}", without.join(", "));
        }
        let mut table = console::table(["coefficient", "sets", "nodes", "new", "died", "edges", "new", "died"]);
        let (nodes, edges) = (&sweep.nodes.course, &sweep.edges.course);
        for (i, step) in sweep.steps.iter().enumerate() {
            let sets: Vec<String> = step.sets.iter().map(|&set| self.label(set)).collect();
            let counts = counts(&nodes.steps[i]).into_iter().chain(counts(&edges.steps[i]));
            row(&mut table, [format!("{:e}", step.coefficient), sets.join(", ")].into_iter().chain(counts), 2);
        }
        let _ = writeln!(text, "{table}");
        let _ = writeln!(
            text,
            "alive at every coefficient: {} nodes, {} edges; gone and back: {} nodes, {} edges",
            nodes.survivors, edges.survivors, nodes.returning, edges.returning
        );
        for (i, step) in sweep.steps.iter().enumerate() {
            let deaths = self.deaths(&nodes.steps[i], &edges.steps[i]);
            if !deaths.is_empty() {
                let _ = writeln!(text, "died at {:e}, the strongest\n{deaths}", step.coefficient);
            }
        }
        text
    }

    fn deaths(&self, nodes: &StepCounts<NodeKey>, edges: &StepCounts<EdgeKey>) -> String {
        let nodes = nodes
            .strongest_deaths
            .iter()
            .map(|death| format!("  node {}, importance {:.4e}", self.node(death.key.node), death.magnitude));
        let edges = edges
            .strongest_deaths
            .iter()
            .map(|death| format!("  edge {}, |attribution| {:.4e}", self.edge(&death.key), death.magnitude));
        nodes.chain(edges).collect::<Vec<_>>().join("\n")
    }
}

/// Two cells: divergence from the target model, and at what part of the positions the likeliest token is the same.
fn prediction(prediction: Option<PredictionSummary>) -> [String; 2] {
    match prediction {
        None => ["-", "-"].map(str::to_owned),
        Some(found) => [format!("{:.3}", found.mean_kl), format!("{:.0} %", found.agreement * 100.0)],
    }
}

fn counts<P>(step: &StepCounts<P>) -> [String; 3] {
    [step.alive, step.appeared, step.died].map(|count| count.to_string())
}

/// Adds a row, its cells from number `text` on aligned as numbers.
fn row(table: &mut Table, cells: impl IntoIterator<Item = String>, text: usize) {
    let align = |(i, cell): (usize, String)| {
        let cell = Cell::new(cell);
        if i < text { cell } else { cell.set_alignment(CellAlignment::Right) }
    };
    table.add_row(cells.into_iter().enumerate().map(align));
}
