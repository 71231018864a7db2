//! Hostile inputs of all kinds: what the command says of each, and that it does nothing else.
//!
//! What the attacks are is in `attacks/`; what comes of them is in `snapshots/attacks_KIND.snap`.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tributary_attacks::{Attack, Expect, Scene, of_kind};

use crate::workshop::{self, Workshop, copy};

/// How long an attack may take, and how much memory.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_MEMORY: u64 = 300 << 20;
/// Where a command that never ends, or takes all memory there is, is stopped.
const LONGEST: Duration = Duration::from_secs(30);
const ADDRESS_SPACE_IN_KIB: u64 = 4 << 20;
/// Characters of an error that somebody reads.
const LONGEST_ERROR: usize = 2000;
/// Characters of a line in a snapshot.
const LONGEST_LINE: usize = 400;

#[test]
fn ci_sets() {
    run_all("ci_sets");
}

#[test]
fn checkpoints() {
    run_all("checkpoint");
}

#[test]
fn configs() {
    run_all("config");
}

#[test]
fn tokenizers() {
    run_all("tokenizer");
}

#[test]
fn prompts() {
    run_all("prompt");
}

#[test]
fn manifests() {
    run_all("manifest");
}

#[test]
fn set_files() {
    run_all("set_file");
}

#[test]
fn paths() {
    run_all("paths");
}

#[test]
fn outputs() {
    run_all("outputs");
}

#[test]
fn terminals() {
    run_all("terminal");
}

/// Names are in kebab-case and there is one attack of each.
#[test]
fn every_attack_has_a_name() {
    let kinds = tributary_attacks::kinds();
    for (kind, attacks) in &kinds {
        let mut names = std::collections::BTreeSet::new();
        for attack in attacks {
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(attack.name.bytes().all(is_plain) && names.insert(attack.name), "{kind}: {}", attack.name);
        }
    }
    let count: usize = kinds.iter().map(|(_, attacks)| attacks.len()).sum();
    assert!(count >= 120, "{count}");
}

/// Runs the attacks of a kind. All that is wrong is said at once; what they answered is compared with the snapshot.
fn run_all(kind: &str) {
    let (mut answers, mut wrong) = (String::new(), Vec::new());
    for attack in of_kind(kind) {
        let (answer, faults) = run(&attack);
        write!(answers, "{}: {}\n{answer}\n", attack.name, attack.tries).unwrap();
        if attack.known.is_none() {
            wrong.extend(faults.into_iter().map(|fault| format!("{}: {fault}", attack.name)));
        } else if faults.is_empty() {
            wrong.push(format!("{}: it is answered as it should be, so it is not known any more", attack.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n\n{answers}", wrong.join("\n"));
    insta::with_settings!({ snapshot_path => "../../../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(format!("attacks_{kind}"), answers);
    });
}

/// What comes of an attack, as the snapshot has it, and what of that must not be.
fn run(attack: &Attack) -> (String, Vec<String>) {
    static BASE: LazyLock<Workshop> = LazyLock::new(|| {
        let workshop = Workshop::small();
        workshop.compute();
        workshop
    });
    let folder = TempDir::new().unwrap();
    let here = folder.path().join("here");
    fs::create_dir(&here).unwrap();
    copy(&BASE.path(""), &here);
    fs::create_dir(folder.path().join("outside")).unwrap();
    fs::write(folder.path().join("outside/precious.txt"), "precious").unwrap();
    let scene = Scene::new(&here);
    let args = (attack.make)(&scene);

    let before = listing(folder.path());
    let end = Run::of(&here, &args);
    let after = listing(folder.path());

    let mut faults = end.faults(attack);
    let may_change = attack.may_change.map(|name| format!("here/{name}"));
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names.into_iter().filter(|&name| before.get(name) != after.get(name)) {
        let is_within = |folder: &String| name == folder || name.starts_with(&format!("{folder}/"));
        if !may_change.as_ref().is_some_and(is_within) {
            faults.push(format!("{name} was {:?} and is {:?}", before.get(name), after.get(name)));
        } else if is_left_over(name) && after.contains_key(name) && !before.contains_key(name) {
            faults.push(format!("{name} is left"));
        }
    }
    (end.described(attack, folder.path()), faults)
}

/// A line without what depends on how long something took, how numbers are rounded or how much memory there is: places in
/// manifests, checksums, sizes.
fn without_numbers(line: &str) -> String {
    let is_manifest = line.contains("out/manifest.json");
    let mut words = Vec::new();
    for word in line.split(' ') {
        let follows_place = is_manifest && matches!(words.last(), Some(&("line" | "column")));
        let is_checksum = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_checksum = is_checksum.len() == 64 && is_checksum.bytes().all(|b| b.is_ascii_hexdigit());
        let is_memory = words.ends_with(&["and", "only"]);
        words.push(if follows_place || is_checksum || is_memory { "N" } else { word });
    }
    words.join(" ")
}

/// Whether a file is one that a command makes on its way. The lock stays in a hidden folder that somebody else's files are in.
fn is_left_over(name: &str) -> bool {
    name.contains(".tributary-partial") && !name.ends_with("/lock")
}

/// A command that came to its end.
struct Run {
    status: ExitStatus,
    stdout: String,
    stderr: String,
    took: Duration,
    /// The most memory that it held, in bytes.
    peak: u64,
}

impl Run {
    fn of(folder: &Path, args: &[std::ffi::OsString]) -> Self {
        // A memory bomb fails loudly, and does not take the machine with it.
        let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = workshop::limited(&format!("-v {ADDRESS_SPACE_IN_KIB}"));
        command.args(args).current_dir(folder).env("PATH", path).env_remove("RUST_BACKTRACE");
        // Where the published code keeps runs, which messages name.
        command.env("PARAM_DECOMP_OUT_DIR", "cache/param_decomp_out").env("SPD_OUT_DIR", "cache/spd_out");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        // Read while it runs: a full pipe would keep it from ending.
        let (stdout, stderr) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
        let (status, peak) = wait(&mut child, started);
        let took = started.elapsed();
        Self { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), took, peak }
    }

    /// What must not be, whatever the snapshot says.
    fn faults(&self, attack: &Attack) -> Vec<String> {
        let Self { status, stdout, stderr, took, peak } = self;
        let mut faults = Vec::new();
        let expected = match attack.expect {
            Expect::Refused(_) => 1,
            Expect::Usage => 2,
            Expect::Taken => 0,
        };
        if status.code() != Some(expected) {
            faults.push(format!("it ended with {status} in place of {expected}: {}", start(stderr)));
        }
        if let Expect::Refused(named) = attack.expect
            && !stderr.contains(named)
        {
            faults.push(format!("{} does not name {named}", start(stderr)));
        }
        if stderr.contains("panicked") {
            faults.push(format!("a panic is to be seen: {}", start(stderr)));
        }
        // Before it may stand what was done until then.
        let error = stderr.rfind("error:").map_or(&**stderr, |start| &stderr[start..]);
        let length = error.chars().count();
        if length > LONGEST_ERROR {
            faults.push(format!("it says {length} characters: {}", start(stderr)));
        }
        for text in [stdout, stderr] {
            if let Some(character) = text.chars().find(|&character| is_hidden(character)) {
                faults.push(format!("a raw {character:?} reaches the terminal: {}", start(text)));
            }
            if text.contains("\nFAKE") {
                faults.push(format!("a file's line is one of ours: {}", start(text)));
            }
        }
        if *took > PATIENCE {
            faults.push(format!("it took {took:.1?}"));
        }
        if *peak > MOST_MEMORY {
            faults.push(format!("it took {} MiB of memory", peak >> 20));
        }
        faults
    }

    /// For the snapshot: without what differs from one machine or time to another.
    fn described(&self, attack: &Attack, folder: &Path) -> String {
        let mut described = match self.status.code() {
            Some(0) => "    taken\n".to_owned(),
            Some(code) => format!("    exit status {code}\n"),
            None => "    a signal\n".to_owned(),
        };
        for (what, reason) in [("known", attack.known), ("varies", attack.varies)] {
            if let Some(reason) = reason {
                return format!("{described}    {what}: {reason}\n");
            }
        }
        for line in self.stderr.replace(folder.to_str().unwrap(), "FOLDER").lines() {
            let line = match line.char_indices().nth(LONGEST_LINE) {
                Some((end, _)) => format!("{}... ({} more characters)", &line[..end], line[end..].chars().count()),
                None => line.to_owned(),
            };
            writeln!(described, "    {}", without_numbers(&line)).unwrap();
        }
        described
    }
}

/// Waits for the end, looking at the memory meanwhile; kills what does not end.
fn wait(child: &mut Child, started: Instant) -> (ExitStatus, u64) {
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, peak);
        }
        peak = workshop::most_held(child).map_or(peak, |held| held.max(peak));
        if started.elapsed() > LONGEST {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a pipe holds, up to what fits into memory.
fn reader(pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.take(64 << 20).read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn start(text: &str) -> String {
    text.chars().take(300).collect::<String>().escape_debug().to_string()
}

/// Control characters but the newline, marks of writing direction, and characters of no width.
fn is_hidden(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// What is at a path, as far as a command could change it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Folder,
    Link(std::path::PathBuf),
    /// Its length, and what is in it unless it is long.
    File(u64, u64),
    Other,
}

/// Everything below a folder, links not followed.
fn listing(root: &Path) -> BTreeMap<String, Found> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let what = if metadata.is_dir() {
                open.push(path.clone());
                Found::Folder
            } else if metadata.is_symlink() {
                Found::Link(fs::read_link(&path).unwrap())
            } else if metadata.is_file() {
                let mut hasher = DefaultHasher::new();
                if metadata.len() < 16 << 20 {
                    fs::read(&path).unwrap_or_default().hash(&mut hasher);
                }
                Found::File(metadata.len(), hasher.finish())
            } else {
                Found::Other
            };
            found.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), what);
        }
    }
    found
}
