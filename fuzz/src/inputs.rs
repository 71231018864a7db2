//! The readers of trained runs, CI-set files and prompts.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_inputs::{RunOptions, TrainedRun};
use tributary_model::Prompt;

use crate::message::{self, LONGEST};
use crate::small;
use crate::target::{Target, scratch};

fn run_folder(random: &RandomWeights, style: Style) -> TempDir {
    let folder = scratch();
    write_run(folder.path(), &random.weights(), style);
    folder
}

fn load(folder: &Path, options: &RunOptions<'_>) -> Option<TrainedRun> {
    let run = message::of(TrainedRun::load(folder, options), LONGEST)?;
    check_notes(&run.notes);
    Some(run)
}

fn check_notes(notes: &[String]) {
    for note in notes {
        message::check(note, LONGEST);
    }
}

fn write(file: &Path, input: &[u8]) {
    fs::write(file, input).expect("an input can be written");
}

/// Splits a text into tokens, and asks what is to be said of it.
fn prompt(run: &TrainedRun, text: &str) {
    let prompt = message::of(run.prompt(text), LONGEST);
    // Of a text that is refused, too, so that the tokenizer is put to it whatever the model's vocabulary is.
    let unusable = || Prompt { text: text.to_owned(), tokens: Vec::new(), token_strings: Vec::new() };
    check_notes(&run.prompt_notes(&prompt.unwrap_or_else(unusable)));
}

/// A CI-set file, in JSON or compressed.
pub struct CiJson {
    folder: TempDir,
    run: TrainedRun,
}

impl Target for CiJson {
    fn new(_: &Path) -> Self {
        let folder = run_folder(&small::gpt2_simple(), Style::Current);
        let run = TrainedRun::load(folder.path(), &RunOptions::default()).expect("the run is whole");
        Self { folder, run }
    }

    fn run(&self, input: &[u8]) {
        let file = self.folder.path().join("ci_sets.json");
        write(&file, input);
        if let Some(read) = message::of(self.run.ci_sets(&file, &[]), LONGEST) {
            check_notes(&read.notes);
            assert!(!read.sets.is_empty(), "a file has sets");
        }
    }
}

/// A checkpoint, in any of its formats.
pub struct Checkpoint {
    folder: TempDir,
}

impl Target for Checkpoint {
    fn new(_: &Path) -> Self {
        Self { folder: run_folder(&small::gpt2_simple(), Style::Current) }
    }

    fn run(&self, input: &[u8]) {
        write(&self.folder.path().join("model_1.pth"), input);
        if let Some(run) = load(self.folder.path(), &RunOptions::default()) {
            assert!(run.weights.wte.values.iter().all(f64::is_finite), "weights are finite");
        }
    }
}

/// A config: the first byte says which one, and of which run; the others are its text.
pub struct Config {
    runs: Vec<(TempDir, &'static str)>,
}

impl Target for Config {
    fn new(_: &Path) -> Self {
        let runs = [
            (small::gpt2_simple(), Style::Current),
            (small::llama_simple_mlp(), Style::Current),
            (small::gpt2_simple(), Style::Older),
        ];
        let files = ["final_config.yaml", "target/model_config.yaml"];
        let of = |(random, style): &(RandomWeights, Style)| files.map(|file| (run_folder(random, *style), file));
        Self { runs: runs.iter().flat_map(of).collect() }
    }

    fn run(&self, input: &[u8]) {
        let Some((&which, text)) = input.split_first() else { return };
        let (folder, file) = &self.runs[usize::from(which) % self.runs.len()];
        write(&folder.path().join(file), text);
        load(folder.path(), &RunOptions::default());
    }
}

/// A tokenizer, which then has a text to split.
pub struct Tokenizer {
    folder: TempDir,
    file: PathBuf,
}

impl Target for Tokenizer {
    fn new(_: &Path) -> Self {
        let folder = run_folder(&small::gpt2_simple(), Style::Current);
        let file = folder.path().join("given.json");
        Self { folder, file }
    }

    fn run(&self, input: &[u8]) {
        write(&self.file, input);
        let options = RunOptions { tokenizer: Some(&self.file), ..RunOptions::default() };
        if let Some(run) = load(self.folder.path(), &options) {
            prompt(&run, "w1 w2, they WALKED\thand in 12½ e\u{301}\u{1f600} \u{4e2d}\u{6587}\u{0}##s");
            prompt(&run, "");
            assert!(!run.tokenizer.token_string(u32::MAX).is_empty(), "a token that is not there has a spelling");
        }
    }
}

/// A prompt of the bundled run.
pub struct PromptText {
    run: TrainedRun,
}

impl Target for PromptText {
    fn new(repository: &Path) -> Self {
        let folder = repository.join("data/gpt2s-2L");
        Self { run: TrainedRun::load(&folder, &RunOptions::default()).expect("the bundled run is whole") }
    }

    fn run(&self, input: &[u8]) {
        prompt(&self.run, &String::from_utf8_lossy(input));
    }
}
