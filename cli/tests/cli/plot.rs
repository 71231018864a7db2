//! `tributary plot` and `attribute --plot`.

use serde_json::Value;

use crate::workshop::{Workshop, stderr};

fn computed() -> Workshop {
    let workshop = Workshop::small();
    workshop.edit_sets(|sets| {
        let sets = sets["ci_sets"].as_object_mut().unwrap();
        let high = sets.remove("high").unwrap();
        sets.insert("../<b>\"high\" & ü".to_owned(), high);
    });
    workshop.compute();
    workshop
}

#[test]
fn one_figure_per_set_in_both_formats() {
    let workshop = computed();
    let report: Value = serde_json::from_str(&workshop.succeed(&["plot", "out", "--json"])).unwrap();
    let plots = report["plots"].as_array().unwrap();
    assert_eq!(plots.len(), 2);
    for (plot, set) in plots.iter().zip(["low", "../<b>\"high\" & ü"]) {
        assert_eq!(plot["set"], set);
        let files: Vec<&str> = plot["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
        let svg = std::fs::read_to_string(workshop.path(files[0])).unwrap();
        assert!(svg.starts_with("<svg") && !svg.contains("<b>"));
        assert_eq!(svg.matches("class=\"edge ").count() as u64, plot["edges"].as_u64().unwrap());
        let png = std::fs::read(workshop.path(files[1])).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    }
    let names: Vec<String> = workshop.list("out/plots");
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))), "{names:?}");
}

#[test]
fn limits_and_sets_are_kept_to() {
    let workshop = computed();
    let report = workshop.succeed(&[
        "plot",
        "out",
        "--json",
        "--sets",
        "low",
        "--top-edges",
        "5",
        "--format",
        "svg",
        "--out",
        "figures",
    ]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["plots"].as_array().unwrap().len(), 1);
    assert_eq!(report["plots"][0]["edges"], 5);
    assert_eq!(workshop.list("figures"), ["low.svg"]);
    let largest = report["plots"][0]["left_out"]["largest_edge"].as_f64().unwrap();
    // From just below the strongest edge that was left out, exactly one more is drawn.
    let least = format!("{:e}", largest * (1.0 - 1e-6));
    let report = workshop.succeed(&["plot", "out", "--json", "--sets", "low", "--min-edge", &least, "--out", "more"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["plots"][0]["edges"], 6);
    let all = workshop.succeed(&["plot", "out", "--json", "--sets", "low", "--top-edges", "all", "--out", "all"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["plots"][0]["left_out"]["edges"], 0);
    let manifest: Value =
        serde_json::from_str(&std::fs::read_to_string(workshop.path("out/manifest.json")).unwrap()).unwrap();
    let nonzero = manifest["sets"][0]["pairs"].as_array().unwrap().iter().map(|pair| pair["nonzero"].as_u64().unwrap());
    assert_eq!(all["plots"][0]["edges"].as_u64().unwrap(), nonzero.sum::<u64>());
}

#[test]
fn attribute_plots_in_one_go() {
    let workshop = Workshop::small();
    workshop.succeed(&["attribute", "--model", "run", "--ci-sets", "sets.json", "--out", "out", "--plot", "--quiet"]);
    assert_eq!(workshop.list("out/plots"), ["high.png", "high.svg", "low.png", "low.svg"]);
}

#[test]
fn figures_of_replaced_results_are_named() {
    let workshop = Workshop::small();
    let attribute = |more: &[&str]| {
        let output = workshop.attribute(&[&["--quiet"], more].concat());
        assert!(output.status.success());
        stderr(&output)
    };
    assert_eq!(attribute(&["--plot"]), "");
    let note = attribute(&["--force"]);
    assert!(note.contains("plots holds 4 figures that are not of these results"), "{note}");
    assert_eq!(attribute(&["--force", "--plot"]), "");
    // Figures of sets that are no longer there go with them.
    assert_eq!(attribute(&["--force", "--plot", "--sets", "low"]), "");
    assert_eq!(workshop.list("out/plots"), ["low.png", "low.svg"]);
}

#[test]
fn nothing_is_replaced_without_force_or_left_half_done() {
    let workshop = computed();
    std::fs::create_dir(workshop.path("figures")).unwrap();
    workshop.write("figures/low.png", "mine");
    let error = workshop.fail(&["plot", "out", "--out", "figures"]);
    assert!(error.contains("low.png") && error.contains("--force"), "{error}");
    assert_eq!(workshop.list("figures"), ["low.png"]);
    assert_eq!(std::fs::read_to_string(workshop.path("figures/low.png")).unwrap(), "mine");
    workshop.succeed(&["plot", "out", "--out", "figures", "--force", "--quiet"]);
    assert_eq!(workshop.list("figures").len(), 4);
    assert!(std::fs::read(workshop.path("figures/low.png")).unwrap().starts_with(b"\x89PNG"));
}
