use serde_json::json;

use super::*;

/// As `tributary evaluate --json` writes it.
fn told() -> Value {
    let drawn = |mean: f64| json!({ "mean": mean, "standard_error": mean / 4.0, "min": mean / 2.0, "n": 10 });
    let top =
        json!([{ "token_id": 242, "token": "Ġisrael", "prob": 0.9 }, { "token_id": 7, "token": "Ġthe", "prob": 0.01 }]);
    json!({ "evaluation": {
        "label_token": 242, "label": "Ġisrael", "position": 9, "mask_by_ci": false, "draws": 100, "restarts": 10,
        "pgd": { "n_steps": 4, "step_size": 1.0 }, "seed": 0,
        "selections": [
            { "name": "all", "nodes": 171, "regimes": {
                "target": { "label_prob": 0.93, "kl": 0.0, "kl_mean": 0.0, "top": top },
                "ci": { "label_prob": 0.9, "kl": 0.01, "kl_mean": 0.02, "top": top },
                "ablated": { "label_prob": 0.88, "kl": 0.01, "kl_mean": 0.02, "top": [] },
                "stochastic": { "label_prob": drawn(0.41), "kl": drawn(1.5), "kl_mean": drawn(2.5) },
                "adversarial": { "label_prob": drawn(4e-4), "kl": drawn(8.0), "kl_mean": drawn(4.0),
                                 "label_prob_dead_at_zero": drawn(0.5) },
            } },
            { "name": "above 0.5", "nodes": 12, "regimes": { "ci": { "label_prob": 0.5 } } },
        ],
    } })
}

#[test]
fn what_evaluate_writes_is_read() {
    let read = SetEvaluation::of(&told()).unwrap().unwrap();
    assert_eq!(read.label, Some(SpeltToken { id: 242, spelling: "Ġisrael".to_owned() }));
    assert_eq!((read.position, read.mask_by_ci, read.adversary), (Some(9), false, Some((4, 1.0))));
    let whole = read.whole();
    assert_eq!((whole.name.as_str(), whole.nodes), ("all", Some(171)));
    assert_eq!(whole.regimes.iter().map(|(regime, _)| *regime).collect::<Vec<_>>(), Regime::ALL);
    let adversarial = Measured { mean: 4e-4, standard_error: Some(1e-4), least: Some(2e-4), draws: Some(10) };
    assert_eq!(whole.label_prob(Regime::Adversarial), Some(adversarial));
    assert_eq!(whole.label_prob(Regime::AdversarialDeadAtZero).map(|prob| prob.mean), Some(0.5));
    assert_eq!(whole.outcome(Regime::Ci).unwrap().top[1], (SpeltToken { id: 7, spelling: "Ġthe".to_owned() }, 0.01));
    assert_eq!(read.tokens().map(|token| token.id).collect::<Vec<_>>(), [242, 242, 7, 242, 7]);
    let above = &read.selections[1];
    assert_eq!((above.name.as_str(), above.regimes.len()), ("above 0.5", 1));
    assert_eq!(
        read.line("·israel").unwrap(),
        "p(\"·israel\") at 9: target 0.93, ci 0.90, ablated 0.88, stochastic 0.41 ± 0.10, adversarial 0.0004 ± 0.0001"
    );
    // Less than a tenth of the target model's is not believed; what is not told is not judged.
    assert!(whole.is_refuted() && !above.is_refuted());
}

#[test]
fn what_is_not_told_is_not_known() {
    for metadata in [json!(null), json!({}), json!([1]), json!("evaluation"), json!({ "evaluation": null })] {
        assert_eq!(SetEvaluation::of(&metadata), None, "{metadata}");
    }
    // Any part may be missing or null, and any more may be there.
    let few = json!({ "evaluation": { "label": "he", "later": [1], "selections": [{ "regimes": {
        "ci": { "label_prob": null, "kl": { "mean": null, "n": 3 }, "top": null }, "target": null, "quantum": 3,
        "adversarial": { "label_prob_dead_at_zero": 0.5 },
    } }, {}] } });
    let read = SetEvaluation::of(&few).unwrap().unwrap();
    assert_eq!((read.label.as_ref(), read.position, read.adversary), (None, None, None));
    assert_eq!(read.whole().regimes.len(), 1);
    assert_eq!(read.line(""), None);
    let mut by_ci = told();
    by_ci["evaluation"]["mask_by_ci"] = json!(true);
    by_ci["evaluation"].as_object_mut().unwrap().remove("position");
    let line = SetEvaluation::of(&by_ci).unwrap().unwrap().line("a\"b").unwrap();
    assert!(line.starts_with("p(\"a\\\"b\"), masked by CI: target 0.93, "), "{line}");
}

#[test]
fn what_is_not_as_expected_is_named() {
    for (pointer, value, expected) in [
        ("", json!(3), "evaluation is 3, expected an object"),
        ("/selections", json!({}), "evaluation.selections is {}, expected a list"),
        ("/selections", json!([]), "evaluation has no selections, expected the set itself and what was chosen of it"),
        ("/selections/0", json!("all"), "evaluation.selections[0] is \"all\", expected an object"),
        ("/selections/0/name", json!(1), "evaluation.selections[0].name is 1, expected a text"),
        ("/selections/1/nodes", json!(-1), "evaluation.selections[1].nodes is -1, expected a whole number"),
        ("/selections/0/regimes", json!([]), "evaluation.selections[0].regimes is [], expected an object"),
        ("/selections/0/regimes/ci", json!(0.5), "evaluation.selections[0].regimes.ci is 0.5, expected an object"),
        (
            "/selections/0/regimes/ci/label_prob",
            json!("0.5"),
            "evaluation.selections[0].regimes.ci.label_prob is \"0.5\", expected a number",
        ),
        (
            "/selections/0/regimes/stochastic/kl/standard_error",
            json!([]),
            "evaluation.selections[0].regimes.stochastic.kl.standard_error is [], expected a number",
        ),
        (
            "/selections/0/regimes/ci/top/1/token_id",
            json!(1_u64 << 40),
            "evaluation.selections[0].regimes.ci.top[1].token_id is 1099511627776, expected the id of a token",
        ),
        ("/label", json!("é".repeat(99)), ""),
        ("/label", json!(["é".repeat(99)]), "..., expected a text"),
        ("/mask_by_ci", json!(0), "evaluation.mask_by_ci is 0, expected true or false"),
        ("/pgd", json!(4), "evaluation.pgd is 4, expected an object"),
    ] {
        let mut changed = told();
        *changed.pointer_mut(&format!("/evaluation{pointer}")).unwrap() = value;
        match SetEvaluation::of(&changed).unwrap() {
            Ok(_) => assert_eq!(expected, "", "{pointer}"),
            Err(said) => assert!(!expected.is_empty() && said.ends_with(expected) && said.len() < 150, "{said}"),
        }
    }
}

#[test]
fn numbers_are_as_long_as_they_are_known() {
    for (mean, error, text) in [
        (0.93, None, "0.93"),
        (0.9, None, "0.90"),
        (0.999, None, "1.00"),
        (0.0123, None, "0.012"),
        (0.0005, None, "0.0005"),
        (5.234e-7, None, "5.2e-7"),
        (12.345, None, "12.35"),
        (0.0, None, "0"),
        (0.4123, Some(0.0217), "0.41 ± 0.02"),
        (0.4123, Some(0.096), "0.41 ± 0.10"),
        (0.000_52, Some(0.000_11), "0.0005 ± 0.0001"),
        (0.012, Some(0.002), "0.012 ± 0.002"),
        (0.93, Some(3e-5), "0.93 ± 3e-5"),
        (3.1e-7, Some(1.2e-7), "3.1e-7 ± 1e-7"),
        (0.93, Some(0.0), "0.93 ± 0"),
        (0.0, Some(0.0), "0 ± 0"),
    ] {
        let measured = Measured { mean, standard_error: error, least: Some(mean), draws: None };
        assert_eq!(measured.text(), text);
        assert_eq!(measured.least_text(), Measured { standard_error: None, ..measured }.text().into());
    }
    // Whatever the numbers are, their texts are short.
    for mean in [f64::MAX, f64::MIN_POSITIVE, -1.0, -1e-9, 5e-324, 99999.0] {
        for error in [None, Some(f64::MAX), Some(f64::MIN_POSITIVE), Some(-1.0)] {
            let text = Measured { mean, standard_error: error, least: None, draws: None }.text();
            assert!(text.chars().count() < 20, "{text}");
        }
    }
}
