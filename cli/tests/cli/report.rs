//! `tributary report`. What the page shows is tested beside it.

use serde_json::Value;
use tributary_graph::{Normalise, Sign, View};
use tributary_results::ResultFolder;

use crate::workshop::Workshop;

#[test]
fn the_page_holds_the_sets_that_are_asked_for() {
    let workshop = Workshop::small();
    workshop.compute();
    let folder = ResultFolder::open(&workshop.path("out")).unwrap();
    let report: Value =
        serde_json::from_str(&workshop.succeed(&["report", "out", "--out", "page.html", "--json"])).unwrap();
    assert_eq!(report["bytes"].as_u64().unwrap(), workshop.path("page.html").metadata().unwrap().len());
    for (set, entry) in report["sets"].as_array().unwrap().iter().zip(&folder.manifest().sets) {
        let nonzero: usize = entry.pairs.iter().map(|pair| pair.nonzero).sum();
        assert_eq!((&set["set"], &set["edges"]), (&entry.name.clone().into(), &nonzero.into()));
        assert_eq!(set["left_out"]["zero_edges"], entry.edges - nonzero);
    }
    let report = workshop.succeed(&["report", "out", "-o", "cut.html", "--sets", "high", "--max-edges", "7", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["sets"].as_array().unwrap().len(), 1);
    assert_eq!((&report["sets"][0]["set"], &report["sets"][0]["edges"]), (&"high".into(), &7.into()));
    let nonzero: usize = folder.manifest().set("high").unwrap().pairs.iter().map(|pair| pair.nonzero).sum();
    assert_eq!(report["sets"][0]["left_out"]["edges"], nonzero - 7);
    let page = std::fs::read_to_string(workshop.path("cut.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"));
}

#[test]
fn the_page_says_how_attributions_are_looked_at() {
    let workshop = Workshop::small();
    workshop.compute();
    let write = |args: &[&str]| {
        let report = workshop.succeed(&[&["report", "out", "-o", "page.html", "--force", "--json"], args].concat());
        let report: Value = serde_json::from_str(&report).unwrap();
        (report, std::fs::read_to_string(workshop.path("page.html")).unwrap())
    };
    let (_, page) = write(&[]);
    assert!(page.contains(r#""attributions":{"evaluated":null,"view":null}"#));
    let (report, page) = write(&["--sign", "target", "--normalise", "layer", "--max-edges", "5", "--sets", "low"]);
    let view = View { sign: Sign::Target, normalise: Normalise::Layer };
    assert!(page.contains(&view.described().unwrap()));
    let graph = view.of(&ResultFolder::open(&workshop.path("out")).unwrap().read_set("low").unwrap());
    let mut sizes: Vec<f32> = graph.edges.iter().map(|edge| edge.value.abs()).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(report["sets"][0]["left_out"]["largest_edge"].as_f64().map(|size| size as f32), Some(sizes[5]));
}

#[test]
fn a_page_is_whole_or_not_there() {
    let workshop = Workshop::small();
    workshop.compute();
    workshop.write("page.html", "mine");
    let error = workshop.fail(&["report", "out", "-o", "page.html"]);
    assert!(error.contains("page.html") && error.contains("--force"), "{error}");
    // A set that is damaged is found while the page is written.
    let low = workshop.path("out/low.safetensors");
    let mut bytes = std::fs::read(&low).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&low, bytes).unwrap();
    let before = workshop.list(".");
    let error = workshop.fail(&["report", "out", "-o", "page.html", "--force"]);
    assert!(error.contains("low.safetensors"), "{error}");
    assert_eq!(workshop.list("."), before);
    assert_eq!(std::fs::read_to_string(workshop.path("page.html")).unwrap(), "mine");
}
