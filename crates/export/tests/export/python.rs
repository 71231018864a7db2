//! Independent readers in Python: pyarrow, NetworkX, circuit-tracer's own models. The numbers they find are compared with
//! those that `docs/read_results.py` reads from the result folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tributary_export::{Format, Pruning};
use tributary_testing::{in_ci, skip};

use crate::results::{Written, cases};

/// What the check needs. circuit-tracer's models need pydantic alone, so the rest of what it depends on is left out.
const IMPORTS: &str =
    "import networkx, pyarrow.parquet, pydantic, importlib.util as u; assert u.find_spec('circuit_tracer')";
const PACKAGES: [&str; 3] = ["networkx>=3", "pyarrow>=15", "pydantic>=2"];
const WITHOUT_DEPENDENCIES: &str = "circuit-tracer>=0.5";

fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let Output { status, stdout, stderr } =
        Command::new(program).args(arguments).output().map_err(|error| format!("{}: {error}", program.display()))?;
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.success() { Ok(()) } else { Err(format!("{} {arguments:?}: {text}", program.display())) }
}

/// A Python that has the packages: the system's, or a virtual environment that is made here once.
fn prepare() -> Result<PathBuf, String> {
    let system = PathBuf::from("python3");
    if run(&system, &["-c", IMPORTS]).is_ok() {
        return Ok(system);
    }
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if run(&python, &["-c", IMPORTS]).is_ok() {
        return Ok(python);
    }
    run(&system, &["-m", "venv", "--clear", &environment.to_string_lossy()])?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    run(&python, &[&install[..], &PACKAGES].concat())?;
    run(&python, &[&install[..], &["--no-deps", WITHOUT_DEPENDENCIES]].concat())?;
    run(&python, &["-c", IMPORTS])?;
    Ok(python)
}

/// `None`, and a line that says why, where the packages are not there and cannot be fetched; in CI that is a failure.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON
        .get_or_init(|| match prepare() {
            Ok(python) => Some(python),
            Err(reason) => {
                assert!(!in_ci(), "the independent readers cannot be installed: {reason}");
                skip("exported files, by Python's readers", reason);
                None
            }
        })
        .as_deref()
}

/// Runs the check on exports of all cases; it says how many edges it looked at.
fn check(name: &str, format: Format) {
    let Some(python) = python() else { return };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let (mut folders, mut arguments, mut edges) = (Vec::new(), vec![name.into(), docs.into_os_string()], 0);
    for written in cases().step_by(3) {
        let out = tempfile::tempdir().unwrap();
        let exported = written.export(out.path(), false, format).unwrap();
        edges += exported.sets.iter().map(|set| set.edges).sum::<usize>();
        arguments.extend([written.dir.path().into(), out.path().into()]);
        folders.push((written, out));
    }
    let nasty = folders.iter().filter(|(written, _): &&(Written, _)| written.sets().len() > 10).count();
    assert!(nasty > 0 && edges > 500, "the cases are too small: {nasty} nasty ones, {edges} edges");
    let ran = Command::new(python).arg("-B").arg(tests.join("check.py")).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8(ran.stdout).unwrap().trim(), format!("{edges} edges"));
}

#[test]
fn pyarrow_reads_what_the_results_hold() {
    check("parquet", Format::Parquet);
}

#[test]
fn networkx_reads_what_the_results_hold() {
    check("graphml", Format::GraphMl);
}

#[test]
fn python_reads_json_as_what_the_results_hold() {
    check("json", Format::Json);
}

#[test]
fn python_reads_what_the_app_gets() {
    check("param-decomp", Format::ParamDecomp);
}

#[test]
fn circuit_tracer_takes_its_files() {
    check("circuit-tracer", Format::CircuitTracer(None));
    check(
        "circuit-tracer",
        Format::CircuitTracer(Some(Pruning { node_threshold: 0.98, edge_threshold: 0.999, ..Pruning::default() })),
    );
}
