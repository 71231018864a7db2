//! Names of tensors in a neutral run.

const TARGET: [&str; 2] = ["target/", "target_model."];
const COMPONENTS: [&str; 2] = ["components/", "_components."];
const FACTORS: [&str; 2] = [".V", ".U"];

/// What a checkpoint of the published code calls a tensor of a neutral run; `None` where such a run has none of this name.
pub(super) fn current_name(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix(TARGET[0]) {
        return Some(format!("{}{rest}", TARGET[1]));
    }
    let component = name.strip_prefix(COMPONENTS[0])?;
    let (site, factor) = component.split_at_checked(component.len().checked_sub(2)?)?;
    FACTORS.contains(&factor).then(|| format!("{}{}{factor}", COMPONENTS[1], site.replace('.', "-")))
}

/// The way back. No module of a class has a dash in its name.
pub(super) fn name_in_file(current: &str) -> String {
    if let Some(rest) = current.strip_prefix(TARGET[1]) {
        return format!("{}{rest}", TARGET[0]);
    }
    match current.strip_prefix(COMPONENTS[1]) {
        Some(rest) => format!("{}{}", COMPONENTS[0], rest.replace('-', ".")),
        None => current.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (name, current) in [
            ("target/h.0.attn.q_proj.weight", "target_model.h.0.attn.q_proj.weight"),
            ("components/h.0.attn.q_proj.V", "_components.h-0-attn-q_proj.V"),
            ("components/wte.U", "_components.wte.U"),
        ] {
            assert_eq!(current_name(name).as_deref(), Some(current));
            assert_eq!(name_in_file(current), name);
        }
        for name in ["", "h.0.V", "components/", "components/V", "components/h.0.bias", "components/h.0.é", "targets/h"]
        {
            assert_eq!(current_name(name), None, "{name:?}");
        }
    }
}
