//! Runs that are named by where they were published: references to Weights & Biases, as the published code takes them.

use std::env;
use std::path::{Path, PathBuf};

/// A run there: `wandb:ENTITY/PROJECT/runs/ID`, the same without `wandb:` or without `runs`, or the address of its page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    entity: String,
    project: String,
    id: String,
}

/// What a run is, by which the published code chooses where it keeps the run's files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A decomposition.
    Decomposition,
    /// The training of a target model.
    Target,
}

impl Kind {
    /// The folder of such runs, and what of their names `wandb` fetches.
    fn layout(self) -> (&'static str, &'static str) {
        match self {
            Self::Decomposition => ("runs", "('config.yaml', '.pth')"),
            Self::Target => ("pretrain_cache", "('model_config.yaml', 'tokenizer.json')"),
        }
    }
}

impl Reference {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let page = text.strip_prefix("https://wandb.ai/");
        let prefixed = page.or_else(|| text.strip_prefix("wandb:"));
        let path = prefixed.unwrap_or(text);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let [entity, project, id] = match *path.split('/').collect::<Vec<_>>() {
            [entity, project, "runs", id] => [entity, project, id],
            // The address of a page goes on behind the run.
            [entity, project, "runs", id, ..] if page.is_some() => [entity, project, id],
            // Without anything that tells it from a path.
            [entity, project, id] if prefixed.is_some() => [entity, project, id],
            _ => return None,
        };
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        [entity, project, id].into_iter().all(is_name).then(|| Self {
            entity: entity.to_owned(),
            project: project.to_owned(),
            id: id.to_owned(),
        })
    }

    /// Where the published code keeps its files, if they are there: `SPD_OUT_DIR` or `PARAM_DECOMP_OUT_DIR`, which are
    /// `~/spd_out` and `~/param_decomp_out` unless the environment says otherwise.
    pub(crate) fn cached(&self, kind: Kind) -> Option<PathBuf> {
        self.places(kind).into_iter().find(|folder| folder.is_dir())
    }

    fn places(&self, kind: Kind) -> Vec<PathBuf> {
        let roots =
            [("PARAM_DECOMP_OUT_DIR", "param_decomp_out"), ("SPD_OUT_DIR", "spd_out")].map(|(variable, folder)| {
                let given = env::var_os(variable).filter(|given| !given.is_empty()).map(PathBuf::from);
                given.or_else(|| Some(env::home_dir()?.join(folder)))
            });
        let name = format!("{}-{}", self.project, self.id);
        roots.into_iter().flatten().map(|root| root.join(kind.layout().0).join(&name)).collect()
    }

    /// What to do where its files are not there, after what was not found.
    pub(crate) fn advice(&self, kind: Kind) -> String {
        let Self { entity, project, id } = self;
        let places = self.places(kind);
        let shown = |place: &PathBuf| place.display().to_string();
        let first = places.first().map_or_else(|| format!("{project}-{id}"), shown);
        format!(
            "looked for in {}; nothing is fetched from here, so fetch its files, where the wandb package is, with: python -c \
             \"import wandb; [f.download('{first}') for f in wandb.Api().run('{entity}/{project}/{id}').files() if \
             f.name.endswith({})]\"",
            if places.is_empty() {
                "no place: there is no home folder".to_owned()
            } else {
                places.iter().map(shown).collect::<Vec<_>>().join(" and ")
            },
            kind.layout().1
        )
    }
}

/// The folder of a run that is named by a folder or by a reference to Weights & Biases: the place of its files, if they are there.
pub fn run_folder(named: &Path) -> PathBuf {
    let reference = if named.exists() { None } else { named.to_str().and_then(Reference::parse) };
    reference.and_then(|reference| reference.cached(Kind::Decomposition)).unwrap_or_else(|| named.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_paths() {
        let parsed = Reference::parse("wandb:goodfire/spd/runs/s-55ea3f9b").unwrap();
        assert_eq!((&*parsed.entity, &*parsed.project, &*parsed.id), ("goodfire", "spd", "s-55ea3f9b"));
        for same in [
            "goodfire/spd/runs/s-55ea3f9b",
            "wandb:goodfire/spd/s-55ea3f9b",
            "https://wandb.ai/goodfire/spd/runs/s-55ea3f9b",
            "https://wandb.ai/goodfire/spd/runs/s-55ea3f9b/overview?nw=x",
        ] {
            assert_eq!(Reference::parse(same).as_ref(), Some(&parsed), "{same}");
        }
        for path in [
            "",
            "runs/x",
            "a/b/c",
            "/a/b/runs/c",
            "a/../runs/c",
            "a/b/runs/c/d",
            "wandb:a/b",
            "wandb:a//runs/c",
            "./a/runs/c",
        ] {
            assert_eq!(Reference::parse(path), None, "{path}");
        }
    }
}
