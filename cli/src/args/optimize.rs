//! Flags of `optimize`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::ArgGroup;

use super::compute::{ComputeArgs, DtypeArg, TokenIds, token_ids};
use super::optimization::OptimizationArgs;
use super::{OutputArgs, RunArgs, figure};

#[derive(Clone, Debug, clap::Args)]
#[command(group(ArgGroup::new("prompts").args(["prompt", "tokens", "tokens_file"]).required(true)))]
pub(crate) struct OptimizeArgs {
    /// Folder of the trained run
    #[arg(long, value_name = "RUN")]
    pub(crate) model: PathBuf,
    /// Text of a prompt (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Vec<String>,
    /// In place of a text its token ids, such as `762,1,32` (repeatable)
    #[arg(long, value_name = "ID,ID", value_parser = token_ids, allow_hyphen_values = true)]
    pub(crate) tokens: Vec<TokenIds>,
    /// The same with the prompts of a file: one a line, or JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens_file: Option<PathBuf>,
    /// File of CI sets to write (JSON), which `attribute --ci-sets` takes
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) optimization: OptimizationArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Floating-point type to compute in; the file holds f32 either way
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    pub(crate) dtype: DtypeArg,
    /// Memory to take beside the model, such as `500MB` or `2GB`; sets that do not fit together are made one after the other
    /// [default: half of what is free]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory: Option<ByteSize>,
    /// Go on from where a run of the same request ended that was interrupted; where there was none, begin
    #[arg(long)]
    pub(crate) resume: bool,
    /// Draw how the optimisation went too: one figure of all sets, SVG or PNG by its ending, in the folder of --out [default: --out
    /// with the ending .svg]
    #[arg(long, value_name = "FIGURE", num_args = 0..=1, default_missing_value = "", value_parser = named_figure)]
    pub(crate) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl OptimizeArgs {
    /// Where the figure goes, if there is to be one.
    pub(crate) fn figure(&self) -> Option<PathBuf> {
        let named = self.plot.as_ref()?;
        Some(if named.as_os_str().is_empty() { self.out.with_extension("svg") } else { named.clone() })
    }
}

/// A figure, or nothing where its name is not told.
fn named_figure(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Ok(PathBuf::new()) } else { figure(text) }
}
