//! The invariants of `docs/architecture.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names of the packages that each package depends on, tests and build scripts left out, by the package's name.
struct Dependencies {
    direct: BTreeMap<String, BTreeSet<String>>,
    /// Packages of this workspace, with the folder of each.
    own: BTreeMap<String, PathBuf>,
}

impl Dependencies {
    /// With all features, so that none hides a dependency.
    fn read() -> Self {
        // What is for other platforms need not have been fetched.
        let about = Command::new("rustc").arg("-vV").output().unwrap().stdout;
        let about = String::from_utf8(about).unwrap();
        let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--all-features", "--locked", "--offline"])
            .args(["--filter-platform", host])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let packages = metadata["packages"].as_array().unwrap();
        let names: BTreeMap<String, String> =
            packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let members: BTreeSet<String> = metadata["workspace_members"].as_array().unwrap().iter().map(text).collect();
        let folder =
            |package: &Value| Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
        let own = packages.iter().filter(|package| members.contains(package["id"].as_str().unwrap()));
        let own = own.map(|package| (text(&package["name"]), folder(package))).collect();
        let mut direct = BTreeMap::<String, BTreeSet<String>>::new();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            let of = direct.entry(names[&text(&node["id"])].clone()).or_default();
            for dependency in node["deps"].as_array().unwrap() {
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                if kinds.iter().any(|kind| kind["kind"].is_null()) {
                    of.insert(names[&text(&dependency["pkg"])].clone());
                }
            }
        }
        Self { direct, own }
    }

    /// Packages of this workspace that a package names itself.
    fn own_of(&self, package: &str) -> BTreeSet<&str> {
        self.direct[package].iter().map(String::as_str).filter(|name| self.own.contains_key(*name)).collect()
    }

    /// Everything that is built for a package.
    fn all_of<'a>(&'a self, package: &'a str) -> BTreeSet<&'a str> {
        let (mut found, mut open) = (BTreeSet::new(), vec![package]);
        while let Some(name) = open.pop() {
            open.extend(self.direct[name].iter().map(String::as_str).filter(|name| found.insert(*name)));
        }
        found
    }
}

const MODEL: &str = "tributary-model";
const BACKEND: &str = "tributary-backend";
const GRAPH: &str = "tributary-graph";
const FILES: &str = "tributary-files";
const RESULTS: &str = "tributary-results";
const VIEWS: [&str; 4] = ["tributary-plot", "tributary-report", "tributary-compare", "tributary-export"];

#[test]
fn libraries_see_what_they_may_see() {
    let dependencies = Dependencies::read();
    let may = [
        (MODEL, vec![]),
        (BACKEND, vec![]),
        (FILES, vec![]),
        ("tributary-engine", vec![MODEL, BACKEND]),
        ("tributary-optimize", vec![MODEL, BACKEND, "tributary-engine"]),
        ("tributary-inputs", vec![MODEL, FILES]),
        (RESULTS, vec![MODEL, BACKEND, FILES]),
        (GRAPH, vec![MODEL]),
        (
            "tributary",
            vec![MODEL, BACKEND, FILES, GRAPH, "tributary-engine", "tributary-optimize", "tributary-inputs", RESULTS],
        ),
    ];
    let views = VIEWS.map(|view| (view, vec![MODEL, GRAPH, RESULTS, FILES]));
    for (package, allowed) in may.into_iter().chain(views) {
        let found = dependencies.own_of(package);
        let allowed = BTreeSet::from_iter(allowed);
        assert!(found.is_subset(&allowed), "{package} depends on {:?}", found.difference(&allowed));
    }
}

#[test]
fn below_the_command_nothing_parses_flags_or_draws() {
    let dependencies = Dependencies::read();
    let heavy = ["clap", "resvg", "parquet"];
    let backends = dependencies.own.iter().filter(|(_, folder)| folder.parent().unwrap().ends_with("backends"));
    let mut looked_at: Vec<&str> = backends.map(|(name, _)| name.as_str()).collect();
    assert!(looked_at.len() >= 5, "{looked_at:?}");
    looked_at.push("tributary");
    for package in looked_at {
        let all = dependencies.all_of(package);
        let found: Vec<&&str> = heavy.iter().filter(|name| all.contains(**name)).collect();
        assert!(found.is_empty(), "{package} is built with {found:?}");
    }
    // The command is: otherwise the names above have become wrong.
    assert!(heavy.iter().all(|name| dependencies.all_of("tributary-cli").contains(name)));
}

#[test]
fn the_engine_touches_no_file() {
    for file in
        ["crates/model/src", "crates/engine/src"].into_iter().flat_map(|folder| rust_files(&root().join(folder)))
    {
        let text = fs::read_to_string(&file).unwrap();
        for forbidden in ["std::fs", "std::path", "File::"] {
            assert!(!text.contains(forbidden), "{} mentions {forbidden}", file.display());
        }
    }
}

#[test]
fn a_backend_has_at_most_thirteen_methods_to_write() {
    let text = fs::read_to_string(root().join("crates/backend/src/attribution_backend.rs")).unwrap();
    let body = &text[text.find("pub trait AttributionBackend").unwrap()..];
    // A method that ends in a semicolon before any body begins is required.
    let methods: Vec<&str> = body.split("\n    fn ").skip(1).collect();
    let is_required = |method: &&&str| {
        let end = |mark: char| method.find(mark).unwrap_or(usize::MAX);
        end(';') < end('{')
    };
    let required = methods.iter().filter(is_required).count();
    assert!((10..=13).contains(&required), "{required} required methods");
    assert!(methods.len() > required, "and derived ones");
}

#[test]
fn modules_of_a_crate_import_each_other_without_a_circle() {
    let mut circles = Vec::new();
    for (package, folder) in &Dependencies::read().own {
        let source = folder.join("src");
        if source.join("lib.rs").is_file() {
            circles.extend(circle(&imports(&source)).map(|circle| format!("{package}: {}", circle.join(" -> "))));
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

/// Which top-level modules of a crate each top-level module imports from, by `crate::MODULE` or by a name that `lib.rs`
/// gives away.
fn imports(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let lib = without_comments(&fs::read_to_string(source.join("lib.rs")).unwrap());
    let mut given_away = BTreeMap::new();
    for statement in lib.split(';').filter_map(|statement| statement.trim().strip_prefix("pub use ")) {
        let statement = statement.trim_start_matches("crate::");
        if let Some((module, names)) = statement.split_once("::") {
            given_away.extend(words(names).map(|name| (name.to_owned(), module.to_owned())));
        }
    }
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for file in rust_files(source) {
        let relative = file.strip_prefix(source).unwrap().with_extension("");
        let module = relative.iter().next().unwrap().to_str().unwrap().to_owned();
        if module != "lib" && module != "main" {
            let text = fs::read_to_string(&file).unwrap();
            let text = without_comments(text.split("#[cfg(test)]").next().unwrap());
            found.entry(module).or_default().extend(crate_names(&text));
        }
    }
    let modules: BTreeSet<String> = found.keys().cloned().collect();
    for (module, names) in &mut found {
        let of = |name: &String| modules.get(name).or_else(|| given_away.get(name)).cloned();
        *names = names.iter().filter_map(of).filter(|other| other != module).collect();
    }
    found
}

/// What follows `crate::` in a file: the first name of each path, braces opened.
fn crate_names(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.extend(words(rest).next().map(str::to_owned));
            continue;
        };
        let (mut depth, mut item) = (0, String::new());
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.extend(words(&std::mem::take(&mut item)).next().map(str::to_owned));
                    continue;
                }
                _ => {}
            }
            item.push(c);
        }
        found.extend(words(&item).next().map(str::to_owned));
    }
    found
}

/// A circle in a graph, if there is one.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk<'a>(
        at: &'a str,
        edges: &'a BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|other| *other == at) {
            return Some(path[start..].iter().chain([&at]).map(|name| (*name).to_owned()).collect());
        }
        if done.contains(at) {
            return None;
        }
        path.push(at);
        let found = edges.get(at).into_iter().flatten().find_map(|next| walk(next, edges, path, done));
        path.pop();
        done.insert(at);
        found
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|start| walk(start, edges, &mut Vec::new(), &mut done))
}

#[test]
fn circles_are_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    };
    assert_eq!(circle(&edges(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    assert_eq!(circle(&edges(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), ["b", "c", "b"]);
    let names: Vec<String> = crate_names("use crate::{a::{b, c}, D}; crate::e::f()").into_iter().collect();
    assert_eq!(names, ["D", "a", "e"]);
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
