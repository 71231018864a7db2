//! Names of tensors: the current ones of older ones, and what wrappers put before them.

use std::collections::BTreeSet;

/// What stands before all names of a state dict in a checkpoint: `_orig_mod.` of a compiled model, `module.` of a parallel
/// one, `model.` where a dict holds the state dict under that key, or several of these.
///
/// Every state dict of a `ComponentModel` holds the target model. Where several do, their prefixes are the error.
pub(super) fn prefix<'a>(names: impl Iterator<Item = &'a str>) -> Result<&'a str, BTreeSet<&'a str>> {
    let prefixes: BTreeSet<&str> = names.filter_map(before_target_model).collect();
    match prefixes.first() {
        None => Ok(""),
        Some(&first) if first.is_empty() || prefixes.len() == 1 => Ok(first),
        Some(_) => Err(prefixes),
    }
}

fn before_target_model(name: &str) -> Option<&str> {
    let starts =
        |start: &usize| ["target_model.", "patched_model."].iter().any(|model| name[*start..].starts_with(model));
    let segments = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    segments.into_iter().find(starts).map(|start| &name[..start])
}

/// The current name of a tensor that may have one of the names of earlier versions of the published code, or of later ones, as
/// `handle_deprecated_state_dict_keys_` of `spd/models/component_model.py` maps them.
pub(super) fn current_name(name: &str) -> String {
    let name = match name.strip_prefix("patched_model.") {
        Some(rest) => format!("target_model.{rest}"),
        None => name.to_owned(),
    };
    if let Some(rest) = ["_gates.", "ci_fn._ci_fns."].iter().find_map(|older| name.strip_prefix(older)) {
        return format!("_ci_fns.{rest}");
    }
    let Some(module) = name.strip_prefix("target_model.") else { return name };
    for parameter in ["U", "V"] {
        if let Some(layer) = module.strip_suffix(parameter).and_then(|path| path.strip_suffix(".components.")) {
            return format!("_components.{}.{parameter}", layer.replace('.', "-"));
        }
    }
    for parameter in ["weight", "bias"] {
        if let Some(path) = module.strip_suffix(parameter).and_then(|path| path.strip_suffix(".original.")) {
            return format!("target_model.{path}.{parameter}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_seen() {
        let seen = |names: &[&'static str]| prefix(names.iter().copied());
        assert_eq!(seen(&["target_model.wte.weight", "x.target_model.a"]), Ok(""));
        assert_eq!(
            seen(&["module._orig_mod.patched_model.wte.weight", "module._orig_mod._gates.x"]),
            Ok("module._orig_mod.")
        );
        assert_eq!(seen(&["optimizer.state.0", "state dict.target_model.a"]), Ok("state dict."));
        assert_eq!(seen(&["my_target_model.a", "b"]), Ok(""));
        assert_eq!(seen(&["ema.target_model.a", "model.target_model.a"]), Err(BTreeSet::from(["ema.", "model."])));
    }

    #[test]
    fn older_names_become_current_ones() {
        let cases = [
            ("patched_model.h.0.ln_1.weight", "target_model.h.0.ln_1.weight"),
            ("patched_model.h.0.attn.q_proj.original.weight", "target_model.h.0.attn.q_proj.weight"),
            ("target_model.h.0.attn.q_proj.original.bias", "target_model.h.0.attn.q_proj.bias"),
            ("patched_model.h.0.attn.q_proj.components.U", "_components.h-0-attn-q_proj.U"),
            ("target_model.h.0.mlp.c_fc.components.V", "_components.h-0-mlp-c_fc.V"),
            ("_gates.h-0-mlp-c_fc.layers.0.W", "_ci_fns.h-0-mlp-c_fc.layers.0.W"),
            ("ci_fn._ci_fns.h-0-mlp-c_fc.layers.0.W", "_ci_fns.h-0-mlp-c_fc.layers.0.W"),
            ("_components.h-0-mlp-c_fc.V", "_components.h-0-mlp-c_fc.V"),
            ("target_model.wte.weight", "target_model.wte.weight"),
            ("elsewhere.components.U", "elsewhere.components.U"),
        ];
        for (older, current) in cases {
            assert_eq!(current_name(older), current);
        }
    }
}
