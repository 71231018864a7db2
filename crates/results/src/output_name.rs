//! Output nodes as somebody names them.

use std::fmt;

use tributary_model::AliveEntries;

use crate::{At, Manifest, SetEntry};

/// An output node: `output:POS:TOKEN`, where the position may be `last`, and a token is `#ID`, its decoded text or the vocabulary's
/// spelling, exactly, in double quotes or not; or, of a difference of logits, two of these with `-` between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputName {
    position: At,
    token: String,
}

impl OutputName {
    /// Reads one; `Err` says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected output:POS:TOKEN, such as output:last:the or output:17:#242";
        let rest = text.strip_prefix("output:").ok_or(EXPECTED)?;
        let (position, token) = rest.split_once(':').ok_or(EXPECTED)?;
        let is_number = !position.is_empty() && position.bytes().all(|byte| byte.is_ascii_digit());
        let at = match position {
            "last" => Some(At::Last),
            _ => position.parse().ok().filter(|_| is_number).map(At::Position),
        };
        let position = at.ok_or_else(|| format!("{position:?} is no position; {EXPECTED}"))?;
        if token.is_empty() {
            return Err(EXPECTED.to_owned());
        }
        Ok(Self { position, token: token.to_owned() })
    }

    /// Position and component of the one node of a set that is meant, of whose output `alive` is what there is; `Err` says why there
    /// is none, or which there are.
    pub fn find(&self, manifest: &Manifest, set: &SetEntry, alive: &AliveEntries) -> Result<(usize, usize), String> {
        let count = manifest.prompts[set.prompt].tokens.len();
        let last = set.until.unwrap_or(count.saturating_sub(1));
        let position = self.position.of(last);
        if position >= alive.positions() {
            return Err(format!("{self}: its prompt has {count} tokens, numbered from 0"));
        }
        let here: Vec<usize> = alive.components_at(position).iter().map(|&component| component as usize).collect();
        let found: Vec<usize> =
            here.iter().copied().filter(|&component| spellings(manifest, component).contains(&self.token)).collect();
        let named = |components: &[usize]| {
            let name = |&component: &usize| spellings(manifest, component).last().cloned().unwrap_or_default();
            components.iter().take(8).map(name).collect::<Vec<_>>().join(", ")
        };
        match &found[..] {
            [component] => Ok((position, *component)),
            [] if here.is_empty() => Err(format!("{self}: no output is a node at position {position}")),
            [] => Err(format!("{self}: no output node at position {position} is that; there are {}", named(&here))),
            several => Err(format!("{self}: it may be any of {}: give one by its number", named(several))),
        }
    }
}

impl OutputName {
    /// A component of the output at a position, with its number and its text: `output:17:#242 ("the")`.
    pub fn spelt(manifest: &Manifest, position: usize, component: usize) -> String {
        let token = spellings(manifest, component).pop().unwrap_or_default();
        format!("output:{position}:{token}")
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "output:{}:{}", self.position, self.token)
    }
}

/// Every way to name a component of the output; the last one has its number and its text.
fn spellings(manifest: &Manifest, component: usize) -> Vec<String> {
    let of_token = |id: u32| {
        let spelt = manifest.output_tokens.get(&id).cloned();
        let decoded = manifest.output_token_texts.get(&id).cloned();
        let quoted = |text: &String| serde_json::Value::from(text.as_str()).to_string();
        let texts: Vec<String> = spelt.into_iter().chain(decoded).collect();
        let quoted: Vec<String> = texts.iter().map(quoted).collect();
        let last = quoted.last().map_or_else(String::new, |text| format!(" ({text})"));
        (std::iter::once(format!("#{id}")).chain(texts).chain(quoted).collect::<Vec<_>>(), format!("#{id}{last}"))
    };
    let Some(number) = component.checked_sub(manifest.run.model.vocab) else {
        let (mut all, shown) = of_token(component as u32);
        all.push(shown);
        return all;
    };
    let Some(contrast) = manifest.settings.output_targets.contrasts().get(number).copied() else { return Vec::new() };
    let ((first, shown), (second, shown_second)) = (of_token(contrast.token), of_token(contrast.against));
    let mut all: Vec<String> =
        first.iter().flat_map(|first| second.iter().map(move |second| format!("{first}-{second}"))).collect();
    all.push(format!("{shown}-{shown_second}"));
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ResultFolder;

    #[test]
    fn a_name_has_a_position_and_a_token() {
        let name = |text| OutputName::parse(text).map(|name| (name.position, name.token));
        assert_eq!(name("output:last:the"), Ok((At::Last, "the".to_owned())));
        assert_eq!(name("output:3::"), Ok((At::Position(3), ":".to_owned())));
        for wrong in ["", "output", "output:3", "output:3:", "output:-1:a", "output::a", "h.0.mlp:3:1"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_node_is_found_by_number_and_by_text() {
        let folder = ResultFolder::open(Path::new("../../tests/results/walked")).unwrap();
        let manifest = folder.manifest();
        let set = &manifest.sets[0];
        let read = folder.read_set(&set.name).unwrap();
        let alive =
            &read.nodes.iter().find(|(layer, _)| layer.role() == tributary_model::Role::Output).unwrap().1.alive;
        let find = |text: &str| OutputName::parse(text).unwrap().find(manifest, set, alive);
        for (position, component) in alive.iter() {
            let id = component as u32;
            assert_eq!(find(&format!("output:{position}:#{id}")), Ok((position, component)));
            let spelt = &manifest.output_tokens[&id];
            let same = |&(at, other): &(usize, usize)| at == position && spellings(manifest, other).contains(spelt);
            let expected = if alive.iter().filter(same).count() == 1 { Some((position, component)) } else { None };
            assert_eq!(find(&format!("output:{position}:{spelt}")).ok(), expected, "{spelt}");
        }
        assert!(find("output:0:#9999999").unwrap_err().contains("there are #"));
        assert!(find("output:900:#1").unwrap_err().contains("numbered from 0"));
    }
}
