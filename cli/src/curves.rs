//! The figure of how an optimisation went.

use std::path::Path;

use tributary::{Optimized, OptimizedSet, RecordedCurve};
use tributary_files::memory;
use tributary_plot::Drawing;
use tributary_plot::chart::{Axis, AxisScale, Chart, Line, Panel};

use crate::CliError;
use crate::args::{OptimizeArgs, PIXELS};

/// Points of a line: what is drawn at random differs from step to step, and more of them hide each other.
const POINTS: usize = 100;

/// The bytes of the figure of all sets, in the format that its file's ending says.
pub(crate) fn draw(file: &Path, args: &OptimizeArgs, optimized: &Optimized) -> Result<Vec<u8>, CliError> {
    let svg = chart(args, optimized).svg();
    if file.extension().is_some_and(|extension| extension == "svg") {
        return Ok(svg.into_bytes());
    }
    memory::check(file, Drawing::memory_of(&svg))?;
    let fail = |error| {
        let problem = format!("{error}; the CI sets are written: the same command with --resume and --plot draws it");
        CliError::Curves { file: file.to_owned(), problem }
    };
    let drawing = Drawing::new(&svg, PIXELS).map_err(fail)?;
    memory::check(file, drawing.memory())?;
    Ok(drawing.png().map_err(fail)?.bytes)
}

/// A part of the curves, and what it is called.
type Part = (&'static str, fn(&RecordedCurve) -> &[f64]);

const PARTS: [Part; 6] = [
    ("loss under the masks (recon)", |curve| &curve.recon),
    ("importance minimality (imp_min)", |curve| &curve.imp_min),
    ("all that is optimised (total)", |curve| &curve.total),
    ("components alive, mean over positions (L0)", |curve| &curve.l0),
    (LABEL_PROB, |curve| &curve.label_prob),
    ("loss against the adversary (adversarial)", |curve| &curve.adversarial),
];
const LABEL_PROB: &str = "probability of the label under the masks";

fn chart(args: &OptimizeArgs, optimized: &Optimized) -> Chart {
    let sets = &optimized.sets;
    let recorded = sets.iter().map(|set| set.curve.step.len()).max().unwrap_or(0);
    let together = recorded.div_ceil(POINTS).max(1);
    let groups = Groups::of(sets);
    let panel = |(name, values): &Part| {
        let line = |(index, set): (usize, &OptimizedSet)| {
            let (colour, shade) = groups.place(index, set);
            Line {
                name: set.name.clone(),
                colour,
                shade,
                points: points(&set.curve.step, values(&set.curve), together),
            }
        };
        let lines: Vec<Line> = sets.iter().enumerate().map(line).collect();
        let all = lines.iter().flat_map(|line| line.points.iter().map(|&(_, value)| value));
        let scale = AxisScale::of(all);
        let y =
            if *name == LABEL_PROB { Axis::linear("").including(0.0, 1.0) } else { Axis { scale, ..Axis::default() } };
        let scale = if y.scale == AxisScale::Logarithmic { ", logarithmic" } else { "" };
        lines.iter().any(|line| !line.points.is_empty()).then(|| Panel {
            title: format!("{name}{scale}"),
            x: Axis::linear("step"),
            y,
            lines,
        })
    };
    let mut remarks = Vec::new();
    if together > 1 {
        let every = sets.iter().find_map(|set| Some(set.curve.step.get(1)? - set.curve.step.first()?)).unwrap_or(1);
        remarks.push(format!(
            "a point is the mean of {together} steps{}",
            match every {
                1 => String::new(),
                every => format!(", of which one of {every} is recorded"),
            }
        ));
    }
    let reached = sets.iter().filter(|set| set.failed.is_none()).map(|set| set.step);
    if let Some(least) = reached.min().filter(|_| !optimized.is_complete) {
        remarks.push(format!("interrupted: {least} of {} steps are done of all sets", args.optimization.steps));
    }
    for set in sets {
        if let Some(step) = set.failed {
            remarks.push(format!("{}: what is optimised is no finite number at step {step}", set.name));
        }
    }
    Chart {
        title: args.out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        subtitle: subtitle(args, sets),
        colours: groups.colours.clone(),
        shades: groups.shades(),
        panels: PARTS.iter().filter_map(panel).collect(),
        remarks,
    }
}

/// What is the same for all sets.
fn subtitle(args: &OptimizeArgs, sets: &[OptimizedSet]) -> String {
    let mut parts = Vec::new();
    if let [prompt] = args.prompt.as_slice() {
        parts.push(prompt.clone());
    }
    if let Some(first) = sets.first()
        && sets.iter().all(|set| (&set.label, set.position) == (&first.label, first.position))
    {
        parts.push(format!("label {:?} at position {}", first.label, first.position));
    }
    parts.push(format!("{} sets", sets.len()));
    parts.join("   ·   ")
}

/// Means of so many neighbouring values each, at the middle of their steps.
fn points(steps: &[usize], values: &[f64], together: usize) -> Vec<(f64, f64)> {
    let pairs = steps.chunks(together).zip(values.chunks(together));
    let mean = |(steps, values): (&[usize], &[f64])| {
        let middle = steps.iter().map(|&step| step as f64).sum::<f64>() / steps.len() as f64;
        (middle, values.iter().sum::<f64>() / values.len() as f64)
    };
    pairs.map(mean).collect()
}

/// Which sets have a colour in common: those of a prompt and coefficient, told apart by their seeds, or, where all are of one, each
/// has its own.
struct Groups {
    colours: Vec<String>,
    /// Prompts and coefficients, in the order of the colours.
    keys: Vec<(usize, u64)>,
    seeds: Vec<u64>,
}

fn key(set: &OptimizedSet) -> (usize, u64) {
    (set.prompt, set.sparsity.to_bits())
}

impl Groups {
    fn of(sets: &[OptimizedSet]) -> Self {
        let mut found = Self { colours: Vec::new(), keys: Vec::new(), seeds: Vec::new() };
        for set in sets {
            if !found.keys.contains(&key(set)) {
                found.keys.push(key(set));
            }
            if !found.seeds.contains(&set.seed) {
                found.seeds.push(set.seed);
            }
        }
        let is_one = |keys: &[(usize, u64)]| keys.len() <= 1;
        let first_of = |key_of: &(usize, u64)| sets.iter().find(|set| key(set) == *key_of);
        found.colours = if is_one(&found.keys) || found.seeds.len() == 1 {
            sets.iter().map(|set| set.name.clone()).collect()
        } else {
            let name = |set: &OptimizedSet| {
                set.name.rsplit_once("_seed_").map_or(set.name.clone(), |(name, _)| name.to_owned())
            };
            found.keys.iter().filter_map(first_of).map(name).collect()
        };
        found
    }

    /// Whether colours are of sets.
    fn is_by_set(&self) -> bool {
        self.keys.len() <= 1 || self.seeds.len() == 1
    }

    fn place(&self, index: usize, set: &OptimizedSet) -> (usize, usize) {
        if self.is_by_set() {
            return (index, 0);
        }
        let colour = self.keys.iter().position(|&other| other == key(set)).unwrap_or(0);
        (colour, self.seeds.iter().position(|&other| other == set.seed).unwrap_or(0))
    }

    fn shades(&self) -> Vec<String> {
        if self.is_by_set() { Vec::new() } else { self.seeds.iter().map(|seed| format!("seed {seed}")).collect() }
    }
}
