//! Result folders to be exported: random ones, and ones that hold everything that is hard to write.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tributary_export::{ExportError, Exported, Format, export};
use tributary_graph::{Graph, View};
use tributary_model::{
    AliveEntries, Layer, LayerNodes, Pair, PairAttribution, Prompt, Role, pair_table, published_blocks,
};
use tributary_results::{ResultFolder, ResultWriter, SetEntry};
use tributary_testing::RandomResults;

/// Names, prompts and tokens that something may take for something else.
pub(crate) const NASTY: [&str; 12] = [
    "",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=\"alert('1')\">",
    "a\0b\u{1b}[31m\u{7f}\u{85}",
    "\r\n line\tbreaks \r",
    "]]> <!-- & &amp; &#60;",
    "../..\\/etc/passwd",
    "graph-metadata",
    "\"quotes\" (p=0.999) 'and' “more”",
    "naïve 模型 🙂 \u{202e}right to left",
    "\u{feff}\u{fffe}\u{ffff}\u{2028}",
    " spaces ",
];

/// A result folder on disk.
pub(crate) struct Written {
    pub(crate) folder: ResultFolder,
    pub(crate) dir: TempDir,
}

impl Written {
    pub(crate) fn random(seed: u64) -> Self {
        let results = RandomResults::new(seed);
        let dir = tempfile::tempdir().unwrap();
        results.write(dir.path(), false).unwrap();
        Self { folder: ResultFolder::open(dir.path()).unwrap(), dir }
    }

    /// One set of each nasty name, on prompts and tokens that are nasty too, with numbers that are not finite. The last
    /// set has no component that is alive.
    pub(crate) fn nasty(seed: u64) -> Self {
        let mut results = RandomResults::new(seed);
        // A pair to overflow and a few sets to do so.
        results.sets.truncate(1);
        let template = results.sets[0].clone();
        results.sets = vec![template; NASTY.len()];
        for (number, ((set, prompt), name)) in results.sets.iter_mut().zip(NASTY).enumerate() {
            name.clone_into(&mut set.name);
            name.clone_into(&mut prompt.text);
            for (position, token) in prompt.token_strings.iter_mut().enumerate() {
                NASTY[(position + number) % NASTY.len()].clone_into(token);
            }
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MAX, f32::MIN_POSITIVE / 2.0, 1e-30, 0.1];
            let mut numbers = odd.into_iter().cycle().skip(number);
            for value in set.pairs.iter_mut().flat_map(|pair| &mut pair.values).step_by(3) {
                *value = numbers.next().unwrap();
            }
            for nodes in set.nodes.values_mut() {
                for value in nodes.importance.iter_mut().chain(&mut nodes.activation).step_by(5) {
                    *value = numbers.next().unwrap();
                }
            }
        }
        let (empty, _) = results.sets.last_mut().unwrap();
        for (layer, nodes) in &mut empty.nodes {
            if !layer.is_embedding() {
                let none = AliveEntries::collect(nodes.alive.positions(), 1, |_, _| false);
                nodes.alive = none.into();
                nodes.importance.clear();
                nodes.activation.clear();
            }
        }
        if let Some(prediction) = &mut empty.prediction {
            prediction.target_prob.clear();
        }
        for pair in &mut empty.pairs {
            pair.source = empty.nodes[&pair.pair.source].alive.clone();
            pair.target = empty.nodes[&pair.pair.target].alive.clone();
            pair.values.clear();
        }
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ResultWriter::create(dir.path(), false, results.settings()).unwrap();
        for (index, (set, prompt)) in results.sets.iter().enumerate() {
            writer.write_set(index, set, prompt, Some(serde_json::json!({ "name": NASTY[index] }))).unwrap();
        }
        writer.name_output_tokens(|id| NASTY[id as usize % NASTY.len()].to_owned());
        // Not as they are spelt.
        let text = |id: u32| format!(" {}", NASTY[(id as usize + 1) % NASTY.len()]);
        writer.decode_tokens(|ids| ids.iter().map(|&id| text(id)).collect(), text);
        writer.finish(results.run_info()).unwrap();
        Self { folder: ResultFolder::open(dir.path()).unwrap(), dir }
    }

    /// One set of one position, in which all components of an MLP are alive and no output token; every edge has a value of
    /// its own.
    pub(crate) fn full(components: usize) -> Self {
        let mut results = RandomResults::new(1);
        let decomposed = [Layer::published(0, Role::MlpUp), Layer::published(0, Role::MlpDown)];
        results.model.n_blocks = 1;
        results.model.components = decomposed.map(|layer| (layer, components)).into();
        let (mut set, _) = results.sets.swap_remove(0);
        let of_layer = |(layer, components): (Layer, usize)| {
            let alive = Arc::new(AliveEntries::collect(1, components, |_, _| !layer.is_output()));
            let numbers = if layer.is_embedding() { vec![] } else { vec![0.5; alive.len()] };
            let (importance, activation, original) = (numbers.clone(), numbers, Arc::clone(&alive));
            (layer, LayerNodes { alive, original, importance, activation })
        };
        set.nodes = results.model.node_layers().map(of_layer).collect();
        // f32 holds whole numbers up to 2^24.
        let mut numbers = (1_u32..).map(|number| number as f32);
        let mut attribution = |pair: Pair| {
            let empty = PairAttribution::between(pair, &set.nodes);
            PairAttribution { values: numbers.by_ref().take(empty.edge_count()).collect(), ..empty }
        };
        set.pairs = pair_table(&published_blocks(1), &decomposed.into()).into_iter().map(&mut attribution).collect();
        set.output_probs = vec![0.0; results.model.vocab];
        set.borderline.clear();
        set.prediction = None;
        let prompt = Prompt { text: "a".to_owned(), tokens: vec![0], token_strings: vec!["a".to_owned()] };
        results.sets = vec![(set, prompt)];
        let dir = tempfile::tempdir().unwrap();
        results.write(dir.path(), false).unwrap();
        Self { folder: ResultFolder::open(dir.path()).unwrap(), dir }
    }

    pub(crate) fn sets(&self) -> &[SetEntry] {
        &self.folder.manifest().sets
    }

    /// The graph of a set, as it was before it was exported.
    pub(crate) fn graph(&self, set: &SetEntry) -> Graph {
        Graph::new(&self.folder.read_set(&set.name).unwrap())
    }

    /// Exports all sets.
    pub(crate) fn export(&self, out: &Path, force: bool, format: Format) -> Result<Exported, ExportError> {
        self.export_as(View::default(), out, force, format)
    }

    /// Exports all sets as a view shows them.
    pub(crate) fn export_as(
        &self,
        view: View,
        out: &Path,
        force: bool,
        format: Format,
    ) -> Result<Exported, ExportError> {
        export(&self.folder, &self.sets().iter().collect::<Vec<_>>(), out, force, &format, view)
    }
}

/// Random and nasty results.
pub(crate) fn cases() -> impl Iterator<Item = Written> {
    (0..24).map(Written::random).chain((100..108).map(Written::nasty))
}

/// What is written of whole graphs is counted right.
pub(crate) fn assert_counts(exported: &Exported, written: &Written, has_ghosts: bool) {
    assert_eq!(exported.sets.len(), written.sets().len());
    for (summary, set) in exported.sets.iter().zip(written.sets()) {
        let graph = written.graph(set);
        let ghosts = if has_ghosts { graph.ghosts.len() } else { 0 };
        assert_eq!(summary.set, set.name);
        assert_eq!((summary.nodes, summary.ghosts, summary.edges), (set.nodes, ghosts, set.edges));
        assert_eq!(summary.not_finite, graph.edges.iter().filter(|edge| !edge.value.is_finite()).count());
        assert_eq!(summary.left_out, tributary_export::LeftOut::default());
        assert!(summary.warnings.is_empty());
    }
}
