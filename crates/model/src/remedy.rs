//! What helps against an error, as a value.

/// Something that a user can ask for otherwise, so that an error does not come again.
///
/// The text of an error says what to do in words; whoever shows it adds how that is asked for there: the command line a
/// flag, a binding for another language a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// To replace what is there.
    Replace,
    /// To allow more memory.
    MaxMemory,
    /// To say where the trained run is.
    Run,
    /// To say where the run, its target model or its tokenizer are.
    RunFiles,
    /// To say where the target model is.
    Target,
    /// To say where the tokenizer is.
    Tokenizer,
    /// To say which checkpoint is meant.
    Checkpoint,
    /// To say where the CI sets are.
    CiSets,
    /// To choose other sets.
    Sets,
    /// To choose another last position.
    Until,
    /// Another output that is asked for.
    OutputTarget,
    /// To choose a prompt by its number.
    Prompt,
    /// To compute by automatic differentiation.
    Autograd,
    /// To compute in f64.
    F64,
    /// To compute in full precision, not in TF32.
    FullPrecision,
    /// To take attributions as they were computed.
    AsComputed,
    /// To take another number of threads.
    Threads,
    /// To choose another sign of attributions, or none.
    Sign,
    /// To draw SVGs alone.
    Svg,
    /// To look at another position.
    Position,
    /// To look at another token.
    Label,
    /// To compare with another token, or with none.
    Against,
    /// To keep what is reached after other numbers of updates.
    Snapshots,
    /// To choose other coefficients of importance minimality.
    Sparsity,
    /// To choose other seeds.
    Seeds,
    /// To go on with what an interrupted run left, or to throw that away.
    GoOn,
    /// To write the figure to another place.
    Figure,
}
