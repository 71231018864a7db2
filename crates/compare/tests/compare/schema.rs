//! The JSON form, against its schema.

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use tributary_compare::{Comparison, ComparisonOptions, SCHEMA};
use tributary_graph::{Normalise, Sign, View};
use tributary_model::Layer;
use tributary_testing::config;

use crate::case::{Case, at, c_fc_layer, cases, small, viewed};

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn json_of(cases: &[Case], options: &ComparisonOptions, view: View) -> Value {
    let (comparison, _) = Comparison::of_sets(&viewed(cases, view), options).unwrap();
    // By way of text, as it is written: what is not finite would be null there, which the schema allows only where
    // there may be no number.
    serde_json::from_str(&serde_json::to_string(&comparison).unwrap()).unwrap()
}

fn views() -> impl Strategy<Value = View> {
    let sign = prop::sample::select(vec![Sign::Source, Sign::Target]);
    let normalise = prop::sample::select(vec![Normalise::None, Normalise::Target, Normalise::Layer]);
    (sign, normalise).prop_map(|(sign, normalise)| View { sign, normalise })
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn comparisons_fit_their_schema(cases in cases(), top in prop::option::of(0_usize..5), min_edge in prop::option::of(0.0_f32..2.0), view in views()) {
        thread_local!(static VALIDATOR: Validator = validator());
        let json = json_of(&cases, &ComparisonOptions { min_edge, k: Some(1), top }, view);
        let errors: Vec<String> = VALIDATOR.with(|validator| {
            validator.iter_errors(&json).map(|error| format!("{} at {}", error, error.instance_path())).collect()
        });
        prop_assert!(errors.is_empty(), "{errors:?}");
        prop_assert_eq!(&json["sets"][0]["name"], &json!(cases[0].set.name));
        for (set, case) in json["sets"].as_array().unwrap().iter().zip(&cases) {
            let Some(found) = case.set.faithfulness(|&value| value) else {
                prop_assert!(set["prediction"].is_null());
                continue;
            };
            prop_assert_eq!(set["prediction"]["mean_kl"].as_f64().map(|kl| kl as f32), Some(found.mean_kl));
            prop_assert_eq!(set["prediction"]["agreement"].as_f64(), Some(found.agreement()));
            let notes = json["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap());
            let warned = notes.filter(|note| note.starts_with(&format!("{:?}: ", case.set.name))).count();
            prop_assert_eq!(warned, usize::from(found.is_far()));
        }
        let longest = json["edges"]["unique"][0]["strongest"].as_array().unwrap().len();
        prop_assert!(top.is_none_or(|top| longest <= top));
    }
}

#[test]
fn the_schema_refuses_what_is_not_said() {
    let (wte, a, b) = (at(Layer::wte(), 0, 0), at(c_fc_layer(), 0, 0), at(c_fc_layer(), 0, 1));
    let sets =
        [small("coeff_1", &[a, b], &[(wte, a, 1.0), (wte, b, f32::NAN)]), small("coeff_2", &[a], &[(wte, a, -2.5)])];
    let json = json_of(&sets, &ComparisonOptions::default(), View::default());
    let validator = validator();
    assert!(validator.is_valid(&json), "{:?}", validator.iter_errors(&json).collect::<Vec<_>>());
    assert_eq!(json["format"], "tributary-comparison");
    assert_eq!(json["options"], json!({ "min_edge": null, "k": 2, "top": 10 }));
    assert_eq!(json["view"], json!({ "sign": "source", "normalise": "none" }));
    assert_eq!(
        json["nodes"]["unique"][0]["strongest"][0]["node"],
        json!({
            "layer": "h.0.mlp.c_fc", "position": 0, "component": 1
        })
    );
    assert_eq!(json["consensus"]["strongest_edges"][0]["mean"], json!(-0.75));
    assert_eq!(json["sweep"]["nodes"]["steps"][1]["strongest_deaths"][0]["since"], json!(1.0));
    for (pointer, change) in [
        ("/format_version", json!(2)),
        ("/view/sign", json!("both")),
        ("/view/extra", json!(1)),
        ("/sets/0/magnitude", json!(null)),
        ("/sets/0/prediction", json!({})),
        ("/edges/pairwise/jaccard/0/1", json!(1.5)),
        ("/edges/pairwise/rank_correlation/0/1", json!("NaN")),
        ("/edges/sign_disagreement/0/1/extra", json!(1)),
        ("/nodes/layers/0/layer", json!("h..mlp")),
        ("/consensus/strongest_edges/0/std", json!(null)),
        ("/sweep/steps/0/sets", json!([])),
        ("/sweep/nodes/extra", json!(1)),
        ("/sweep/nodes/steps/1/strongest_deaths/0/node", json!(null)),
        ("/extra", json!(null)),
    ] {
        let mut changed = json.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match changed.pointer_mut(parent).unwrap() {
            Value::Object(fields) => drop(fields.insert(key.to_owned(), change)),
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = change,
            other => panic!("{other}"),
        }
        assert!(!validator.is_valid(&changed), "{pointer}");
    }
    // Every field is promised.
    for field in json.as_object().unwrap().keys() {
        let mut fewer = json.clone();
        fewer.as_object_mut().unwrap().remove(field);
        assert!(!validator.is_valid(&fewer), "{field}");
    }
}
