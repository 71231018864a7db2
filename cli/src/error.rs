//! Why a command failed.

use std::path::PathBuf;

use tributary::Remedy;
use tributary::results::ResultError;
use tributary_compare::CompareError;
use tributary_export::ExportError;
use tributary_files::FilesError;
use tributary_plot::PlotError;
use tributary_report::ReportError;

/// A failure other than wrong usage. Its text is what the user sees.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The run, its CI sets, the computation or the result.
    #[error(transparent)]
    Session(#[from] tributary::Error),
    /// Something is said of deltas where none have a part.
    #[error(
        "--delta says what gradients do at deltas, which have no part in --forward masked; give --forward target, or leave it out"
    )]
    DeltaOfMasked,
    /// Flags of making CI sets, which are not to be made.
    #[error(
        "flags that say how CI sets are made, such as --steps or --label, go with --from-prompt; give it, or leave them out"
    )]
    WithoutFromPrompt,
    /// A result and a file both say which sets are evaluated.
    #[error(
        "RESULT and --ci-sets both say which sets are evaluated; give one of them (with --edges, --ci-sets says where those of RESULT are)"
    )]
    TwoSubjects,
    /// Where a set is to end is said twice.
    #[error("--until says twice where {what} {}; give it once", if *what == "all sets" { "end" } else { "ends" })]
    UntilTwice {
        /// The set, or all of them.
        what: String,
    },
    /// The process may have too few addresses.
    #[error(
        "the limit of addresses (ulimit -v) is {} MB; at least {} MB are needed to begin anything: raise it, or run without it",
        limit / 1_000_000, least / 1_000_000
    )]
    Addresses {
        /// Bytes that there may be.
        limit: u64,
        /// Bytes that are needed.
        least: u64,
    },
    /// `--backend` names none.
    #[error(
        "unknown backend {name:?}: the built-in ones are {known}, and there is no executable tributary-backend-NAME for it beside tributary or on PATH (see `tributary backends`)"
    )]
    UnknownBackend {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A plugin, started by itself, is asked for another backend.
    #[error("this is the backend {own} alone; for the backend {name:?} use tributary")]
    OtherBackend {
        /// The plugin's backend.
        own: String,
        /// What was asked for.
        name: String,
    },
    /// The stock command is taken for a plugin.
    #[error("this is tributary itself and not the plugin of one backend")]
    NotAPlugin,
    /// A plugin that could be described cannot be run.
    #[error("the backend {name} cannot be run from {path}: {source}")]
    PluginStart {
        /// Its name.
        name: String,
        /// Its executable.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The output folder is the folder of a result that is read.
    #[error("{result}: it is the folder that is read, whose files must stay; choose another folder to write to")]
    OwnFolder {
        /// The folder.
        result: String,
    },
    /// Flags of pruning with a format that is not pruned.
    #[error(
        "--output-position, --node-threshold, --edge-threshold and --no-pruning are for --format circuit-tracer; the other formats are not pruned"
    )]
    NotPruned,
    /// The folder is neither a trained run nor a result.
    #[error(
        "{folder}: neither a trained run (it would hold final_config.yaml or run.yaml) nor a result (manifest.json)"
    )]
    NothingToInspect {
        /// The folder.
        folder: String,
    },
    /// The page cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Graphs cannot be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Sets cannot be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A figure could not be drawn.
    #[error("set {set:?}: {source}")]
    Plot {
        /// Name of the set.
        set: String,
        /// Why.
        source: PlotError,
    },
    /// A figure of curves could not be drawn.
    #[error("{}: {problem}", file.display())]
    Curves {
        /// The figure.
        file: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Stdout could not be written to.
    #[error("cannot write to standard output: {0}")]
    Stdout(std::io::Error),
}

impl From<FilesError> for CliError {
    fn from(error: FilesError) -> Self {
        ResultError::from(error).into()
    }
}

impl From<ResultError> for CliError {
    fn from(error: ResultError) -> Self {
        Self::Session(error.into())
    }
}

impl CliError {
    /// What to ask for otherwise.
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Session(error) => error.remedy(),
            Self::Report(error) => error.remedy(),
            Self::Export(error) => error.remedy(),
            Self::Compare(error) => error.remedy(),
            Self::Plot { source, .. } => source.remedy(),
            _ => None,
        }
    }

    /// The text, and the flag that what it advises takes.
    pub(crate) fn with_flag(&self) -> String {
        self.remedy().map_or_else(|| self.to_string(), |remedy| format!("{self} ({})", flag(remedy)))
    }
}

/// How the command line is asked for it.
fn flag(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Replace => "--force",
        Remedy::MaxMemory => "--max-memory",
        Remedy::Run => "--model",
        Remedy::RunFiles => "--model, --target, --tokenizer or --checkpoint",
        Remedy::Target => "--target",
        Remedy::Tokenizer => "--tokenizer",
        Remedy::Checkpoint => "--checkpoint",
        Remedy::CiSets => "--ci-sets",
        Remedy::Sets => "--sets",
        Remedy::Until => "--until",
        Remedy::OutputTarget => "--output-token or --output-contrast",
        Remedy::Prompt => "--prompt",
        Remedy::Autograd => "--method autograd",
        Remedy::F64 => "--dtype f64",
        Remedy::FullPrecision => "leave --allow-tf32 out",
        Remedy::AsComputed => "leave --sign and --normalise out",
        Remedy::Threads => "--threads",
        Remedy::Sign => "--sign",
        Remedy::Svg => "--format svg",
        Remedy::Position => "--position",
        Remedy::Label => "--label",
        Remedy::Against => "--against",
        Remedy::Snapshots => "--snapshots",
        Remedy::Sparsity => "--sparsity",
        Remedy::Seeds => "--seeds",
        Remedy::GoOn => "--resume goes on, --force throws it away",
        Remedy::Figure => "--plot",
    }
}
