//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use tributary::engine;
use tributary::{BatchStep, Progress, SetStep};

use crate::{console, visible};

/// The most sets that a line each is given to.
const LISTED: usize = 12;

/// Shows how far a run is.
pub(crate) enum Reporter {
    Bar(ProgressBar),
    /// Plain lines; holds the last tenth of the backward passes that was reported.
    Lines {
        tenth: usize,
    },
    Quiet,
}

impl Reporter {
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            Self::Bar(bar)
        } else {
            Self::Lines { tenth: 0 }
        }
    }

    /// What a session says.
    pub(crate) fn show(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Reading(folder) => self.step(&format!("reading {}", folder.display())),
            Progress::Finishing(folder) => self.step(&format!("finishing {}", folder.display())),
            Progress::Drawing(result) => self.step(&format!("drawing edges of {}", result.display())),
            Progress::Engine(progress) => self.engine(progress),
            Progress::Evaluating { set, done, sets } => {
                self.step(&format!("evaluating set {set}, {} of {sets}", done + 1));
            }
            Progress::Optimizing(reached) => self.optimizing(reached),
            Progress::Note(text) => self.note(text),
            _ => {}
        }
    }

    /// A step of the command's own.
    pub(crate) fn step(&mut self, text: &str) {
        match self {
            Self::Bar(bar) => bar.set_message(visible::on_one_line(text)),
            Self::Lines { .. } => console::say(text),
            Self::Quiet => {}
        }
    }

    /// What is worth knowing, which stays on the screen.
    fn note(&self, text: &str) {
        let say = || console::say(&format!("note: {text}"));
        match self {
            Self::Bar(bar) => bar.suspend(say),
            Self::Lines { .. } => say(),
            Self::Quiet => {}
        }
    }

    fn engine(&mut self, progress: engine::Progress) {
        match progress {
            engine::Progress::ModelCi { done, prompts } => {
                self.step(&format!("model's own causal importances: prompt {} of {prompts}", done + 1));
            }
            engine::Progress::Forward { done, batches } => {
                self.step(&format!("masked forward pass: batch {} of {batches}", done + 1));
            }
            engine::Progress::Backward { done, passes } => self.backward(done, passes),
        }
    }

    /// Of every set what is optimised, its L0 and the probability of its label: of all steps on a bar, of each tenth in lines.
    fn optimizing(&mut self, reached: &BatchStep) {
        let BatchStep { batch, batches, step, steps, sets } = reached;
        let of_batch = if *batches > 1 { format!(", batch {} of {batches}", batch + 1) } else { String::new() };
        match self {
            Self::Bar(bar) => {
                if bar.length() != Some(*steps as u64) {
                    bar.set_length(*steps as u64);
                    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} ({eta})");
                    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                }
                if let Some(set) = sets.first() {
                    let others = if sets.len() > 1 { format!(" (and {} more)", sets.len() - 1) } else { String::new() };
                    let text = format!("{}{others}: {}{of_batch}", set.name, of_set(set));
                    bar.set_message(visible::on_one_line(&text));
                }
                bar.set_position(*step as u64);
            }
            Self::Lines { .. } if step * 10 / steps != (step - 1) * 10 / steps => {
                for set in sets.iter().take(LISTED) {
                    console::say(&format!("step {step} of {steps}{of_batch}: {}: {}", set.name, of_set(set)));
                }
                if let Some(others) = sets.len().checked_sub(LISTED).filter(|&others| others > 0) {
                    console::say(&format!("step {step} of {steps}{of_batch}: and {others} more sets"));
                }
            }
            Self::Lines { .. } | Self::Quiet => {}
        }
    }

    fn backward(&mut self, done: usize, passes: usize) {
        match self {
            Self::Bar(bar) => {
                if bar.length() != Some(passes as u64) {
                    bar.set_length(passes as u64);
                    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} ({eta})");
                    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                }
                bar.set_message("backward passes");
                bar.set_position(done as u64);
            }
            Self::Lines { tenth } => {
                let now = done * 10 / passes;
                if now != *tenth || done == passes {
                    *tenth = now;
                    console::say(&format!("backward passes: {done} of {passes}"));
                }
            }
            Self::Quiet => {}
        }
    }

    pub(crate) fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn of_set(set: &SetStep) -> String {
    format!("loss {:.4}, L0 {:.2}, p(label) {:.4}", set.total, set.l0, set.label_prob)
}
