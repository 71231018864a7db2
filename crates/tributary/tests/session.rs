//! The library's calls on the bundled run: that they agree with one another, what they refuse, and what they advise.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tributary::backend::{
    Absent, AttributionBackend, BackendError, Devices, Dtype, OpenOptions, Provider, Work, cpu_device,
};
use tributary::{
    Compute, Error, Folder, Input, Progress, Remedy, Session, Settings, attribute, choose, on_backend, outline,
};
use tributary_flex::Flex;
use tributary_ndarray::NdArray;
use tributary_testing::{in_ci, skip};

type Cpus = (NdArray, Flex);

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data")
}

fn settings() -> Settings {
    Settings::new(data().join("gpt2s-2L"), Input::ci_sets(data().join("walked.ci_sets.json")))
}

fn on(backend: &str) -> Compute {
    Compute { backend: Some(backend.to_owned()), ..Compute::default() }
}

/// Only there as something that cannot be used.
struct Broken;

impl Provider for Broken {
    const NAME: &'static str = "broken";
    const DESCRIPTION: &'static str = "nothing";
    type F32 = Absent<f32>;
    type F64 = Absent<f64>;

    fn devices() -> Result<Devices, String> {
        Err("it is broken; mend it".to_owned())
    }

    fn f32(_: &OpenOptions<'_>) -> Result<Self::F32, BackendError> {
        unreachable!("it has no device")
    }

    fn f64(_: &OpenOptions<'_>) -> Result<Self::F64, BackendError> {
        unreachable!("it has no device")
    }
}

#[test]
fn a_folder_holds_what_a_session_computes() {
    let out = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    let mut settings = settings();
    settings.compute = on("flex");
    let manifest =
        attribute::<Cpus>(&settings, Folder::new(&out), &mut |progress| said.push(format!("{progress:?}"))).unwrap();
    assert!(said.first().unwrap().starts_with("Reading") && said.last().unwrap().starts_with("Finishing"), "{said:?}");
    assert_eq!((manifest.run.backend.as_str(), manifest.settings.method.as_str()), ("flex", "auto"));

    let session = Session::open(settings.clone(), tributary_flex::f32(), &mut |_| {}).unwrap();
    let computed = rayon::scope(|_| session.collect(&mut |_| {})).unwrap();
    let result = tributary::open(&out).unwrap();
    assert_eq!(result.manifest(), &manifest);
    for set in &computed.sets {
        // On one backend with one number of threads, the same bits.
        assert_eq!(*set, result.read_set(&set.name).unwrap());
    }

    let planned = outline::<Cpus>(&settings, &mut |_| {}).unwrap();
    let counts = |name: &str, nodes, edges| (name.to_owned(), nodes, edges);
    let planned: Vec<_> = planned.sets.iter().map(|set| counts(&set.name, set.nodes, set.edges)).collect();
    let written: Vec<_> = manifest.sets.iter().map(|set| counts(&set.name, set.nodes, set.edges)).collect();
    assert_eq!(planned, written);
}

#[test]
fn prompts_stand_for_the_models_own_sets() {
    let out = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(data().join("gpt2s-2L"), Input::prompt("once upon a time"));
    settings.files.output_probs = false;
    let manifest = attribute::<Flex>(&settings, Folder::new(&out), &mut |_| {}).unwrap();
    assert_eq!(manifest.sets[0].name, "prompt_0");
    assert_eq!(manifest.run.inputs.unwrap().ci_sets, None);
    assert!(tributary::open(&out).unwrap().read_set("prompt_0").unwrap().output_probs.is_empty());
}

#[test]
fn a_folder_is_replaced_when_that_is_asked_for() {
    let out = tempfile::tempdir().unwrap();
    let run = |folder: Folder<'_>| attribute::<Flex>(&settings(), folder, &mut |_| {});
    run(Folder::new(&out)).unwrap();
    let error = run(Folder::new(&out)).unwrap_err();
    assert_eq!(error.remedy(), Some(Remedy::Replace), "{error}");
    run(Folder { replace: true, ..Folder::new(&out) }).unwrap();
}

#[test]
fn sets_are_chosen_by_name() {
    let with = |sets: &[&str]| {
        let mut settings = settings();
        let Input::CiSets { sets: wanted, .. } = &mut settings.input else { unreachable!() };
        *wanted = sets.iter().map(|&name| name.to_owned()).collect();
        outline::<Flex>(&settings, &mut |_| {})
    };
    let all: Vec<String> = with(&[]).unwrap().sets.into_iter().map(|set| set.name).collect();
    let two = with(&[&format!("{},{}", all[2], all[0])]).unwrap();
    assert_eq!(two.sets.iter().map(|set| &set.name).collect::<Vec<_>>(), [&all[0], &all[2]]);
    let error = with(&["none"]).unwrap_err();
    assert_eq!(error.remedy(), Some(Remedy::Sets));
    assert!(
        error.to_string().ends_with(&format!(
            "has no set \"none\"; choose among its sets: {:?}, {:?}, {:?}",
            all[0], all[1], all[2]
        )),
        "{error}"
    );
}

#[test]
fn the_backend_is_the_one_that_is_named_or_the_first_that_can_be_used() {
    let name = |chosen: Result<tributary::Chosen, Error>| chosen.map(|chosen| (chosen.name, chosen.device));
    let cpu = |name: &str| (name.to_owned(), "cpu".to_owned());
    assert_eq!(name(choose::<Cpus>(&Compute::default())).unwrap(), cpu("flex"));
    assert_eq!(name(choose::<Cpus>(&on("ndarray"))).unwrap(), cpu("ndarray"));
    assert_eq!(name(choose::<(Broken, NdArray)>(&Compute::default())).unwrap(), cpu("ndarray"));
    assert_eq!(
        choose::<Cpus>(&on("abacus")).unwrap_err().to_string(),
        "unknown backend \"abacus\"; there are ndarray, flex"
    );
    assert_eq!(
        choose::<Broken>(&Compute::default()).unwrap_err().to_string(),
        "no backend can be used:\n  broken: it is broken; mend it"
    );
    let tf32 = choose::<Cpus>(&Compute { allow_tf32: true, ..on("flex") }).unwrap_err();
    assert_eq!(tf32.remedy(), Some(Remedy::FullPrecision));
    assert_eq!(
        tf32.to_string(),
        "the backend flex cannot be used: it has no TF32 products on cpu; compute without them"
    );
    let device = choose::<Cpus>(&Compute { device: Some("cuda".to_owned()), ..on("flex") }).unwrap_err();
    assert!(device.to_string().contains("it has no device \"cuda\"; its devices are cpu"), "{device}");
}

/// A GPU is wanted of `tch`, unless it is all there is.
#[test]
fn what_has_no_gpu_is_the_last_resort() {
    struct Tch;
    impl Provider for Tch {
        const NAME: &'static str = "tch";
        const DESCRIPTION: &'static str = "played by flex";
        type F32 = tributary_flex::F32;
        type F64 = tributary_flex::F64;

        fn devices() -> Result<Devices, String> {
            Ok(Devices { usable: vec![cpu_device()], note: Some("no GPU: none here".to_owned()) })
        }

        fn f32(_: &OpenOptions<'_>) -> Result<Self::F32, BackendError> {
            Ok(tributary_flex::f32())
        }

        fn f64(_: &OpenOptions<'_>) -> Result<Self::F64, BackendError> {
            Ok(tributary_flex::f64())
        }
    }
    let first = choose::<(Tch, Flex)>(&Compute::default()).unwrap();
    assert_eq!(first.name, "flex");
    let reason = "it has no cuda device here (no GPU: none here)".to_owned();
    assert_eq!(first.passed_over, [("tch".to_owned(), reason)]);
    assert_eq!(choose::<Tch>(&Compute::default()).unwrap().name, "tch");
}

#[test]
fn work_is_done_on_as_many_threads_as_are_asked_for() {
    struct Count;
    impl Work for Count {
        type Output = Result<(usize, Dtype), Error>;

        fn run<B: AttributionBackend>(self, backend: B) -> Self::Output {
            assert!(rayon::current_thread_index().is_some(), "not on a thread of a pool");
            Ok((rayon::current_num_threads(), backend.device().dtype))
        }
    }
    for threads in [1, 3] {
        let compute = Compute { threads: Some(threads), dtype: Dtype::F64, ..Compute::default() };
        assert_eq!(on_backend::<Cpus, _, _, _>(&compute, Count).unwrap(), (threads, Dtype::F64));
    }
    let all = on_backend::<Cpus, _, _, _>(&Compute::default(), Count).unwrap();
    assert_eq!(all, (rayon::current_num_threads(), Dtype::F32));
}

#[test]
fn errors_say_what_helps() {
    let fails = |settings: &Settings| outline::<Flex>(settings, &mut |_: Progress<'_>| {}).unwrap_err();
    let mut small = settings();
    small.max_memory = Some(1);
    assert_eq!(fails(&small).remedy(), Some(Remedy::MaxMemory));
    let mut elsewhere = settings();
    elsewhere.run.tokenizer = Some("nowhere.json".into());
    assert_eq!(fails(&elsewhere).remedy(), Some(Remedy::Tokenizer));
    elsewhere.run.target = Some("nowhere".into());
    assert_eq!(fails(&elsewhere).remedy(), Some(Remedy::Target));
    let mut nothing = settings();
    nothing.run.folder = "nowhere".into();
    let error = fails(&nothing);
    assert!(matches!(error, Error::Input(_)) && error.remedy().is_none(), "{error}");
}

/// The examples, as `cargo test` builds them beside the tests where all targets are asked for.
#[test]
fn examples_run() {
    let executable = std::env::current_exe().unwrap();
    let folder = executable.ancestors().nth(2).unwrap().join("examples");
    for name in ["attribute", "own_backend", "own_sink", "read_results"] {
        let example = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !example.exists() {
            assert!(!in_ci(), "{} was not built", example.display());
            skip("the examples of the library", "they are built by `cargo test` without `--test`");
            return;
        }
        let output = Command::new(&example).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{name} says nothing");
    }
}
