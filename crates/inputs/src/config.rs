//! `final_config.yaml`: which layers were decomposed, into how many components, with which CI functions.

use std::collections::BTreeMap;
use std::path::Path;

use globset::GlobBuilder;
use tributary_model::{Architecture, Layer, LinearLayer, PositionEncoding, Sigmoid};

use crate::InputError;
use crate::ci_config::CiConfig;
use crate::classes::{self, Class};
use crate::error::{clipped, shortened};
use crate::yaml::{Keys, Yaml};

/// Patterns of decomposed modules: a model has some hundred, and each takes time to compile.
const MOST_PATTERNS: usize = 10_000;

const SIGMOIDS: [(&str, Sigmoid); 6] = [
    ("leaky_hard", Sigmoid::Hard),
    ("hard", Sigmoid::Hard),
    ("lower_leaky_hard", Sigmoid::Hard),
    ("normal", Sigmoid::Normal),
    ("upper_leaky_hard", Sigmoid::UpperLeakyHard),
    ("swish_hard", Sigmoid::SwishHard),
];

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
    pub(crate) ci: CiConfig,
    pub(crate) sigmoid: Sigmoid,
}

#[derive(Debug)]
struct Modules {
    /// The key the patterns come from.
    key: &'static str,
    /// Module pattern and number of components.
    patterns: Vec<(String, usize)>,
}

impl Modules {
    fn checked(self, keys: &Keys<'_>) -> Result<Self, InputError> {
        let count = self.patterns.len();
        if count == 0 {
            return Err(keys.fail(self.key, "is empty; at least one layer must have been decomposed"));
        }
        if count > MOST_PATTERNS {
            let problem = format!("has {count} entries, more than the {MOST_PATTERNS} that it may have");
            return Err(keys.fail(self.key, problem));
        }
        Ok(self)
    }
}

impl Config {
    pub(crate) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, InputError> {
        let root = Keys::parse(file, bytes)?;
        // Since April 2026 what belongs to the decomposition, and to the target model, stands in sections.
        let section = root.section("pd")?;
        let keys = section.as_ref().unwrap_or(&root);
        reject_identity_modules(keys)?;
        if let Some(sampling) = keys.get("sampling", Yaml::text)? {
            choose(keys, "sampling", &sampling, &[("continuous", ()), ("binomial", ())])?;
        }
        let sigmoid = keys.require("sigmoid_type", Yaml::text)?;
        let target = root.section("target")?;
        let (target, [class_key, name, path]) = match &target {
            Some(section) => (section, ["model_class", "model_name", "model_path"]),
            None => (keys, ["pretrained_model_class", "pretrained_model_name", "pretrained_model_path"]),
        };
        let class = target.require(class_key, Yaml::text)?;
        let class = classes::by_path(&class).ok_or_else(|| {
            let problem =
                format!("{} is an unknown model class; supported are {}", shortened(&class), classes::names());
            target.fail(class_key, problem)
        })?;
        let references = [target.get(name, Yaml::text)?, target.get(path, Yaml::text)?];
        Ok(Self {
            modules: modules(keys)?,
            class,
            target_references: references.into_iter().flatten().collect(),
            ci: CiConfig::of(keys)?,
            sigmoid: choose(keys, "sigmoid_type", &sigmoid, &SIGMOIDS)?,
        })
    }

    /// That of a neutral run, which says how many components a site has and what the range of its causal importances is. It has
    /// no CI function, for the `reason`.
    pub(crate) fn neutral(keys: &Keys<'_>, class: &'static Class, reason: String) -> Result<Self, InputError> {
        let count = |count: &Yaml| match count.count()? {
            0 => Err("is 0; a decomposed layer has at least one component".to_owned()),
            count => Ok(count),
        };
        let modules =
            Modules { key: "components", patterns: keys.require("components", |sites| sites.entries(count))? };
        let sigmoid = match keys.get("sigmoid", Yaml::text)? {
            Some(sigmoid) => choose(keys, "sigmoid", &sigmoid, &SIGMOIDS)?,
            None => Sigmoid::Hard,
        };
        Ok(Self {
            modules: modules.checked(keys)?,
            class,
            target_references: Vec::new(),
            ci: CiConfig::Unknown { reason },
            sigmoid,
        })
    }

    /// The decomposed layers of a model and the number of components of each; embedding and unembedding become layers of its
    /// `architecture` where they are among them.
    pub(crate) fn components(
        &self,
        file: &Path,
        architecture: &mut Architecture,
    ) -> Result<BTreeMap<Layer, usize>, InputError> {
        let fail = |problem: String| Err(InputError::config(file, self.modules.key, problem));
        let modules = &self.class.modules;
        let &mut Architecture { vocab, d_model, .. } = architecture;
        let end = |layer, [d_in, d_out]: [usize; 2]| LinearLayer { layer, d_in, d_out, has_bias: false };
        let mut linear = architecture.linear.clone();
        linear.push(end(Layer::token_embedding(modules.embedding), [vocab, d_model]));
        linear.push(end(Layer::unembedding(modules.unembedding), [d_model, vocab]));
        linear.sort_unstable_by_key(|linear| linear.layer);
        let is_learned = architecture.position_encoding == PositionEncoding::Learned;
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
            let others = [(modules.final_norm, true), (modules.positions, is_learned)];
            if let Some((module, _)) = others.into_iter().find(|&(module, is_one)| is_one && glob.is_match(module)) {
                return fail(format!(
                    "pattern {} matches {module}, which is no linear layer or embedding of tokens; others cannot be decomposed",
                    shortened(pattern),
                ));
            }
            let mut matched = false;
            for layer in linear.iter().map(|linear| linear.layer).filter(|layer| glob.is_match(layer.to_string())) {
                matched = true;
                if let Some(other) = counts.insert(layer, *count).filter(|other| other != count) {
                    return fail(format!("{layer} is given both {other} and {count} components"));
                }
            }
            if !matched {
                let known = linear.iter().map(|linear| linear.layer).filter(|layer| layer.block().unwrap_or(0) == 0);
                return fail(format!(
                    "pattern {} matches no linear layer of the model, whose {} blocks are like the first; it has {}",
                    shortened(pattern),
                    architecture.n_blocks,
                    known.map(|layer| layer.to_string()).collect::<Vec<_>>().join(", ")
                ));
            }
        }
        linear.retain(|linear| linear.layer.role().is_in_block() || counts.contains_key(&linear.layer));
        architecture.linear = linear;
        Ok(counts)
    }
}

/// The patterns of any style: `module_info`, later called `decomposition_targets`, or the older `C` with
/// `target_module_patterns`.
fn modules(keys: &Keys<'_>) -> Result<Modules, InputError> {
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
    let mut styles = Vec::new();
    for key in ["module_info", "decomposition_targets"] {
        if let Some(patterns) = keys.get(key, |list| list.list(info))? {
            styles.push(Modules { key, patterns });
        }
    }
    let components = keys.get("C", Yaml::count)?;
    let patterns = keys.get("target_module_patterns", |list| list.list(pattern))?;
    let is_older = components.is_some() || patterns.is_some();
    let modules = match (styles.pop(), styles.pop(), components, patterns) {
        (Some(modules), None, None, None) => modules,
        (Some(_), Some(other), ..) => {
            return Err(keys.fail(other.key, "is given together with decomposition_targets, its later name; keep one"));
        }
        (Some(modules), None, ..) if is_older => {
            let problem = "is given together with C or target_module_patterns, which it replaces; keep one";
            return Err(keys.fail(modules.key, problem));
        }
        (_, _, Some(count), Some(patterns)) => Modules {
            key: "target_module_patterns",
            patterns: patterns.into_iter().map(|pattern| (pattern, count)).collect(),
        },
        (_, _, None, Some(_)) => return Err(keys.fail("C", "is missing; target_module_patterns needs it")),
        (_, _, Some(_), None) => return Err(keys.fail("target_module_patterns", "is missing; C needs it")),
        (_, _, None, None) => {
            let problem = "is missing, and so are C and target_module_patterns; one style is needed";
            return Err(keys.fail("module_info", problem));
        }
    };
    let modules = modules.checked(keys)?;
    if modules.patterns.iter().any(|(_, count)| *count == 0) {
        return Err(keys.fail("C", "is 0; a decomposed layer has at least one component"));
    }
    Ok(modules)
}

fn reject_identity_modules(keys: &Keys<'_>) -> Result<(), InputError> {
    for key in ["identity_module_patterns", "identity_module_info"] {
        if keys.get(key, |list| list.list(|_| Ok(())))?.is_some_and(|modules| !modules.is_empty()) {
            let problem =
                "names modules, but decomposed identity operations are not supported; it must be null or empty";
            return Err(keys.fail(key, problem));
        }
    }
    Ok(())
}

fn choose<T: Copy>(keys: &Keys<'_>, key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, InputError> {
    choices.iter().find(|(name, _)| *name == value).map(|&(_, choice)| choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
        keys.fail(key, format!("{} is not supported; expected one of {}", shortened(value), names.join(", ")))
    })
}
