//! A folder with a small trained run and CI sets, and the command run in it.

use std::collections::BTreeMap;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::process::Child;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_model::Weights;

/// Prompt of [`Workshop::ci_sets`], three tokens of the run's vocabulary.
pub(crate) const PROMPT: &str = "w1 w4 w2";

/// The command under a limit that the shell sets, `-v KIB` or `-n FILES`; without arguments yet.
#[cfg(target_os = "linux")]
pub(crate) fn limited(limit: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit {limit}; exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_tributary"));
    command
}

/// The most bytes of memory that a process has held so far; `None` once it has ended.
#[cfg(target_os = "linux")]
pub(crate) fn most_held(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"))?;
    Some(kilobytes.trim().parse::<u64>().unwrap() << 10)
}

/// A temporary folder holding a trained run `run` and a CI-set file `sets.json`. Paths in messages are relative to it.
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub(crate) fn new(weights: &Weights) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workshop = Self { folder };
        write_run(&workshop.path("run"), weights, Style::Current);
        workshop.write("sets.json", &Self::ci_sets(weights).to_string());
        workshop
    }

    /// The same in another folder.
    pub(crate) fn copy(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        Self { folder }
    }

    pub(crate) fn small() -> Self {
        Self::new(&RandomWeights::gpt2_simple(3).weights())
    }

    /// Two sets, `low` and `high`, of different sparsity.
    pub(crate) fn ci_sets(weights: &Weights) -> Value {
        let set = |keep_every: usize| {
            let layers = weights.component_counts().into_iter().map(|(layer, components)| {
                let value = |s, c| if (s + c) % keep_every == 0 { 0.25 + 0.125 * (c % 5) as f64 } else { 0.0 };
                let row = |s| (0..components).map(|c| value(s, c)).collect::<Vec<f64>>();
                (layer.to_string(), (0..3).map(row).collect())
            });
            layers.collect::<BTreeMap<String, Vec<Vec<f64>>>>()
        };
        json!({ "prompt": PROMPT, "ci_sets": { "low": set(2), "high": set(3) } })
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Changes the CI-set file.
    pub(crate) fn edit_sets(&self, edit: impl FnOnce(&mut Value)) {
        let mut sets = serde_json::from_str(&std::fs::read_to_string(self.path("sets.json")).unwrap()).unwrap();
        edit(&mut sets);
        self.write("sets.json", &sets.to_string());
    }

    /// Replaces a text in a file; it must be there.
    pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replacen(from, to, 1));
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command.args(args).current_dir(self.folder.path());
        // Where the published code keeps runs, which messages name.
        command.env("PARAM_DECOMP_OUT_DIR", "cache/param_decomp_out").env("SPD_OUT_DIR", "cache/spd_out");
        command
    }

    pub(crate) fn tributary(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Stdout of a command that has to succeed.
    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        let output = self.tributary(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Stderr of a command that has to fail with exit status 1 and say nothing on stdout.
    pub(crate) fn fail(&self, args: &[&str]) -> String {
        let output = self.tributary(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
        stderr(&output)
    }

    /// The result `out` of the CI sets.
    pub(crate) fn compute(&self) {
        let output = self.attribute(&["--quiet"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// Names of the files in a folder, in their order.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// `tributary attribute` on the run and the CI sets, into `out`; on flex unless `more` names a backend, so that
    /// what is tested does not depend on the machine.
    pub(crate) fn attribute(&self, more: &[&str]) -> Output {
        let args = ["attribute", "--model", "run", "--ci-sets", "sets.json", "--out", "out"];
        let backend: &[&str] = if more.contains(&"--backend") { &[] } else { &["--backend", "flex"] };
        self.tributary(&[&args, backend, more].concat())
    }
}

/// Copies what is in a folder to another.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if from.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// Stderr of a command.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Stdout of a command.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
