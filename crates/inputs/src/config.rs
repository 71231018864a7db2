//! `final_config.yaml`: which layers were decomposed, into how many components, with which CI functions.

use std::collections::BTreeMap;
use std::path::Path;

use globset::GlobBuilder;
use tributary_model::{Architecture, CiInput, Layer, Sigmoid};

use crate::InputError;
use crate::classes::{self, Class};
use crate::error::{clipped, shortened};
use crate::yaml::{Keys, Yaml};

/// Patterns of decomposed modules: a model has some hundred, and each takes time to compile.
const MOST_PATTERNS: usize = 10_000;

/// What attributions need to know from `final_config.yaml`. A real file has dozens of keys more, about training.
///
/// Of those left out, two may look as if they mattered. `use_delta_component` adds, in training, a component holding
/// what the others leave of the target weight; attributions mask it out, as the published ones do. `sampling` says how
/// training draws masks from causal importances; attributions use the causal importances themselves.
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
        let keys = Keys::parse(file, bytes)?;
        reject_identity_modules(file, &keys)?;
        if let Some(sampling) = keys.get("sampling", Yaml::text)? {
            choose(file, "sampling", &sampling, &[("continuous", ()), ("binomial", ())])?;
        }
        let ci_types =
            [("shared_mlp", CiInput::SharedVector), ("vector_mlp", CiInput::Vector), ("mlp", CiInput::Activation)];
        let ci_config = keys.get("ci_config", CiConfig::read)?;
        let (of_type, of_hidden) =
            (ci_config.as_ref().map(|ci| ci.fn_type.clone()), ci_config.map(|ci| ci.hidden_dims));
        let (type_key, ci_fn_type) = one_spelling(
            file,
            [
                ("ci_fn_type", keys.get("ci_fn_type", Yaml::text)?),
                ("gate_type", keys.get("gate_type", Yaml::text)?),
                ("ci_config", of_type),
            ],
        )?;
        let widths = |list: &Yaml| list.list(Yaml::count);
        let (hidden_key, ci_hidden) = one_spelling(
            file,
            [
                ("ci_fn_hidden_dims", keys.get("ci_fn_hidden_dims", widths)?),
                ("gate_hidden_dims", keys.get("gate_hidden_dims", widths)?),
                ("ci_config", of_hidden),
            ],
        )?;
        if ci_hidden.contains(&0) {
            return Err(InputError::config(file, hidden_key, "holds a 0; every hidden layer needs at least one unit"));
        }
        let sigmoid = keys.require("sigmoid_type", Yaml::text)?;
        let sigmoids = [
            ("leaky_hard", Sigmoid::Hard),
            ("hard", Sigmoid::Hard),
            ("lower_leaky_hard", Sigmoid::Hard),
            ("normal", Sigmoid::Normal),
            ("upper_leaky_hard", Sigmoid::UpperLeakyHard),
            ("swish_hard", Sigmoid::SwishHard),
        ];
        let class = keys.require("pretrained_model_class", Yaml::text)?;
        let class = classes::by_path(&class).ok_or_else(|| {
            let problem =
                format!("{} is an unknown model class; supported are {}", shortened(&class), classes::names());
            InputError::config(file, "pretrained_model_class", problem)
        })?;
        let references =
            [keys.get("pretrained_model_name", Yaml::text)?, keys.get("pretrained_model_path", Yaml::text)?];
        Ok(Self {
            modules: modules(file, &keys)?,
            class,
            target_references: references.into_iter().flatten().collect(),
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
                Err(error) => {
                    return fail(format!(
                        "{} is not a pattern: {}",
                        shortened(pattern),
                        clipped(&error.kind().to_string())
                    ));
                }
            };
            if let Some(module) = ["wte", "wpe", "lm_head"].into_iter().find(|module| glob.is_match(module)) {
                return fail(format!(
                    "pattern {} matches {module}; only the linear layers of blocks can be decomposed here",
                    shortened(pattern)
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
                    "pattern {} matches no linear layer of the model, whose {} blocks have attn.q_proj, \
                     attn.k_proj, attn.v_proj, attn.o_proj, mlp.c_fc and mlp.down_proj",
                    shortened(pattern),
                    architecture.n_blocks
                ));
            }
        }
        Ok(counts)
    }
}

/// The CI functions in the words of newer configs.
struct CiConfig {
    fn_type: String,
    hidden_dims: Vec<usize>,
}

impl CiConfig {
    fn read(value: &Yaml) -> Result<Self, String> {
        let of = |key: &str| value.get(key)?.ok_or_else(|| format!("has no {key}"));
        let within = |key: &'static str| move |problem: String| format!("{key}: {problem}");
        let mode = of("mode")?.text().map_err(within("mode"))?;
        if mode != "layerwise" {
            return Err(format!("has the mode {}, which is not supported; expected layerwise", shortened(&mode)));
        }
        let widths = |list: &Yaml| list.list(Yaml::count);
        Ok(Self {
            fn_type: of("fn_type")?.text().map_err(within("fn_type"))?,
            hidden_dims: of("hidden_dims").and_then(|list| widths(list).map_err(within("hidden_dims")))?,
        })
    }
}

/// The patterns of either style: `module_info`, or the older `C` with `target_module_patterns`.
fn modules(file: &Path, keys: &Keys<'_>) -> Result<Modules, InputError> {
    let fail = |key: &str, problem: &str| Err(InputError::config(file, key, problem));
    let pattern = |entry: &Yaml| match entry {
        Yaml::Text(pattern) => Ok(pattern.clone()),
        other => Err(format!("is {other}, expected a pattern of module names, such as h.*.mlp.c_fc")),
    };
    let info = |entry: &Yaml| {
        let of = |key: &str| entry.get(key)?.ok_or_else(|| format!("has no {key}"));
        let count = of("C")?.count().map_err(|problem| format!("has a C that {problem}"))?;
        let name = pattern(of("module_pattern")?).map_err(|problem| format!("has a module_pattern that {problem}"))?;
        Ok((name, count))
    };
    let components = keys.get("C", Yaml::count)?;
    let patterns = keys.get("target_module_patterns", |list| list.list(pattern))?;
    let modules = match (keys.get("module_info", |list| list.list(info))?, components, patterns) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return fail(
                "module_info",
                "is given together with C or target_module_patterns, which it replaces; keep one",
            );
        }
        (Some(patterns), None, None) => Modules { key: "module_info", patterns },
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
    if modules.patterns.len() > MOST_PATTERNS {
        let count = modules.patterns.len();
        return fail(modules.key, &format!("has {count} entries, more than the {MOST_PATTERNS} that it may have"));
    }
    if modules.patterns.iter().any(|(_, count)| *count == 0) {
        return fail("C", "is 0; a decomposed layer has at least one component");
    }
    Ok(modules)
}

fn reject_identity_modules(file: &Path, keys: &Keys<'_>) -> Result<(), InputError> {
    for key in ["identity_module_patterns", "identity_module_info"] {
        if keys.get(key, |list| list.list(|_| Ok(())))?.is_some_and(|modules| !modules.is_empty()) {
            let problem =
                "names modules, but decomposed identity operations are not supported; it must be null or empty";
            return Err(InputError::config(file, key, problem));
        }
    }
    Ok(())
}

/// The value of a key that has other spellings, and the spelling that was used; the first is the one that messages name.
fn one_spelling<T>(file: &Path, spellings: [(&'static str, Option<T>); 3]) -> Result<(&'static str, T), InputError> {
    let current = spellings[0].0;
    let mut given = spellings.into_iter().filter_map(|(key, value)| Some((key, value?)));
    match (given.next(), given.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(InputError::config(file, current, "is missing; the CI functions cannot be read without it")),
        (Some((one, _)), Some((other, _))) => {
            let problem = format!("is given together with {other}, another name of the same; keep one");
            Err(InputError::config(file, one, problem))
        }
    }
}

fn choose<T: Copy>(file: &Path, key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, InputError> {
    choices.iter().find(|(name, _)| *name == value).map(|&(_, choice)| choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
        InputError::config(
            file,
            key,
            format!("{} is not supported; expected one of {}", shortened(value), names.join(", ")),
        )
    })
}
