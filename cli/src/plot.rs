//! `tributary plot`: figures of a result.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::json;
use tributary_graph::Graph;
use tributary_plot::{Figure, LeftOut, PlotOptions, Scale, png};
use tributary_results::{ClosedFile, Manifest, OutputFile, ResultFolder, SetEntry};

use crate::args::{FigureFormat, PIXELS, PlotArgs};
use crate::own_folder::refuse_own_folder;
use crate::{CliError, console, selected_sets};

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
    let limits = args.limits.limits();
    let job = Job { result: &result, out: &out, formats: &args.format, pixels: args.scale, force: args.output.force };
    let drawn = job.draw(&sets, PlotOptions { limits, scale: None })?;
    console::summarise(&args.output, || json(&drawn), || text(&drawn))
}

/// Draws all sets of a result into the folder `plots` in it.
pub(crate) fn beside(result: &Path, force: bool) -> Result<(), CliError> {
    let folder = ResultFolder::open(result)?;
    let sets: Vec<&SetEntry> = folder.manifest().sets.iter().collect();
    let formats = [FigureFormat::Svg, FigureFormat::Png];
    let job = Job { result: &folder, out: &result.join(PLOTS), formats: &formats, pixels: PIXELS, force };
    job.draw(&sets, PlotOptions::default())?;
    Ok(())
}

/// What to tell of figures that are no longer those of the results beside them: `drawn` says whether figures of all sets
/// were drawn just now.
pub(crate) fn stale(result: &Path, manifest: &Manifest, drawn: bool) -> Option<String> {
    let is_current = |path: &Path| {
        let is_of = |set: &SetEntry| path.file_stem().is_some_and(|stem| stem == set.stem());
        drawn && manifest.sets.iter().any(is_of)
    };
    let is_figure = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "svg" || extension == "png");
    let folder = result.join(PLOTS);
    let files = std::fs::read_dir(&folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let stale = files.filter(is_figure).filter(|path| !is_current(path)).count();
    let text = format!("note: {} holds {stale} figures that are not of these results", folder.display());
    (stale > 0).then_some(text)
}

struct Job<'a> {
    result: &'a ResultFolder,
    out: &'a Path,
    formats: &'a [FigureFormat],
    pixels: f64,
    force: bool,
}

impl Job<'_> {
    /// Draws sets on one scale. Nothing is in place before all figures are drawn.
    fn draw(&self, sets: &[&SetEntry], mut options: PlotOptions) -> Result<Vec<Drawn>, CliError> {
        let graphs: Vec<Graph> = sets
            .par_iter()
            .map(|set| Ok(Graph::new(&self.result.read_set(&set.name)?)))
            .collect::<Result<_, CliError>>()?;
        // The sets of a consensus are means, deviations, shares and counts, which have no scale in common.
        let is_consensus = self.result.manifest().run.is_consensus();
        options.scale = (!is_consensus).then(|| graphs.iter().fold(Scale::default(), Scale::including));
        let drawn: Vec<(Drawn, Vec<ClosedFile>)> = sets
            .par_iter()
            .zip(&graphs)
            .map(|(set, graph)| self.figure(set, graph, &options))
            .collect::<Result<_, CliError>>()?;
        let mut figures = Vec::with_capacity(drawn.len());
        for (figure, files) in drawn {
            for file in files {
                file.finish()?;
            }
            figures.push(figure);
        }
        Ok(figures)
    }

    fn figure(
        &self,
        set: &SetEntry,
        graph: &Graph,
        options: &PlotOptions,
    ) -> Result<(Drawn, Vec<ClosedFile>), CliError> {
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
        let mut files = Vec::new();
        for (format, extension) in [(FigureFormat::Svg, "svg"), (FigureFormat::Png, "png")] {
            if !self.formats.contains(&format) {
                continue;
            }
            let path = self.out.join(format!("{}.{extension}", set.stem()));
            // Whether the file may be written is known before the picture is made.
            let mut file = OutputFile::create(&path, self.force)?;
            match format {
                FigureFormat::Svg => file.write_whole(svg.as_bytes())?,
                FigureFormat::Png => {
                    let picture =
                        png(&svg, self.pixels).map_err(|source| CliError::Plot { set: set.name.clone(), source })?;
                    drawn.scaled_down = (picture.scale < self.pixels).then_some(picture.scale);
                    file.write_whole(&picture.bytes)?;
                }
            }
            drawn.files.push(path);
            files.push(file.close()?);
        }
        Ok((drawn, files))
    }
}

fn text(drawn: &[Drawn]) -> String {
    let mut text = String::new();
    for Drawn { set, files, left_out, edges, nodes, ghosts, scaled_down } in drawn {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let _ = write!(
            text,
            "set {}: {}\n  {edges} of {} edges that are not zero, {nodes} of {} nodes, {ghosts} of {} ghosts",
            console::plain(set),
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
