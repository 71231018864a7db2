//! Optimisation on random models: no set is another's business, and a run that goes on is the one that did not stop.

use std::sync::Arc;

use proptest::prelude::*;
use tributary_engine::{Model, own_importances};
use tributary_model::Prompt;
use tributary_optimize::{
    Adversarial, Adversary, Entries, Init, Loss, MaskKind, Objective, Optimizer, Pnorm, Schedule, SetState, Settings,
    Task, target_log_probs,
};
use tributary_testing::config;
use tributary_tests::naive::NaiveBackend;
use tributary_tests::random_case::{Shape, shapes};

use super::some_layers;

fn tasks<'a>(shape: &Shape, model: &Model<NaiveBackend>, prompts: &[&'a Prompt], loss: Loss) -> Vec<Task<'a>> {
    let vocab = model.architecture().vocab;
    let task = |(number, prompt): (usize, &&'a Prompt)| {
        let own = own_importances(model, &[prompt]).unwrap().remove(0);
        let entries = Entries::alive(&own.importances, shape.positions);
        let position = (shape.seed as usize + number) % shape.positions;
        let target = target_log_probs(model, prompt, Objective::reads(loss, position, shape.positions)).unwrap();
        let (label, against) = (number % vocab, Some((number + 1) % vocab));
        Task {
            prompt,
            before_sigmoid: entries.pick(&own.before_sigmoid).into(),
            entries: Arc::new(entries),
            objective: Objective { loss, position, label, against, target: target.into() },
            seed: shape.seed ^ number as u64,
            sparsity: 0.01 * (number + 1) as f64,
        }
    };
    prompts.iter().enumerate().map(task).collect()
}

fn settings(masks: MaskKind, init: Init) -> Settings {
    Settings {
        steps: 4,
        schedule: Schedule::Cosine,
        pnorm: Pnorm { initial: 1.0, last: 0.5, start: 0.25, end: 1.0 },
        beta: 0.5,
        masks,
        adversary: Some(Adversarial { adversary: Adversary { steps: 2, step_size: 0.3 }, weight: 0.5 }),
        init,
        ..Settings::default()
    }
}

fn finish(mut optimizer: Optimizer<'_, '_, NaiveBackend>) -> Vec<SetState> {
    while !optimizer.is_done() {
        optimizer.advance().unwrap();
    }
    optimizer.states().cloned().collect()
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn sets_of_a_batch_are_what_they_are_alone(
        shape in shapes(),
        partly in any::<bool>(),
        masks in prop::sample::select(vec![MaskKind::Ci, MaskKind::Stochastic]),
        init in prop::sample::select(vec![Init::Model, Init::Random]),
        loss in prop::sample::select(vec![Loss::CrossEntropy, Loss::Kl, Loss::Logit, Loss::LogitDifference, Loss::MeanKl]),
    ) {
        let weights = if partly { shape.model_decomposed_at(&some_layers(&shape)) } else { shape.model() };
        if weights.decomposed.is_empty() {
            return Ok(());
        }
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let sets = shape.ci_sets(&weights);
        // Two tasks on one prompt, and those on others where there are some.
        let prompts: Vec<&Prompt> = std::iter::once(&sets[0]).chain(&sets).map(|set| &set.prompt).collect();
        let tasks = tasks(&shape, &model, &prompts, loss);
        let settings = settings(masks, init);
        let together = finish(Optimizer::new(&model, settings.clone(), &tasks).unwrap());
        for (task, together) in tasks.iter().zip(&together) {
            let alone = finish(Optimizer::new(&model, settings.clone(), std::slice::from_ref(task)).unwrap()).remove(0);
            // AdamW divides by the size of the gradient: of one that is rounding, 1e-13, and epsilon, 1e-8, 1e-5 are left of the
            // learning rate of 0.01, at each of four steps.
            for (a, b) in alone.parameters.iter().zip(&together.parameters) {
                prop_assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
            for (a, b) in alone.curve.total.iter().zip(&together.curve.total) {
                prop_assert!((a - b).abs() < 1e-6 * a.abs().max(1.0), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_run_that_goes_on_is_the_one_that_did_not_stop(shape in shapes(), at in 0_usize..4) {
        let weights = shape.model();
        let model = Model::upload(NaiveBackend, weights.clone()).unwrap();
        let sets = shape.ci_sets(&weights);
        let prompts: Vec<&Prompt> = sets.iter().map(|set| &set.prompt).collect();
        let tasks = tasks(&shape, &model, &prompts, Loss::Kl);
        let settings = settings(MaskKind::Stochastic, Init::Random);
        let whole = finish(Optimizer::new(&model, settings.clone(), &tasks).unwrap());
        let mut first = Optimizer::new(&model, settings.clone(), &tasks).unwrap();
        for _ in 0..at {
            first.advance().unwrap();
        }
        let states = first.states().cloned().collect();
        prop_assert_eq!(finish(Optimizer::resume(&model, settings, &tasks, states, at).unwrap()), whole);
    }
}
