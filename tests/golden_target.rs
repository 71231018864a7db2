//! Every backend on every golden case of attributions at the target model's activations, with gradients through deltas and
//! stopped there.

#![allow(clippy::print_stdout, reason = "what was measured, for who asks with --nocapture")]

use tributary_backend::{AttributionBackend, BackendError, DeviceInfo, Dtype};
use tributary_engine::{DeltaGradient, Forward, Method, Model, Request, Sets, attribute};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::Thresholds;
use tributary_tests::backends::open_or_skip;
use tributary_tests::golden::{Bound, Checked, GoldenCase};
use tributary_tests::on_every_backend;

/// Largest L2 error of a pair in one set, as a part of its own norm; and, added to that, as a part of the norm of the whole case,
/// for pairs that are next to nothing for what cancels in them. The reference was computed in float64 and stored in float32,
/// which alone is 3e-8 off; the published code in float32 is 4e-7 off. A delta is a difference of weights, up to a hundred times
/// smaller than they are: what float32 leaves of it is as much less exact, and matters as much less.
fn largest_error(device: &DeviceInfo) -> Bound {
    match device.dtype {
        Dtype::F32 if device.device != "cpu" => (2e-5, 1e-6),
        Dtype::F32 => (2e-6, 2e-7),
        Dtype::F64 => (2e-7, 6e-8),
    }
}

fn check<B: AttributionBackend + Clone>(
    open: impl Fn() -> Result<B, BackendError>,
    cases: impl Fn(bool) -> Vec<GoldenCase>,
) {
    let Some(backend) = open_or_skip("golden cases at the target model's activations", open) else { return };
    for gradient in [DeltaGradient::Through, DeltaGradient::Stopped] {
        for case in cases(gradient == DeltaGradient::Through) {
            let run = TrainedRun::load(&case.run, &RunOptions::default()).unwrap();
            let sets = run.ci_sets(&case.ci_sets, &[]).unwrap().sets;
            let until: Vec<Option<usize>> = sets.iter().map(|set| case.until.get(&set.name).copied()).collect();
            let model = Model::upload(backend.clone(), run.weights).unwrap();
            let request = Request {
                thresholds: Thresholds::TARGET,
                forward: Forward::Target(gradient),
                method: Method::Mixed,
                until: &until,
                ghosts: false,
                ..Request::new(Sets::Given(&sets))
            };
            let result = attribute(&model, &request, &mut |_| {}).unwrap();
            let info = model.backend().device();
            let Checked { whole, output_probs, edges } = case.check(&result.sets, largest_error(&info));
            println!(
                "{} {gradient:?} on {} {}: {edges} edges, relative L2 error {:.2e}, output probabilities within \
                 {output_probs:.1e}, {:.3} s",
                case.name,
                info.backend,
                info.dtype,
                whole.relative(),
                result.timings.attribution
            );
        }
    }
}

fn bundled<B: AttributionBackend + Clone>(open: impl Fn() -> Result<B, BackendError>) {
    check(open, GoldenCase::bundled_at_target);
}

fn shared<B: AttributionBackend + Clone>(open: impl Fn() -> Result<B, BackendError>) {
    check(open, GoldenCase::shared_at_target);
}

on_every_backend!([bundled, shared]);
