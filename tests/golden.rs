//! Every backend on every golden case: same nodes, same edges, and values as near as the arithmetic allows.

#![allow(clippy::print_stdout, reason = "what was measured, for who asks with --nocapture")]

use std::fmt::Write as _;

use tributary_backend::{AttributionBackend, BackendError, DeviceInfo, Dtype, Element};
use tributary_engine::{Model, Request, Sets, attribute, model_ci};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{SetAttributions, Thresholds};
use tributary_tests::backends::open_or_skip;
use tributary_tests::distance::Distance;
use tributary_tests::golden::{Bound, Checked, GoldenCase, check_pair};
use tributary_tests::on_every_backend;
use tributary_tests::rounding::METHODS;

/// Largest L2 error of a pair in one set, as a part of its own norm; and, added to that, as a part of the norm of the whole
/// case, since a pair may be next to nothing for what cancels in it: `gpt2s-2L-128/bench` has one of 2.6e-7 of the case, and in
/// f32 one of `llama-3L-global/short` is 1.3e-7 of the case off, two roundings of what it is the difference of.
///
/// The reference was computed in float64 and stored in float32, which alone is up to 2^-25 = 3e-8 off. In f32, sums of a
/// few hundred products, each rounded, some twenty layers deep, leave a few times 2^-24 = 6e-8 in the mean: the
/// published implementation itself is 2e-7 to 3e-7 off. For Llama the reference's rotary tables and norms
/// were float32 even then: 2^-24 of what a norm's gradient takes away again.
///
/// GPUs add the terms of a sum in other orders and contract products with them; ten times that is allowed there.
fn largest_error(device: &DeviceInfo, case: &GoldenCase) -> Bound {
    match device.dtype {
        Dtype::F32 if device.device != "cpu" => (1e-5, 1e-6),
        Dtype::F32 => (1e-6, 2e-7),
        Dtype::F64 if case.name.starts_with("llama") => (4e-7, 6e-8),
        Dtype::F64 => (1e-7, 1e-15),
    }
}

/// Largest difference of a causal importance. The reference, computed in float64 with rotary tables of float32, was stored in
/// float32. In f32 a transformer rounds a stream of some units some twenty times, each by 2^-24 of it: 1.5e-6 is measured.
fn largest_of_own_ci(device: &DeviceInfo) -> f64 {
    match device.dtype {
        Dtype::F32 => 2e-6,
        Dtype::F64 => 2e-7,
    }
}

/// Largest L2 distance of the two methods, which compute nothing in common past the forward pass, at a pair, in the same two
/// parts. Both are as far from the truth as rounding makes them, so together no more than twice that.
fn largest_apart(device: &DeviceInfo) -> Bound {
    match device.dtype {
        Dtype::F32 if device.device != "cpu" => (2e-5, 2e-6),
        Dtype::F32 => (2e-6, 4e-7),
        Dtype::F64 => (1e-12, 1e-15),
    }
}

fn check<B: AttributionBackend + Clone>(
    open: impl Fn() -> Result<B, BackendError>,
    cases: impl Fn() -> Vec<GoldenCase>,
) {
    let Some(backend) = open_or_skip("golden cases", open) else { return };
    for case in cases() {
        let run = TrainedRun::load(&case.run, &RunOptions::default()).unwrap();
        let sets = run.ci_sets(&case.ci_sets, &[]).unwrap().sets;
        let model = Model::upload(backend.clone(), run.weights.clone()).unwrap();
        let own = model_ci(&model, "own", &sets[0].prompt).unwrap();
        if let Some(difference) = case.compare_own_ci(&own) {
            println!("{}: own causal importances within {difference:.1e}", case.name);
            let largest = largest_of_own_ci(&model.backend().device());
            assert!(difference <= largest, "{}: own causal importances {difference:e} off", case.name);
        }
        let thresholds =
            Thresholds { ci: case.ci_threshold, output_prob: case.output_prob_threshold, ..Thresholds::MASKED };
        let mut closed_form: Option<Vec<SetAttributions<B::Element>>> = None;
        for method in METHODS {
            let result =
                attribute(&model, &Request { thresholds, method, ..Request::new(Sets::Given(&sets)) }, &mut |_| {})
                    .unwrap();
            let info = model.backend().device();
            let Checked { whole, output_probs, edges } = case.check(&result.sets, largest_error(&info, &case));
            println!(
                "{} on {} {} by {}: {edges} edges, relative L2 error {:.2e}, output probabilities within {output_probs:.1e}, \
                 {:.2} s",
                case.name,
                info.backend,
                info.dtype,
                method.name(),
                whole.relative(),
                result.timings.attribution
            );
            if B::Element::DTYPE == Dtype::F64 {
                // Four digits of a float64 result are the same on every backend.
                insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
                    insta::assert_snapshot!(format!("golden_{}", case.name.replace('/', "_")), digest(&result.sets));
                });
            }
            match &closed_form {
                None => closed_form = Some(result.sets),
                Some(closed_form) => {
                    for (found, expected) in closed_form.iter().zip(&result.sets) {
                        for (found, expected) in found.pairs.iter().zip(&expected.pairs) {
                            let distance = Distance::of_pair(found, expected).unwrap();
                            let (source, target) = (found.pair.source, found.pair.target);
                            let context = format!("{}: {source} -> {target} by both methods", case.name);
                            check_pair(distance, whole, largest_apart(&info), &context);
                        }
                    }
                }
            }
        }
    }
}

/// Size and largest value of every pair of every set.
fn digest<E: Element>(sets: &[SetAttributions<E>]) -> String {
    let mut text = String::new();
    for set in sets {
        writeln!(text, "set {}: {} nodes, {} edges", set.name, set.node_count(), set.edge_count()).unwrap();
        for pair in &set.pairs {
            let (source, target) = (pair.pair.source.to_string(), pair.pair.target.to_string());
            let (c_in, c_out) = (pair.trimmed_c_in_idxs().len(), pair.trimmed_c_out_idxs().len());
            let nonzero = pair.values.iter().filter(|value| value.to_f64() != 0.0).count();
            // A zero has a sign that says how it was computed.
            let largest =
                pair.values.iter().map(|value| value.to_f64() + 0.0).max_by(|a, b| a.abs().total_cmp(&b.abs()));
            let largest = largest.map_or_else(|| "none".to_owned(), |largest| format!("{largest:.3e}"));
            let entries = pair.values.len();
            writeln!(
                text,
                "  {source:>18} -> {target:18} {c_in:3} x {c_out:3} components, {entries:5} edges, {nonzero:5} not zero, \
                 largest {largest}"
            )
            .unwrap();
        }
    }
    text
}

fn bundled<B: AttributionBackend + Clone>(open: impl Fn() -> Result<B, BackendError>) {
    check(open, GoldenCase::bundled);
}

fn shared<B: AttributionBackend + Clone>(open: impl Fn() -> Result<B, BackendError>) {
    check(open, GoldenCase::shared);
}

on_every_backend!([bundled, shared]);
