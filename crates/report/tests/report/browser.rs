//! The page in headless Chromium: runs `web/test`, which gets reports and what they have to show.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tributary_graph::{Normalise, Sign, View};
use tributary_report::{Options, write};
use tributary_results::{Delta, Forward, ResultFolder, Settings};
use tributary_testing::{in_ci, skip};

use crate::case::{expected, large, nasty, nasty_as, settings};
use crate::node::{chromium, web};

#[test]
fn the_page_works_in_a_browser() {
    let test = "the page of the report, in a browser";
    let web = match web() {
        Ok(web) => web,
        Err(reason) => return skip(test, reason),
    };
    let Some(chromium) = chromium() else {
        return skip(test, "there is no Chromium (install chromium and node)");
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    reports(&folder);
    let mut tests: Vec<_> = fs::read_dir(web.join("test")).unwrap().map(|file| file.unwrap().path()).collect();
    tests.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    tests.sort();
    // One at a time: they measure times.
    let run = Command::new("node")
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(&tests)
        .current_dir(web)
        .env("CHROME", chromium)
        .env("REPORTS", &folder)
        .output()
        .unwrap();
    let said = [&run.stdout, &run.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(run.status.success(), "{}{}", said[0], said[1]);
    assert!(!in_ci() || tests.len() > 3, "the tests are there");
}

fn reports(folder: &Path) {
    let small = nasty(&folder.join("nasty"));
    let plain = View::default();
    report(&small, 100_000, plain, &folder.join("nasty.html"));
    report(&small, 40, plain, &folder.join("cut.html"));
    fs::write(folder.join("nasty.json"), expected(&small, plain).to_string()).unwrap();
    let at_target = Settings { forward: Forward::Target, delta: Some(Delta::Stopped), ..settings() };
    let at_target = nasty_as(&folder.join("viewed"), at_target);
    let view = View { sign: Sign::Target, normalise: Normalise::Layer };
    report(&at_target, 100_000, view, &folder.join("viewed.html"));
    fs::write(folder.join("viewed.json"), expected(&at_target, view).to_string()).unwrap();
    let large = large(&folder.join("large"));
    report(&large, 100_000, plain, &folder.join("large.html"));
    magnitudes(&large, &folder.join("large.f32"));
}

fn report(result: &ResultFolder, max_edges_per_set: usize, view: View, path: &Path) {
    let mut file = File::create(path).unwrap();
    write(result, &Options { sets: None, max_edges_per_set, view }, &mut file).unwrap();
}

/// The absolute values of the edges of every set, in little endian, each set preceded by their number as u32.
fn magnitudes(result: &ResultFolder, path: &Path) {
    let mut file = File::create(path).unwrap();
    for set in &result.manifest().sets {
        let set = result.read_set(&set.name).unwrap();
        let values = set.pairs.iter().flat_map(|pair| &pair.values);
        file.write_all(&(set.edge_count() as u32).to_le_bytes()).unwrap();
        file.write_all(&values.flat_map(|value| value.abs().to_le_bytes()).collect::<Vec<_>>()).unwrap();
    }
}
