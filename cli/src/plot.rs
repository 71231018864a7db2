//! `tributary plot`: figures of a result.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;
use serde_json::json;
use tributary_files::{FilesError, Replace, Transaction};
use tributary_graph::{Edge, Graph};
use tributary_plot::{Drawing, Figure, LeftOut, PlotOptions, Scale};
use tributary_results::{Manifest, PendingResults, ResultFolder, SetEntry};

use crate::args::{FigureFormat, PIXELS, PlotArgs};
use crate::own_folder::refuse_own_folder;
use crate::{CliError, console, selected_sets, visible};

/// Folder of the figures in a result, unless one is given.
const PLOTS: &str = "plots";

/// The figures of one set.
struct Drawn {
    set: String,
    files: Vec<PathBuf>,
    left_out: LeftOut,
    edges: usize,
    nodes: usize,
    ghosts: usize,
    /// Pixels of the PNG per pixel of the SVG, where that is less than what was asked for.
    scaled_down: Option<f64>,
}

pub(crate) fn run(args: &PlotArgs) -> Result<(), CliError> {
    let result = ResultFolder::open(&args.result)?;
    let sets = selected_sets::of_result(&args.sets, result.manifest(), &args.result)?;
    let out = args.out.clone().unwrap_or_else(|| args.result.join(PLOTS));
    refuse_own_folder(&out, &[&args.result])?;
    let (folder, prefix) = match &args.out {
        Some(out) => (out.as_path(), Path::new("")),
        None => (args.result.as_path(), Path::new(PLOTS)),
    };
    if sets.is_empty() {
        return Err(tributary::Error::NoSets { result: args.result.clone() }.into());
    }
    let files = Transaction::begin(folder)?;
    let job = Job {
        result: &result,
        files: &files,
        prefix,
        formats: &args.format,
        pixels: args.scale,
        replace: Replace::if_asked(args.output.force),
        alone: Mutex::new(()),
    };
    let drawn = job.draw(&sets, PlotOptions { limits: args.limits.limits(), scale: None, view: args.view.view() })?;
    files.commit_with(|_| match args.out {
        // Figures of other results must not come beside these.
        None => result.check_current(),
        Some(_) => Ok(()),
    })?;
    console::summarise(&args.output, || json(&drawn), || text(&drawn))
}

/// Draws all sets of a result into the folder `plots` in its own.
pub(crate) fn all(result: &Path, force: bool) -> Result<(), CliError> {
    let result = ResultFolder::open(result)?;
    let sets: Vec<&SetEntry> = result.manifest().sets.iter().collect();
    let files = Transaction::begin(result.path())?;
    let job = Job {
        result: &result,
        files: &files,
        prefix: Path::new(PLOTS),
        formats: &[FigureFormat::Svg, FigureFormat::Png],
        pixels: PIXELS,
        replace: Replace::if_asked(force),
        alone: Mutex::new(()),
    };
    job.draw(&sets, PlotOptions::default())?;
    Ok(files.commit_with(|_| result.check_current())?)
}

/// Refuses figures that are there already, in the folder `plots` of a result to be.
pub(crate) fn refuse_figures(result: &Path) -> Result<(), CliError> {
    match figures(result).next() {
        Some(path) => Err(FilesError::FileExists { path }.into()),
        None => Ok(()),
    }
}

/// Draws all sets of results into the folder `plots` in theirs, to come into place with them. Figures of the results that are
/// replaced go away.
pub(crate) fn with(results: &PendingResults, force: bool) -> Result<(), CliError> {
    let folder = results.folder();
    let sets: Vec<&SetEntry> = folder.manifest().sets.iter().collect();
    let formats = [FigureFormat::Svg, FigureFormat::Png];
    let (files, replace) = (results.files(), Replace::if_asked(force));
    let job = Job {
        result: folder,
        files,
        prefix: Path::new(PLOTS),
        formats: &formats,
        pixels: PIXELS,
        replace,
        alone: Mutex::new(()),
    };
    job.draw(&sets, PlotOptions::default())?;
    let is_drawn = |old: &&SetEntry| sets.iter().any(|set| set.stem() == old.stem());
    for old in results.replaced().into_iter().flat_map(|old| &old.sets).filter(|old| !is_drawn(old)) {
        for extension in EXTENSIONS {
            files.remove(figure_name(old, extension));
        }
    }
    Ok(())
}

/// What files of figures end in.
const EXTENSIONS: [&str; 2] = ["svg", "png"];

fn figure_name(set: &SetEntry, extension: &str) -> PathBuf {
    Path::new(PLOTS).join(format!("{}.{extension}", set.stem()))
}

/// The figures in the folder `plots` of a result.
fn figures(result: &Path) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(result.join(PLOTS)).into_iter().flatten();
    let is_figure =
        |path: &PathBuf| EXTENSIONS.iter().any(|&known| path.extension().is_some_and(|found| found == known));
    files.filter_map(|entry| Some(entry.ok()?.path())).filter(is_figure)
}

/// What to tell of figures that are no longer those of the results beside them: `drawn` says whether figures of all sets
/// were drawn just now.
pub(crate) fn stale(result: &Path, manifest: &Manifest, drawn: bool) -> Option<String> {
    let is_current = |path: &Path| {
        let is_of = |set: &SetEntry| path.file_stem().is_some_and(|stem| stem == set.stem());
        drawn && manifest.sets.iter().any(is_of)
    };
    let stale = figures(result).filter(|path| !is_current(path)).count();
    let text = format!("note: {} holds {stale} figures that are not of these results", result.join(PLOTS).display());
    (stale > 0).then_some(text)
}

struct Job<'a> {
    result: &'a ResultFolder,
    files: &'a Transaction,
    /// Folder of the figures in that of the transaction; empty for that itself.
    prefix: &'a Path,
    formats: &'a [FigureFormat],
    pixels: f64,
    replace: Replace,
    /// Held while a picture is drawn that does not fit beside others.
    alone: Mutex<()>,
}

impl Job<'_> {
    /// Draws sets on one scale. They come into place when the transaction commits.
    fn draw(&self, sets: &[&SetEntry], mut options: PlotOptions) -> Result<Vec<Drawn>, CliError> {
        self.check_memory(sets)?;
        let graphs: Vec<Graph> = sets
            .par_iter()
            .map(|set| Ok(options.view.of(&self.result.read_set(&set.name)?)))
            .collect::<Result<_, CliError>>()?;
        // The sets of a consensus are means, deviations, shares and counts, which have no scale in common.
        let is_consensus = self.result.manifest().run.is_consensus();
        options.scale = (!is_consensus).then(|| graphs.iter().fold(Scale::default(), Scale::including));
        sets.par_iter().zip(&graphs).map(|(set, graph)| self.figure(set, graph, &options, sets.len())).collect()
    }

    /// Graphs are held of all sets, and as many sets read at a time as there are threads.
    fn check_memory(&self, sets: &[&SetEntry]) -> Result<(), CliError> {
        const HELD: u64 = size_of::<Edge>() as u64;
        /// What is read beside its graph: an index of two numbers, and values in the file and out of it.
        const READ: u64 = 16;
        let mut edges: Vec<u64> = sets.iter().map(|set| self.result.edges(set)).collect();
        edges.sort_unstable();
        let read: u64 = edges.iter().rev().take(rayon::current_num_threads()).sum();
        let held: u64 = edges.iter().sum();
        Ok(self.result.check_memory(HELD.saturating_mul(held).saturating_add(READ.saturating_mul(read)))?)
    }

    fn figure(&self, set: &SetEntry, graph: &Graph, options: &PlotOptions, sets: usize) -> Result<Drawn, CliError> {
        let figure = Figure::new(graph, self.result.manifest(), set, options);
        let svg = figure.svg();
        let mut drawn = Drawn {
            set: set.name.clone(),
            files: Vec::new(),
            left_out: figure.left_out(),
            edges: figure.edge_count(),
            nodes: figure.node_count(),
            ghosts: figure.ghost_count(),
            scaled_down: None,
        };
        for (format, extension) in [(FigureFormat::Svg, "svg"), (FigureFormat::Png, "png")] {
            if !self.formats.contains(&format) {
                continue;
            }
            // Whether the file may be written is known before the picture is made.
            let file = self.files.create(self.prefix.join(format!("{}.{extension}", set.stem())), self.replace)?;
            drawn.files.push(file.path().to_owned());
            match format {
                FigureFormat::Svg => file.write_whole(svg.as_bytes())?,
                FigureFormat::Png => {
                    let fail = |source| CliError::Plot { set: set.name.clone(), source };
                    // As many are drawn at a time as there are threads.
                    let at_a_time = rayon::current_num_threads().min(sets) as u64;
                    self.result.check_memory(Drawing::memory_of(&svg) * at_a_time)?;
                    let drawing = Drawing::new(&svg, self.pixels).map_err(fail)?;
                    let together = self.result.check_memory(drawing.memory() * at_a_time);
                    // Where they do not fit together, one after the other.
                    let _alone = together.is_err().then(|| self.alone.lock());
                    self.result.check_memory(drawing.memory())?;
                    let picture = drawing.png().map_err(fail)?;
                    drawn.scaled_down = (picture.scale < self.pixels).then_some(picture.scale);
                    file.write_whole(&picture.bytes)?;
                }
            }
        }
        Ok(drawn)
    }
}

fn text(drawn: &[Drawn]) -> String {
    let mut text = String::new();
    for Drawn { set, files, left_out, edges, nodes, ghosts, scaled_down } in drawn {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let _ = write!(
            text,
            "set {}: {}\n  {edges} of {} edges that are not zero, {nodes} of {} nodes, {ghosts} of {} ghosts",
            visible::on_one_line(set),
            files.join(", "),
            edges + left_out.edges,
            nodes + left_out.nodes,
            ghosts + left_out.ghosts,
        );
        if left_out.edges > 0 {
            let _ = write!(
                text,
                "; edges left out are at most {:.3e} each and {:.1} % of the summed |attribution|",
                left_out.largest_edge,
                left_out.magnitude * 100.0
            );
        }
        if left_out.not_finite > 0 {
            let _ = write!(text, "; {} edges are not finite", left_out.not_finite);
        }
        if let Some(scale) = scaled_down {
            let _ = write!(text, "; the PNG has {scale:.2} pixels per pixel of the SVG, as more would be too many");
        }
        text.push('\n');
    }
    text
}

fn json(drawn: &[Drawn]) -> String {
    let sets: Vec<_> = drawn
        .iter()
        .map(|Drawn { set, files, left_out, edges, nodes, ghosts, scaled_down }| {
            json!({
                "set": set,
                "files": files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
                "edges": edges,
                "nodes": nodes,
                "ghosts": ghosts,
                "left_out": {
                    "edges": left_out.edges,
                    "largest_edge": left_out.largest_edge,
                    "magnitude": left_out.magnitude,
                    "nodes": left_out.nodes,
                    "ghosts": left_out.ghosts,
                    "not_finite": left_out.not_finite,
                },
                "scaled_down": scaled_down,
            })
        })
        .collect();
    format!("{}\n", json!({ "plots": sets }))
}
