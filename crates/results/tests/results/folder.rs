//! When a folder is refused, and what is left of it after a failure.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tributary_files::FilesError;
use tributary_results::{ResultError, ResultFolder, ResultWriter, Timings};
use tributary_testing::RandomResults;

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Results whose sets have these names.
fn named(seed: u64, names: &[&str]) -> RandomResults {
    let mut results = RandomResults::new(seed);
    let set = results.sets[0].clone();
    results.sets = vec![set; names.len()];
    for (set, name) in results.sets.iter_mut().zip(names) {
        (*name).clone_into(&mut set.0.name);
    }
    results
}

#[test]
fn a_folder_appears_whole() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("deep/er/out");
    let results = named(1, &["a", "b"]);
    let mut writer = ResultWriter::create(&out, false, results.settings()).unwrap();
    for (index, (set, prompt)) in results.sets.iter().enumerate() {
        writer.write_set(index, set, prompt, None).unwrap();
        assert_eq!(names(&out), BTreeSet::from([".tributary-partial".to_owned()]));
        assert!(matches!(ResultFolder::open(&out), Err(ResultError::NoManifest { .. })));
    }
    let manifest = writer.finish(results.run_info()).unwrap();
    assert_eq!(names(&out), ["a.safetensors", "b.safetensors", "manifest.json"].map(str::to_owned).into());
    assert!(manifest.run.timings.write > 0.0);
    let given = Timings { write: manifest.run.timings.write, ..results.run_info().timings };
    assert_eq!(manifest.run.timings, given);
}

#[test]
fn a_writer_that_does_not_finish_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let results = named(1, &["a"]);
    let (set, prompt) = &results.sets[0];
    for out in ["deep/er/out", "out", "made/../up"] {
        let mut writer = ResultWriter::create(&parent.path().join(out), false, results.settings()).unwrap();
        writer.write_set(0, set, prompt, None).unwrap();
        drop(writer);
        assert_eq!(names(parent.path()), BTreeSet::new());
    }
    // A folder that was there stays, with what was in it.
    fs::write(parent.path().join("notes.txt"), "mine").unwrap();
    let mut writer = ResultWriter::create(parent.path(), false, results.settings()).unwrap();
    writer.write_set(0, set, prompt, None).unwrap();
    drop(writer);
    assert_eq!(names(parent.path()), BTreeSet::from(["notes.txt".to_owned()]));
}

#[test]
fn results_are_replaced_only_by_force() {
    let out = tempfile::tempdir().unwrap();
    named(1, &["a", "b"]).write(out.path(), false).unwrap();
    fs::write(out.path().join("notes.txt"), "mine").unwrap();
    fs::write(out.path().join("c.safetensors"), "mine too").unwrap();

    let error = named(2, &["b", "c"]).write(out.path(), false).unwrap_err();
    assert!(error.to_string().contains("already holds results"), "{error}");
    assert!(ResultFolder::open(out.path()).unwrap().read_set("a").is_ok());

    let manifest = named(2, &["b", "c"]).write(out.path(), true).unwrap();
    let foreign_avoided = manifest.set("c").unwrap().file.clone();
    let expected = ["b.safetensors", "c.safetensors", "manifest.json", "notes.txt", &foreign_avoided];
    assert_eq!(names(out.path()), expected.map(str::to_owned).into());
    assert_eq!(fs::read_to_string(out.path().join("c.safetensors")).unwrap(), "mine too");
    let folder = ResultFolder::open(out.path()).unwrap();
    assert!(folder.read_set("b").is_ok() && folder.read_set("c").is_ok());
}

#[test]
fn old_results_stay_until_new_ones_are_complete() {
    let out = tempfile::tempdir().unwrap();
    let manifest = named(1, &["a", "b"]).write(out.path(), false).unwrap();
    let results = named(2, &["a"]);
    let (set, prompt) = &results.sets[0];
    let mut writer = ResultWriter::create(out.path(), true, results.settings()).unwrap();
    writer.write_set(0, set, prompt, None).unwrap();
    assert!(ResultFolder::open(out.path()).unwrap().read_set("a").is_ok());
    drop(writer);
    let folder = ResultFolder::open(out.path()).unwrap();
    assert_eq!(folder.manifest(), &manifest);
    assert!(folder.read_set("a").is_ok() && folder.read_set("b").is_ok());
}

#[test]
fn a_file_that_turns_up_in_the_meantime_is_not_overwritten() {
    for turned_up in ["b.safetensors", "manifest.json"] {
        let out = tempfile::tempdir().unwrap();
        let results = named(1, &["a", "b"]);
        let mut writer = ResultWriter::create(out.path(), false, results.settings()).unwrap();
        for (index, (set, prompt)) in results.sets.iter().enumerate() {
            writer.write_set(index, set, prompt, None).unwrap();
        }
        fs::write(out.path().join(turned_up), "mine").unwrap();
        let error = writer.finish(results.run_info()).unwrap_err();
        assert!(error.to_string().contains(turned_up), "{error}");
        assert_eq!(names(out.path()), BTreeSet::from([turned_up.to_owned()]));
        assert_eq!(fs::read_to_string(out.path().join(turned_up)).unwrap(), "mine");
    }
}

#[test]
fn a_manifest_that_is_not_ours_is_never_replaced() {
    let out = tempfile::tempdir().unwrap();
    let results = named(1, &["a"]);
    let other_version = r#"{"format": "tributary-results", "format_version": 3}"#;
    for (text, reason) in [("{}", "format"), ("not json", "not a manifest"), (other_version, "format version 3")] {
        fs::write(out.path().join("manifest.json"), text).unwrap();
        assert!(matches!(results.write(out.path(), false), Err(ResultError::Occupied { .. })));
        let error = results.write(out.path(), true).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("remove it yourself"), "{error}");
        assert_eq!(names(out.path()), BTreeSet::from(["manifest.json".to_owned()]));
        assert_eq!(fs::read_to_string(out.path().join("manifest.json")).unwrap(), text);
    }
}

#[test]
fn outputs_that_cannot_be_written_to_fail_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "mine").unwrap();
    let settings = || RandomResults::new(1).settings();
    for out in [&file, Path::new("")] {
        let error = ResultWriter::create(out, true, settings()).unwrap_err();
        assert!(matches!(&error, ResultError::Files(FilesError::NotAFolder { path }) if path == out), "{error}");
    }
    let below_file = file.join("out");
    let error = ResultWriter::create(&below_file, true, settings()).unwrap_err();
    assert!(matches!(&error, ResultError::Files(FilesError::Io { path, .. }) if *path == below_file), "{error}");
    assert_eq!(names(parent.path()), BTreeSet::from(["file".to_owned()]));
    #[cfg(target_os = "linux")]
    for out in ["/proc/out", "/proc/self", "/dev/null"] {
        let error = ResultWriter::create(Path::new(out), true, settings()).unwrap_err();
        assert!(error.to_string().contains(out), "{error}");
    }
}

#[test]
fn a_failed_write_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let results = named(1, &["a"]);
    let (set, prompt) = &results.sets[0];
    let mut writer = ResultWriter::create(&out, false, results.settings()).unwrap();
    let partial = out.join(".tributary-partial");
    let run = names(&partial).into_iter().find(|name| name.starts_with("results-")).unwrap();
    fs::remove_dir_all(partial.join(run).join("new")).unwrap();
    let error = writer.write_set(0, set, prompt, None).unwrap_err();
    assert!(matches!(error, ResultError::Io { action: "write", .. }), "{error}");
    drop(writer);
    assert_eq!(names(parent.path()), BTreeSet::new());
}

#[cfg(unix)]
#[test]
fn an_output_may_be_a_link_to_a_folder() {
    let parent = tempfile::tempdir().unwrap();
    fs::create_dir(parent.path().join("real")).unwrap();
    let link = parent.path().join("link");
    std::os::unix::fs::symlink("real", &link).unwrap();
    named(1, &["a"]).write(&link, false).unwrap();
    assert!(link.is_symlink());
    assert!(ResultFolder::open(&parent.path().join("real")).unwrap().read_set("a").is_ok());
}

#[test]
fn two_runs_do_not_write_to_one_folder() {
    let out = tempfile::tempdir().unwrap();
    let results = named(1, &["a"]);
    let writer = ResultWriter::create(out.path(), false, results.settings()).unwrap();
    assert!(matches!(results.write(out.path(), true), Err(ResultError::Files(FilesError::Busy { .. }))));
    writer.finish(results.run_info()).unwrap();
    assert!(results.write(out.path(), true).is_ok());
}

#[test]
fn what_a_killed_run_left_is_cleaned_up() {
    let out = tempfile::tempdir().unwrap();
    let partial = out.path().join(".tributary-partial");
    fs::create_dir_all(partial.join("results-0/new")).unwrap();
    fs::write(partial.join("lock"), "").unwrap();
    fs::write(partial.join("results-0/alive"), "").unwrap();
    fs::write(partial.join("results-0/new/0"), "half").unwrap();
    named(1, &["a"]).write(out.path(), false).unwrap();
    assert_eq!(names(out.path()), ["a.safetensors", "manifest.json"].map(str::to_owned).into());
}

#[test]
fn two_sets_of_one_name_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let error = named(1, &["a", "a"]).write(out.path(), false).unwrap_err();
    assert!(matches!(&error, ResultError::DuplicateSet { name } if name == "a"), "{error}");
}
