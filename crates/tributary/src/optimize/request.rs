//! What an optimisation is asked for.

use tributary_inputs::TokenName;
use tributary_model::Remedy;
use tributary_optimize::{Loss, Settings};
use tributary_results::At;

use crate::{Compute, Error, Input, Run};

/// What an optimisation is asked for: sets of every prompt, with every coefficient and every seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimization {
    /// The trained run.
    pub run: Run,
    /// The prompts; no CI sets.
    pub input: Input,
    /// The token that is looked at; `None` for the target model's likeliest.
    pub label: Option<TokenName>,
    /// The token that it is compared with, by [`Loss::LogitDifference`].
    pub against: Option<TokenName>,
    /// The position that is looked at.
    pub position: At,
    /// What is asked of the masked model there.
    pub loss: Loss,
    /// Coefficients of importance minimality.
    pub sparsity: Vec<f64>,
    /// Seeds of what is drawn.
    pub seeds: Vec<u64>,
    /// How it is optimised.
    pub settings: Settings,
    /// Numbers of updates after which what is reached is kept as a set of its own.
    pub snapshots: Vec<usize>,
    /// Bytes of memory that may be taken beside the model; `None` for half of what is free.
    pub max_memory: Option<u64>,
    /// What computes.
    pub compute: Compute,
}

impl Optimization {
    /// One set of the target model's likeliest token at the last position of each prompt, with a coefficient of 0.01 and the
    /// seed 0.
    pub fn new(run: Run, input: Input) -> Self {
        Self {
            run,
            input,
            label: None,
            against: None,
            position: At::Last,
            loss: Loss::CrossEntropy,
            sparsity: vec![0.01],
            seeds: vec![0],
            settings: Settings::default(),
            snapshots: Vec::new(),
            max_memory: None,
            compute: Compute::default(),
        }
    }

    /// The numbers of updates after which what is reached is kept, ascending.
    pub(super) fn snapshots_in_order(&self) -> Vec<usize> {
        let mut snapshots = self.snapshots.clone();
        snapshots.sort_unstable();
        snapshots
    }

    /// Whether its parts go together.
    pub(super) fn check(&self) -> Result<(), Error> {
        let fail = |problem: String, remedy| Err(Error::Optimization { problem, remedy: Some(remedy) });
        match (self.loss, &self.against) {
            (Loss::LogitDifference, None) => {
                let problem = "the difference of two logits needs a token to compare the label with";
                return fail(problem.to_owned(), Remedy::Against);
            }
            (Loss::LogitDifference, Some(_)) | (_, None) => {}
            (loss, Some(_)) => {
                let problem = format!("a token to compare the label with has no part in the loss {}", loss.name());
                return fail(problem, Remedy::Against);
            }
        }
        let lists = [
            ("coefficient", repeated(&self.sparsity), Remedy::Sparsity),
            ("seed", repeated(&self.seeds), Remedy::Seeds),
            ("snapshot after step", repeated(&self.snapshots), Remedy::Snapshots),
        ];
        for (what, twice, remedy) in lists {
            if let Some(twice) = twice {
                return fail(format!("the {what} {twice} is asked for twice; each gives one set"), remedy);
            }
        }
        if let Some(&step) = self.snapshots.iter().find(|&&step| step == 0 || step > self.settings.steps) {
            let steps = self.settings.steps;
            let problem = format!("a snapshot is asked for after {step} steps, but there are {steps}, numbered from 1");
            return fail(problem, Remedy::Snapshots);
        }
        Ok(())
    }
}

fn repeated<T: PartialEq + std::fmt::Display>(values: &[T]) -> Option<String> {
    let mut repeated = values.iter().enumerate().filter(|(at, value)| values[..*at].contains(value));
    repeated.next().map(|(_, value)| value.to_string())
}
