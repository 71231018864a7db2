//! Every backend on every golden case: same nodes, same edges, and values as near as the arithmetic allows.

use std::fmt::Write as _;

use tributary_backend::{AttributionBackend, DeviceInfo, Dtype, Element};
use tributary_engine::{Method, Model, Sets, attribute};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::{SetAttributions, Thresholds};
use tributary_tests::backends::open_or_say;
use tributary_tests::golden::{Distance, GoldenCase};
use tributary_tests::on_every_backend;

/// Largest relative L2 error over all values of a case.
///
/// The reference was computed in float64 and stored in float32, which alone is up to 2^-25 = 3e-8 off. In f32, sums of a
/// few hundred products, each rounded, some twenty layers deep, leave a few times 2^-24 = 6e-8 in the mean: the
/// published implementation itself is 2e-7 to 3e-7 off. For Llama the reference's rotary tables were float32 even then.
///
/// GPUs add the terms of a sum in other orders and contract products with them; ten times that is allowed there.
fn largest_error(device: &DeviceInfo, case: &GoldenCase) -> f64 {
    match device.dtype {
        Dtype::F32 if device.device != "cpu" => 1e-5,
        Dtype::F32 => 1e-6,
        Dtype::F64 if case.name.starts_with("llama") => 4e-7,
        Dtype::F64 => 1e-7,
    }
}

/// Largest relative L2 distance of the two methods, which share nothing past the forward pass. Both are as far from the
/// reference as rounding makes them, so together no more than twice that.
fn largest_apart(device: &DeviceInfo) -> f64 {
    match device.dtype {
        Dtype::F32 if device.device != "cpu" => 2e-5,
        Dtype::F32 => 1e-6,
        Dtype::F64 => 1e-12,
    }
}

/// L2 distance of all attributions of graphs with the same edges, by the norm of the second.
fn relative_l2<E: Element>(found: &[SetAttributions<E>], expected: &[SetAttributions<E>]) -> f64 {
    let values = |sets: &[SetAttributions<E>]| -> Vec<f64> {
        let pairs = sets.iter().flat_map(|set| &set.pairs);
        pairs.flat_map(|pair| pair.values.iter().map(|value| value.to_f64())).collect()
    };
    let (found, expected) = (values(found), values(expected));
    assert_eq!(found.len(), expected.len());
    let error: f64 = found.iter().zip(&expected).map(|(a, b)| (a - b) * (a - b)).sum();
    let norm: f64 = expected.iter().map(|value| value * value).sum();
    (error / norm).sqrt()
}

fn check<B: AttributionBackend + Clone>(open: impl Fn() -> Result<B, String>, cases: impl Fn() -> Vec<GoldenCase>) {
    let Some(backend) = open_or_say("golden cases", open) else { return };
    for case in cases() {
        let run = TrainedRun::load(&case.run, &RunOptions::default()).unwrap();
        let sets = run.ci_sets(&case.ci_sets, &[]).unwrap().sets;
        let model = Model::upload(backend.clone(), run.weights.clone()).unwrap();
        let thresholds = Thresholds { ci: case.ci_threshold, output_prob: case.output_prob_threshold };
        let mut closed_form: Option<Vec<SetAttributions<B::Element>>> = None;
        for method in [Method::ClosedForm, Method::Autograd] {
            let result = attribute(&model, Sets::Given(&sets), thresholds, method, &mut |_| {}).unwrap();
            let distances = result.sets.iter().map(|set| case.compare(set));
            let distance = distances.fold(Distance::default(), Distance::merge);
            let (error, info) = (distance.relative(), model.backend().device());
            println!(
                "{} on {} {} by {}: {} edges, relative L2 error {error:.2e}, output probabilities within {:.1e}, {:.2} s",
                case.name,
                info.backend,
                info.dtype,
                method.name(),
                distance.edges,
                distance.output_probs,
                result.timings.attribution
            );
            assert!(distance.edges > 0);
            if B::Element::DTYPE == Dtype::F64 {
                // Four digits of a float64 result are the same on every backend.
                insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
                    insta::assert_snapshot!(format!("golden_{}", case.name.replace('/', "_")), digest(&result.sets));
                });
            }
            let largest = largest_error(&info, &case);
            assert!(error <= largest, "{}: relative L2 error {error:e}, at most {largest:e}", case.name);
            assert!(distance.output_probs <= 1e-6, "{}: output probabilities {:e}", case.name, distance.output_probs);
            match &closed_form {
                None => closed_form = Some(result.sets),
                Some(closed_form) => {
                    let (apart, largest) = (relative_l2(closed_form, &result.sets), largest_apart(&info));
                    println!("{}: the two methods are {apart:.2e} apart", case.name);
                    assert!(apart <= largest, "{}: the methods are {apart:e} apart, at most {largest:e}", case.name);
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
            let largest = pair.values.iter().map(|value| value.to_f64()).max_by(|a, b| a.abs().total_cmp(&b.abs()));
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

fn bundled<B: AttributionBackend + Clone>(open: impl Fn() -> Result<B, String>) {
    check(open, GoldenCase::bundled);
}

fn shared<B: AttributionBackend + Clone>(open: impl Fn() -> Result<B, String>) {
    check(open, GoldenCase::shared);
}

on_every_backend!([bundled, shared]);
