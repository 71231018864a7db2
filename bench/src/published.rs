//! A run of the published sizes, as a whole process and stage by stage.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use comfy_table::{CellAlignment, Table};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tributary_backend::AttributionBackend;
use tributary_engine::Forward;
use tributary_inputs::test_support::{RandomWeights, Style, write_run};
use tributary_model::{
    Activation, Architecture, Array, Biases, CiArrays, CiNetwork, CiSet, CiTransformer, Layer, Norm, PositionEncoding,
    Role, RopeScaling, Values, Weights, published_layers,
};

use crate::Failure;
use crate::definition::DefinitionArgs;
use crate::floor::Floor;
use crate::generated::{Aliveness, ci_sets, prompt, write_ci_sets};
use crate::median::median;
use crate::process::{Finished, built_command, file_size, tributary};

/// Alive at each position of each layer.
const ALIVE: usize = 12;

/// So that some 205 of 38,912 components are alive at a position under the model's own causal importances, as in the
/// published run.
const RARITY: usize = 95;

#[derive(Debug, clap::Args)]
pub(crate) struct PublishedArgs {
    #[arg(long, default_value_t = 64)]
    positions: usize,
    #[arg(long, default_value_t = 4)]
    sets: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value = "flex")]
    backend: String,
    #[command(flatten)]
    definition: DefinitionArgs,
    /// What gives the model's own causal importances
    #[arg(long, value_enum, default_value = "layerwise")]
    ci_function: CiFunctionKind,
    /// Another build of the command, which takes turns with this one
    #[arg(long)]
    against: Option<PathBuf>,
    /// Where the run and its CI sets are kept, and taken from if they are there; a temporary folder otherwise
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CiFunctionKind {
    /// A network for each layer, in all as many numbers as in runs of 2025
    Layerwise,
    /// One transformer for all layers, as in the run that the published graphs are of: 2.2 GB
    Transformer,
}

pub(crate) fn run(args: &PublishedArgs) -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let folder = args.keep.as_deref().unwrap_or(temporary.path());
    let inputs = Inputs { run: folder.join("run"), ci_sets: folder.join("ci_sets.json") };
    inputs.generate(args)?;
    let checkpoint = inputs.run.join("model_1.pth");
    let (bytes, json) = (file_size(&checkpoint)?, file_size(&inputs.ci_sets)?);
    println!(
        "generated: checkpoint {:.1} MB, CI sets {:.1} MB of JSON, {} positions, {} sets, {ALIVE} alive per layer and \
         position\n{} on {} threads, medians of {} rounds",
        bytes as f64 / 1e6,
        json as f64 / 1e6,
        args.positions,
        args.sets,
        args.backend,
        args.threads,
        args.rounds
    );
    let mut commands = vec![("here", built_command()?)];
    commands.extend(args.against.iter().map(|command| ("against", command.clone())));
    let mut floors = Vec::new();
    let mut measured: Vec<Vec<Measured>> = commands.iter().map(|_| Vec::new()).collect();
    for round in 0..=args.rounds {
        // The first one is for the file cache, and does not count.
        let floor = read_and_hash(&checkpoint)?;
        for ((_, command), measured) in commands.iter().zip(&mut measured) {
            let found = inputs.measure(args, command)?;
            if round > 0 {
                measured.push(found);
            }
        }
        if round > 0 {
            floors.push(floor);
        }
        eprintln!("round {round} of {}", args.rounds);
    }
    let floor = median(floors);
    println!("reading and hashing the checkpoint, nothing else: {floor:.3} s");
    if args.ci_function == CiFunctionKind::Transformer {
        let products = transformer_products(args.positions) as f64 / 1e9;
        let rate = rate(args, [args.positions, CI_WIDTH, CI_HIDDEN])?;
        println!(
            "the model's own CI has {products:.1} G multiply-adds, {:.3} s at the {rate:.1} G/s of flex's product [{}, 2048] x \
             [2048, 8192]",
            products / rate,
            args.positions
        );
    }
    if matches!(args.definition.forward(), Forward::Target(_)) {
        let a = architecture();
        // As wide as what goes past an MLP.
        let rate = rate(args, [256, a.d_model, a.d_mlp])?;
        let Floor { transport, residual, inside } = Floor::new(&a, &generated_sets(args));
        println!(
            "multiply-adds that are needed: {transport:.1} G of what travels through deltas ({:.2} s at the {rate:.1} G/s of flex's \
             product [256, {}] x [{}, {}]), {residual:.1} G of edges to what reads the stream, {inside:.1} G of the others ({:.2} s)",
            transport / rate,
            a.d_model,
            a.d_model,
            a.d_mlp,
            (residual + inside) / rate
        );
    }
    println!();
    let names: Vec<&str> = commands.iter().map(|(name, _)| *name).collect();
    println!("{}", table(&names, floor, &measured));
    Ok(())
}

struct Inputs {
    run: PathBuf,
    ci_sets: PathBuf,
}

/// One run of the command. Times in seconds.
struct Measured {
    /// From the files of the trained run to a model on the backend.
    load: f64,
    read_ci_sets: f64,
    /// What the result says of its own making.
    timings: Value,
    whole: f64,
    /// Bytes.
    peak: u64,
    edges: u64,
}

impl Inputs {
    fn generate(&self, args: &PublishedArgs) -> Result<(), Failure> {
        let mut random = RandomWeights::llama_simple_mlp(1);
        random.architecture = architecture();
        let layers: Vec<Layer> = random.architecture.linear_layers().collect();
        random.components = layers.iter().map(|&layer| (layer, components(layer))).collect::<BTreeMap<_, _>>();
        // So that the checkpoint has the size of a published one's.
        random.ci_hidden = vec![870];
        if !self.run.join("final_config.yaml").exists() {
            fs::create_dir_all(&self.run)?;
            if args.ci_function == CiFunctionKind::Transformer {
                random.ci_hidden = Vec::new();
            }
            let mut weights = random.scaled_weights();
            match args.ci_function {
                CiFunctionKind::Layerwise => make_sparse(&mut weights.ci_function.network),
                CiFunctionKind::Transformer => weights.ci_function.network = transformer(&weights),
            }
            write_run(&self.run, &weights, Style::Current);
        }
        if !self.ci_sets.exists() {
            let sets = generated_sets(args);
            let mut out = BufWriter::new(File::create(&self.ci_sets)?);
            write_ci_sets(&sets, &mut out)?;
            out.flush()?;
        }
        Ok(())
    }

    fn measure(&self, args: &PublishedArgs, executable: &Path) -> Result<Measured, Failure> {
        let attribute = |more: &[&str]| {
            let out = tempfile::tempdir()?;
            let mut command = tributary(executable);
            command
                .args(["--backend", &args.backend, "--threads", &args.threads.to_string(), "--model"])
                .arg(&self.run);
            Finished::run(command.arg("--out").arg(out.path().join("out")).args(more))
        };
        // What loading takes without a file of CI sets.
        let load = seconds(&attribute(&["--prompt", "w1"])?.printed["timings"], "load")?;
        let (ci_sets, definition) = (self.ci_sets.to_string_lossy(), args.definition.flags());
        let Finished { printed, peak, seconds: whole } = attribute(&[&["--ci-sets", &ci_sets], definition].concat())?;
        let read_ci_sets = seconds(&printed["timings"], "load")? - load;
        let edges = printed["sets"].as_array().into_iter().flatten().filter_map(|set| set["edges"].as_u64()).sum();
        Ok(Measured { load, read_ci_sets, timings: printed["timings"].clone(), whole, peak, edges })
    }
}

/// The CI sets that are generated.
fn generated_sets(args: &PublishedArgs) -> Vec<CiSet> {
    let alive = |layer| Aliveness { layer, components: components(layer), alive: ALIVE };
    let layers: Vec<Aliveness> = architecture().linear_layers().map(alive).collect();
    ci_sets(args.sets, &prompt(args.positions, architecture().vocab), &layers)
}

/// `LlamaSimpleMLP` as the run of the published graphs has it.
fn architecture() -> Architecture {
    Architecture {
        model_class: "LlamaSimpleMLP".to_owned(),
        n_blocks: 4,
        d_model: 768,
        n_heads: 6,
        n_kv_heads: 6,
        d_head: 128,
        d_mlp: 3072,
        vocab: 50_277,
        max_positions: 512,
        norm: Norm::RmsNorm { eps: 1e-6 },
        position_encoding: PositionEncoding::Rotary {
            base: 10_000.0,
            adjacent_pairs: false,
            scaling: RopeScaling::None,
        },
        activation: Activation::GeluTanh,
        linear: published_layers(4, 768, 768, 3072, Biases { attention: false, mlp: false }),
    }
}

/// Number of components of a layer of that run.
fn components(layer: Layer) -> usize {
    match layer.role() {
        Role::Query | Role::Key => 512,
        Role::Value | Role::AttentionOutput => 1024,
        Role::MlpUp => 3072,
        Role::MlpDown => 3584,
        _ => 0,
    }
}

/// Width of the stream of the CI transformer of that run.
const CI_WIDTH: usize = 2048;
/// Width of the hidden layers of its MLPs.
const CI_HIDDEN: usize = 8192;
/// Number of its blocks.
const CI_BLOCKS: usize = 8;
/// Number of heads of its attentions.
const CI_HEADS: usize = 16;

/// A random CI transformer of that run's sizes.
fn transformer(weights: &Weights) -> CiNetwork {
    let inputs = weights.decomposed.values().map(|components| components.v.shape[0]).sum();
    let outputs = weights.component_counts().values().sum();
    let mut random = fastrand::Rng::with_seed(2);
    let mut matrix = |shape: [usize; 2], fan_in: usize| {
        let scale = (3.0 / fan_in as f32).sqrt();
        Array::new(shape, (0..shape[0] * shape[1]).map(|_| scale * (2.0 * random.f32() - 1.0)).collect())
    };
    let bias = |out: usize| Array::new([out], vec![0.0; out]);
    let mut linear = |from: usize, to: usize| vec![matrix([from, to], from), bias(to)];
    let projector = CiArrays::Read(linear(inputs, CI_WIDTH));
    let mut head = linear(CI_WIDTH, outputs);
    let bias_of = |component: usize| if component.is_multiple_of(RARITY) { 0.0 } else { -100.0 };
    head[1] = Array::new([outputs], (0..outputs).map(bias_of).collect());
    let block = |_| {
        let mut arrays: Vec<Array> = (0..4).map(|_| linear(CI_WIDTH, CI_WIDTH).swap_remove(0)).collect();
        arrays.extend(linear(CI_WIDTH, CI_HIDDEN));
        arrays.extend(linear(CI_HIDDEN, CI_WIDTH));
        CiArrays::Read(arrays)
    };
    let blocks = (0..CI_BLOCKS).map(block).collect();
    let head = CiArrays::Read(head);
    CiNetwork::SharedTransformer(CiTransformer { projector, blocks, head, n_heads: CI_HEADS, rope_base: 10_000.0 })
}

/// Multiply-adds of that transformer on so many tokens.
fn transformer_products(positions: usize) -> usize {
    let layers: Vec<Layer> = architecture().linear_layers().collect();
    let inputs: usize = architecture().linear.iter().map(|linear| linear.d_in).sum();
    let outputs: usize = layers.iter().map(|&layer| components(layer)).sum();
    let of_block = 4 * CI_WIDTH * CI_WIDTH + 2 * CI_WIDTH * CI_HIDDEN + 2 * positions * CI_WIDTH;
    positions * (CI_WIDTH * (inputs + outputs) + CI_BLOCKS * of_block)
}

/// Multiply-adds in 10^9 a second of a large product of flex on as many threads.
fn rate(args: &PublishedArgs, [rows, inner, columns]: [usize; 3]) -> Result<f64, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?;
    pool.install(|| {
        let b = tributary_flex::f32();
        let x = b.upload_vec(vec![0.5; rows * inner], &[rows, inner])?;
        let w = b.upload_vec(vec![0.25; inner * columns], &[inner, columns])?;
        let mut times = Vec::new();
        for _ in 0..9 {
            let started = Instant::now();
            std::hint::black_box(b.matmul(&x, &w)?);
            times.push(started.elapsed().as_secs_f64());
        }
        Ok((rows * inner * columns) as f64 / 1e9 / median(times))
    })
}

/// Makes causal importances zero but for one in [`RARITY`] components, and for half of the positions of that one: the last
/// layer reads GELUs, which are hardly ever negative, with weights that are.
fn make_sparse(network: &mut CiNetwork) {
    let CiNetwork::Layerwise { layers, .. } = network else { return };
    for arrays in layers.values_mut() {
        let CiArrays::Read(arrays) = arrays else { continue };
        let [.., weight, bias] = arrays.as_mut_slice() else { continue };
        let (Values::F32(weight), Values::F32(bias)) = (&mut weight.values, &mut bias.values) else { continue };
        for row in weight.chunks_exact_mut(bias.len()).chain([&mut **bias]) {
            for (component, value) in row.iter_mut().enumerate() {
                if component % RARITY > 0 {
                    *value = -value.abs();
                }
            }
        }
    }
}

fn seconds(timings: &Value, stage: &str) -> Result<f64, Failure> {
    timings[stage].as_f64().ok_or_else(|| format!("no time of {stage:?} in {timings}").into())
}

/// Seconds of reading a file and hashing it, block by block.
fn read_and_hash(file: &Path) -> Result<f64, Failure> {
    let started = Instant::now();
    let mut input = File::open(file)?;
    let (mut hasher, mut block) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        let read = input.read(&mut block)?;
        if read == 0 {
            break;
        }
        hasher.update(&block[..read]);
    }
    std::hint::black_box(hasher.finalize());
    Ok(started.elapsed().as_secs_f64())
}

fn table(names: &[&str], floor: f64, measured: &[Vec<Measured>]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["stage"].iter().chain(names));
    let mut row = |name: &str, of: &dyn Fn(&Measured) -> f64, decimals: usize| {
        let values = measured.iter().map(|rounds| median(rounds.iter().map(of).collect()));
        table.add_row([name.to_owned()].into_iter().chain(values.map(|value| format!("{value:.decimals$}"))));
    };
    row("load, s", &|m| m.load, 3);
    row("... by reading and hashing", &|m| m.load / floor, 2);
    row("reading the CI sets, s", &|m| m.read_ci_sets, 3);
    for (name, stage) in [
        ("model's own CI, s", "model_ci"),
        ("masked forward pass, s", "forward"),
        ("attribution, forward included, s", "attribution"),
        ("writing, s", "write"),
    ] {
        row(name, &|m| m.timings[stage].as_f64().unwrap_or(f64::NAN), 3);
    }
    row("whole process, s", &|m| m.whole, 3);
    row("peak memory, MB", &|m| m.peak as f64 / 1e6, 0);
    row("edges", &|m| m.edges as f64, 0);
    for column in 1..=names.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
