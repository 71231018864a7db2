//! `tributary verify`: some edges of a result, computed again in another way.

mod text;

use std::process::ExitCode;

use tributary::backend::Providers;
use tributary::{Compute, Verify};

use crate::args::VerifyArgs;
use crate::progress::Reporter;
use crate::{CliError, console};

/// What computes: the CPU, unless a backend or a device is named or the program has no choice.
pub(crate) fn wanted(args: &VerifyArgs, is_plugin: bool) -> Compute {
    let mut wanted = args.compute.wanted(args.dtype);
    if wanted.backend.is_none() && wanted.device.is_none() && !is_plugin {
        wanted.device = Some("cpu".to_owned());
    }
    wanted
}

/// Computes on `compute`, a backend of `L`, and says what differs. Fails by its exit status when that is too much.
pub(crate) fn run<L: Providers>(args: &VerifyArgs, compute: Compute) -> Result<ExitCode, CliError> {
    let settings = Verify {
        result: args.run.of_result(&args.result, args.model.as_ref()),
        ci_sets: args.ci_sets.clone(),
        compute,
        method: args.method.into(),
        samples: args.samples,
        seed: args.seed,
        tolerance: args.tolerance,
    };
    let mut reporter = Reporter::new(args.quiet);
    let verification = tributary::verify::<L>(&settings, &mut |progress| reporter.show(progress))?;
    reporter.finish();
    if args.json {
        console::print_json(&text::json(&verification))?;
    } else {
        console::print(&text::text(&verification))?;
    }
    Ok(if verification.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
