//! What a config says of the causal-importance function.

use tributary_model::CiInput;

use crate::InputError;
use crate::error::shortened;
use crate::yaml::{Keys, Yaml};

/// The causal-importance function that a config describes.
#[derive(Debug)]
pub(crate) enum CiConfig {
    /// One for each layer, with the widths of their hidden layers.
    Layerwise { input: CiInput, hidden: Vec<usize> },
    /// `global_shared_mlp`, with the widths of its hidden layers.
    SharedMlp { hidden: Vec<usize> },
    /// `global_shared_transformer`
    SharedTransformer(TransformerConfig),
    /// One that is not known here.
    Unknown { reason: String },
}

/// `simple_transformer_ci_cfg`
#[derive(Debug)]
pub(crate) struct TransformerConfig {
    /// Width of the stream.
    pub(crate) d_model: usize,
    pub(crate) n_blocks: usize,
    /// Widths of the hidden layers of the MLPs.
    pub(crate) hidden: Vec<usize>,
    pub(crate) n_heads: usize,
    pub(crate) rope_base: f64,
}

/// The most blocks and hidden layers there may be: far above any real function, and few enough to list.
const MOST: usize = 10_000;
/// The most any width may be. Products of two then fit in 64 bits.
const WIDEST: usize = u32::MAX as usize;

const LAYERWISE: [(&str, CiInput); 3] =
    [("shared_mlp", CiInput::SharedVector), ("vector_mlp", CiInput::Vector), ("mlp", CiInput::Activation)];

impl CiConfig {
    /// From `ci_config`, or from `ci_fn_type` and `ci_fn_hidden_dims` and their older spellings.
    pub(crate) fn of(keys: &Keys<'_>) -> Result<Self, InputError> {
        let Some(section) = keys.section("ci_config")? else {
            let (key, kind) = one_spelling(keys, ["ci_fn_type", "gate_type"], Yaml::text)?;
            let (hidden_key, hidden) = one_spelling(keys, ["ci_fn_hidden_dims", "gate_hidden_dims"], widths)?;
            check_widths(keys, hidden_key, &hidden)?;
            return Ok(layerwise(keys, key, &kind, hidden));
        };
        if let Some(key) = ["ci_fn_type", "gate_type", "ci_fn_hidden_dims", "gate_hidden_dims"]
            .into_iter()
            .find(|key| matches!(keys.get(key, |_| Ok(())), Ok(Some(()))))
        {
            return Err(keys.fail("ci_config", format!("is given together with {key}, an older form of it; keep one")));
        }
        let mode = section.require("mode", Yaml::text)?;
        let kind = section.require("fn_type", Yaml::text)?;
        let hidden = || {
            let hidden = section.require("hidden_dims", widths)?;
            check_widths(&section, "hidden_dims", &hidden)?;
            Ok::<_, InputError>(hidden)
        };
        match (&*mode, &*kind) {
            ("layerwise", kind) if LAYERWISE.iter().any(|(known, _)| *known == kind) => {
                Ok(layerwise(&section, "fn_type", kind, hidden()?))
            }
            ("global", "global_shared_mlp") => Ok(Self::SharedMlp { hidden: hidden()? }),
            ("global", "global_shared_transformer") => {
                let Some(config) = section.section("simple_transformer_ci_cfg")? else {
                    return Err(
                        section.fail("simple_transformer_ci_cfg", "is missing; global_shared_transformer needs it")
                    );
                };
                Ok(Self::SharedTransformer(TransformerConfig::of(&config)?))
            }
            _ => {
                let problem = format!(
                    "is {} with mode {}, which is not supported; supported are shared_mlp, vector_mlp and mlp of mode layerwise, \
                     global_shared_mlp and global_shared_transformer of mode global",
                    shortened(&kind),
                    shortened(&mode)
                );
                Ok(Self::Unknown { reason: section.fail("fn_type", problem).to_string() })
            }
        }
    }
}

fn layerwise(keys: &Keys<'_>, key: &str, kind: &str, hidden: Vec<usize>) -> CiConfig {
    if let Some(&(_, input)) = LAYERWISE.iter().find(|(known, _)| *known == kind) {
        return CiConfig::Layerwise { input, hidden };
    }
    let known = LAYERWISE.map(|(known, _)| known).join(", ");
    let problem = format!("{} is not supported; expected one of {known}", shortened(kind));
    CiConfig::Unknown { reason: keys.fail(key, problem).to_string() }
}

impl TransformerConfig {
    fn of(keys: &Keys<'_>) -> Result<Self, InputError> {
        let size = |keys: &Keys<'_>, key: &str, most: usize| {
            let size = keys.require(key, Yaml::count)?;
            if (1..=most).contains(&size) {
                Ok(size)
            } else {
                Err(keys.fail(key, format!("is {size}, but must be between 1 and {most}")))
            }
        };
        let Some(attention) = keys.section("attn_config")? else {
            return Err(keys.fail("attn_config", "is missing; the CI function cannot be read without it"));
        };
        let d_model = size(keys, "d_model", WIDEST)?;
        let n_heads = size(&attention, "n_heads", WIDEST)?;
        // Rotary positions turn the elements of a head in pairs.
        if !d_model.is_multiple_of(2 * n_heads) {
            let problem =
                format!("is {n_heads}, which does not divide d_model, {d_model}, into heads of an even width");
            return Err(attention.fail("n_heads", problem));
        }
        let rope_base = attention.get("rope_base", Yaml::number)?.unwrap_or(10_000.0);
        if !(rope_base.is_finite() && rope_base > 0.0) {
            return Err(attention.fail("rope_base", format!("is {rope_base}, but must be a positive number")));
        }
        let hidden = keys.get("mlp_hidden_dim", widths)?.unwrap_or_else(|| vec![4 * d_model]);
        check_widths(keys, "mlp_hidden_dim", &hidden)?;
        Ok(Self { d_model, n_blocks: size(keys, "n_blocks", MOST)?, hidden, n_heads, rope_base })
    }
}

fn widths(list: &Yaml) -> Result<Vec<usize>, String> {
    list.list(Yaml::count)
}

fn check_widths(keys: &Keys<'_>, key: &str, widths: &[usize]) -> Result<(), InputError> {
    if widths.contains(&0) {
        return Err(keys.fail(key, "holds a 0; every hidden layer needs at least one unit"));
    }
    if widths.len() > MOST || widths.iter().any(|&width| width > WIDEST) {
        let problem = format!("asks for more than {MOST} hidden layers, or for one of more than {WIDEST} units");
        return Err(keys.fail(key, problem));
    }
    Ok(())
}

/// The value of a key that has two spellings, and the spelling that was used; the first is the one that messages name.
fn one_spelling<T>(
    keys: &Keys<'_>,
    spellings: [&'static str; 2],
    read: impl Fn(&Yaml) -> Result<T, String>,
) -> Result<(&'static str, T), InputError> {
    let [current, older] = spellings;
    match (keys.get(current, &read)?, keys.get(older, &read)?) {
        (Some(value), None) => Ok((current, value)),
        (None, Some(value)) => Ok((older, value)),
        (None, None) => Err(keys.fail(current, "is missing; the CI functions cannot be read without it")),
        (Some(_), Some(_)) => {
            Err(keys.fail(current, format!("is given together with {older}, another name of the same; keep one")))
        }
    }
}
