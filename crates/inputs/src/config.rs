//! `final_config.yaml`: which layers were decomposed, into how many components, with which CI functions.

use std::collections::BTreeMap;
use std::path::Path;

use globset::GlobBuilder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tributary_model::{Architecture, CiInput, Layer, Sigmoid};

use crate::classes::{self, Class};
use crate::{InputError, yaml};

/// Keys of `final_config.yaml` that bear on attributions. A real file has dozens more, about training.
///
/// Of those left out, two may look as if they mattered. `use_delta_component` adds, in training, a component holding
/// what the others leave of the target weight; attributions mask it out, as the published ones do. `sampling` says how
/// training draws masks from causal importances; attributions use the causal importances themselves.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(rename = "C")]
    components: Option<usize>,
    target_module_patterns: Option<Vec<String>>,
    module_info: Option<Vec<ModuleInfo>>,
    identity_module_patterns: Option<Vec<IgnoredAny>>,
    identity_module_info: Option<Vec<IgnoredAny>>,
    ci_fn_type: Option<String>,
    gate_type: Option<String>,
    ci_fn_hidden_dims: Option<Vec<usize>>,
    gate_hidden_dims: Option<Vec<usize>>,
    sigmoid_type: Option<String>,
    sampling: Option<String>,
    pretrained_model_class: Option<String>,
    pretrained_model_name: Option<String>,
    pretrained_model_path: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ModuleInfo {
    module_pattern: String,
    #[serde(rename = "C")]
    components: usize,
}

/// What attributions need to know from `final_config.yaml`.
#[derive(Debug)]
pub(crate) struct Config {
    modules: Modules,
    pub(crate) class: &'static Class,
    /// `pretrained_model_name`, then `pretrained_model_path`, those that are set.
    pub(crate) target_references: Vec<String>,
    pub(crate) ci_input: CiInput,
    /// Widths of the hidden layers of the CI functions.
    pub(crate) ci_hidden: Vec<usize>,
    pub(crate) sigmoid: Sigmoid,
}

#[derive(Debug)]
struct Modules {
    /// The key the patterns come from.
    key: &'static str,
    /// Module pattern and number of components.
    patterns: Vec<(String, usize)>,
}

impl Config {
    pub(crate) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, InputError> {
        let keys: Keys = yaml::parse(file, bytes)?;
        let required = |key: &str| InputError::config(file, key, "is missing; a run's config must have it");

        reject_identity_modules(file, &keys)?;
        if let Some(sampling) = &keys.sampling {
            choose(file, "sampling", sampling, &[("continuous", ()), ("binomial", ())])?;
        }
        let (type_key, ci_fn_type) =
            one_spelling(file, ("ci_fn_type", keys.ci_fn_type), ("gate_type", keys.gate_type))?;
        let ci_types =
            [("shared_mlp", CiInput::SharedVector), ("vector_mlp", CiInput::Vector), ("mlp", CiInput::Activation)];
        let (hidden_key, ci_hidden) = one_spelling(
            file,
            ("ci_fn_hidden_dims", keys.ci_fn_hidden_dims),
            ("gate_hidden_dims", keys.gate_hidden_dims),
        )?;
        if ci_hidden.contains(&0) {
            return Err(InputError::config(file, hidden_key, "holds a 0; every hidden layer needs at least one unit"));
        }
        let sigmoid = keys.sigmoid_type.ok_or_else(|| required("sigmoid_type"))?;
        let sigmoids = [
            ("leaky_hard", Sigmoid::Hard),
            ("hard", Sigmoid::Hard),
            ("lower_leaky_hard", Sigmoid::Hard),
            ("normal", Sigmoid::Normal),
            ("upper_leaky_hard", Sigmoid::UpperLeakyHard),
            ("swish_hard", Sigmoid::SwishHard),
        ];
        let class = keys.pretrained_model_class.ok_or_else(|| required("pretrained_model_class"))?;
        let class = classes::by_path(&class).ok_or_else(|| {
            let problem = format!("{class:?} is an unknown model class; supported are {}", classes::names());
            InputError::config(file, "pretrained_model_class", problem)
        })?;
        Ok(Self {
            modules: modules(file, keys.components, keys.target_module_patterns, keys.module_info)?,
            class,
            target_references: keys.pretrained_model_name.into_iter().chain(keys.pretrained_model_path).collect(),
            ci_input: choose(file, type_key, &ci_fn_type, &ci_types)?,
            ci_hidden,
            sigmoid: choose(file, "sigmoid_type", &sigmoid, &sigmoids)?,
        })
    }

    /// The decomposed layers of a model and the number of components of each.
    pub(crate) fn components(
        &self,
        file: &Path,
        architecture: &Architecture,
    ) -> Result<BTreeMap<Layer, usize>, InputError> {
        let fail = |problem: String| Err(InputError::config(file, self.modules.key, problem));
        let mut counts = BTreeMap::new();
        for (pattern, count) in &self.modules.patterns {
            // Python's fnmatch, whose `*` crosses dots and which knows no escapes and no braces. Names have no `/`, so nothing stops it
            // here either.
            let literal_braces = pattern.replace('{', "[{]").replace('}', "[}]");
            let glob = match GlobBuilder::new(&literal_braces).backslash_escape(false).build() {
                Ok(glob) => glob.compile_matcher(),
                Err(error) => return fail(format!("{pattern:?} is not a pattern: {}", error.kind())),
            };
            if let Some(module) = ["wte", "wpe", "lm_head"].into_iter().find(|module| glob.is_match(module)) {
                return fail(format!(
                    "pattern {pattern:?} matches {module}; only the linear layers of blocks can be decomposed here"
                ));
            }
            let mut matched = false;
            for layer in architecture.linear_layers().filter(|layer| glob.is_match(layer.to_string())) {
                matched = true;
                if let Some(other) = counts.insert(layer, *count).filter(|other| other != count) {
                    return fail(format!("{layer} is given both {other} and {count} components"));
                }
            }
            if !matched {
                return fail(format!(
                    "pattern {pattern:?} matches no linear layer of the model, whose {} blocks have attn.q_proj, \
                     attn.k_proj, attn.v_proj, attn.o_proj, mlp.c_fc and mlp.down_proj",
                    architecture.n_blocks
                ));
            }
        }
        Ok(counts)
    }
}

/// The patterns of either style: `module_info`, or the older `C` with `target_module_patterns`.
fn modules(
    file: &Path,
    components: Option<usize>,
    patterns: Option<Vec<String>>,
    module_info: Option<Vec<ModuleInfo>>,
) -> Result<Modules, InputError> {
    let fail = |key: &str, problem: &str| Err(InputError::config(file, key, problem));
    let modules = match (module_info, components, patterns) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return fail(
                "module_info",
                "is given together with C or target_module_patterns, which it replaces; keep one",
            );
        }
        (Some(infos), None, None) => Modules {
            key: "module_info",
            patterns: infos.into_iter().map(|info| (info.module_pattern, info.components)).collect(),
        },
        (None, Some(count), Some(patterns)) => Modules {
            key: "target_module_patterns",
            patterns: patterns.into_iter().map(|pattern| (pattern, count)).collect(),
        },
        (None, None, None) => {
            return fail("module_info", "is missing, and so are C and target_module_patterns; one style is needed");
        }
        (None, None, Some(_)) => return fail("C", "is missing; target_module_patterns needs it"),
        (None, Some(_), None) => return fail("target_module_patterns", "is missing; C needs it"),
    };
    if modules.patterns.is_empty() {
        return fail(modules.key, "is empty; at least one layer must have been decomposed");
    }
    if modules.patterns.iter().any(|(_, count)| *count == 0) {
        return fail("C", "is 0; a decomposed layer has at least one component");
    }
    Ok(modules)
}

fn reject_identity_modules(file: &Path, keys: &Keys) -> Result<(), InputError> {
    let given = [
        ("identity_module_patterns", &keys.identity_module_patterns),
        ("identity_module_info", &keys.identity_module_info),
    ];
    match given.into_iter().find(|(_, modules)| modules.as_ref().is_some_and(|modules| !modules.is_empty())) {
        Some((key, _)) => Err(InputError::config(
            file,
            key,
            "names modules, but decomposed identity operations are not supported; it must be null or empty",
        )),
        None => Ok(()),
    }
}

/// The value of a key that has an older spelling, and the spelling that was used.
fn one_spelling<T>(
    file: &Path,
    current: (&'static str, Option<T>),
    older: (&'static str, Option<T>),
) -> Result<(&'static str, T), InputError> {
    match (current.1, older.1) {
        (Some(value), None) => Ok((current.0, value)),
        (None, Some(value)) => Ok((older.0, value)),
        (None, None) => {
            Err(InputError::config(file, current.0, "is missing; the CI functions cannot be read without it"))
        }
        (Some(_), Some(_)) => {
            Err(InputError::config(file, current.0, format!("is given together with its older name {}", older.0)))
        }
    }
}

fn choose<T: Copy>(file: &Path, key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, InputError> {
    choices.iter().find(|(name, _)| *name == value).map(|&(_, choice)| choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
        InputError::config(file, key, format!("{value:?} is not supported; expected one of {}", names.join(", ")))
    })
}
