//! Writes trained runs for tests: checkpoints of any content, and whole run folders from [`Weights`].
//!
//! Everything here panics on failure, as tests do.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use tributary_model::{
    Activation, Architecture, Array, Biases, BlockNorms, CiArrays, CiFunction, CiInput, CiNetwork, CiTransformer,
    Components, Layer, LinearLayer, LinearWeights, Norm, NormWeights, PositionEncoding, Role, RopeScaling, Sigmoid,
    Values, Weights, gated_blocks, published_layers, with_widths,
};

/// The PyTorch storage class that holds a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageClass {
    /// 4-byte floats.
    Float,
    /// IEEE binary16.
    Half,
    /// The upper halves of 4-byte floats.
    BFloat16,
    /// 8-byte floats.
    Double,
    /// 8-byte integers.
    Long,
}

impl StorageClass {
    fn name(self) -> &'static str {
        match self {
            Self::Float => "FloatStorage",
            Self::Half => "HalfStorage",
            Self::BFloat16 => "BFloat16Storage",
            Self::Double => "DoubleStorage",
            Self::Long => "LongStorage",
        }
    }

    fn element_size(self) -> usize {
        match self {
            Self::Float => 4,
            Self::Half | Self::BFloat16 => 2,
            Self::Double | Self::Long => 8,
        }
    }
}

/// A tensor as a checkpoint stores it: a view of a storage, which is its own unless it says otherwise.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    /// Key in the state dict.
    pub name: String,
    /// What the storage holds.
    pub class: StorageClass,
    /// The storage, little-endian.
    pub bytes: Vec<u8>,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Steps of the axes, in elements.
    pub strides: Vec<usize>,
    /// The name of the tensor whose storage it shares, `bytes` being empty then.
    pub shares: Option<String>,
}

impl StoredTensor {
    /// A contiguous tensor over this storage.
    pub fn new(name: impl Into<String>, class: StorageClass, shape: &[usize], bytes: Vec<u8>) -> Self {
        let strides = (1..=shape.len()).map(|axis| shape[axis..].iter().product()).collect();
        Self { name: name.into(), class, bytes, shape: shape.to_vec(), strides, shares: None }
    }

    /// The same tensor under another name.
    #[must_use]
    pub fn again(&self, name: impl Into<String>) -> Self {
        Self { name: name.into(), bytes: Vec::new(), shares: Some(self.name.clone()), ..self.clone() }
    }

    /// A contiguous float tensor.
    pub fn float(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, StorageClass::Float, shape, bytes)
    }

    fn array(name: impl Into<String>, array: &Array) -> Self {
        match &array.values {
            Values::F32(values) => Self::float(name, &array.shape, values),
            Values::F64(values) => {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Self::new(name, StorageClass::Double, &array.shape, bytes)
            }
        }
    }
}

/// Writes a checkpoint as `torch.save` does a state dict: a zip archive of a protocol 2 pickle and the storages of the
/// tensors.
///
/// # Panics
///
/// When the file cannot be written, or a tensor shares the storage of one that is not there.
pub fn write_pth(path: &Path, tensors: &[StoredTensor]) {
    let pickle = pickle(tensors);
    let mut entries: Vec<(String, &[u8])> = vec![("archive/data.pkl".to_owned(), &pickle)];
    let storages = tensors.iter().enumerate().filter(|(_, tensor)| tensor.shares.is_none());
    entries.extend(storages.map(|(key, tensor)| (format!("archive/data/{key}"), &*tensor.bytes)));
    entries.push(("archive/version".to_owned(), b"3\n"));
    let mut out = BufWriter::new(File::create(path).unwrap());
    zip(&mut out, &entries).and_then(|()| out.flush()).unwrap();
}

/// Takes the checksums of a checkpoint away, as `torch.save` leaves them out where it is told to.
pub fn remove_checksums(bytes: &mut [u8]) {
    for (signature, at) in [(b"PK\x03\x04", 14), (b"PK\x01\x02", 16)] {
        for start in 0..bytes.len().saturating_sub(30) {
            if bytes[start..].starts_with(signature) {
                bytes[start + at..start + at + 4].fill(0);
            }
        }
    }
}

/// Writes a checkpoint as `torch.save` did before PyTorch 1.6: pickles one after the other, then the storages.
///
/// # Panics
///
/// When the file cannot be written, or a tensor shares the storage of one that is not there.
pub fn write_legacy_pth(path: &Path, tensors: &[StoredTensor]) {
    let mut out = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    out.extend(b"\x80\x02}X\x0d\0\0\0little_endian\x88s.");
    out.extend(pickle(tensors));
    out.extend(b"\x80\x02](");
    let storages = || tensors.iter().enumerate().filter(|(_, tensor)| tensor.shares.is_none());
    for (key, _) in storages() {
        text(&mut out, &key.to_string());
    }
    out.extend(b"e.");
    for (_, tensor) in storages() {
        out.extend(((tensor.bytes.len() / tensor.class.element_size()) as u64).to_le_bytes());
        out.extend(&tensor.bytes);
    }
    fs::write(path, out).unwrap();
}

/// `{name: torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())}`.
fn pickle(tensors: &[StoredTensor]) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    for (own_key, tensor) in tensors.iter().enumerate() {
        let shared = |name: &String| tensors.iter().position(|other| other.name == *name).unwrap();
        let key = tensor.shares.as_ref().map_or(own_key, shared);
        text(&mut out, &tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(format!("ctorch\n{}\n", tensor.class.name()).bytes());
        text(&mut out, &key.to_string());
        text(&mut out, "cpu");
        integer(&mut out, tensors[key].bytes.len() / tensor.class.element_size());
        out.extend(b"tQ");
        integer(&mut out, 0);
        for numbers in [&tensor.shape, &tensor.strides] {
            out.push(b'(');
            for &number in numbers {
                integer(&mut out, number);
            }
            out.push(b't');
        }
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}

/// `LONG1` of 8 bytes and a zero one, which keeps a large number from being negative.
fn integer(out: &mut Vec<u8>, number: usize) {
    out.extend([0x8a, 9]);
    out.extend((number as u64).to_le_bytes());
    out.push(0);
}

/// Writes a zip archive of stored entries.
fn zip(out: &mut impl Write, entries: &[(String, &[u8])]) -> io::Result<()> {
    let mut directory = Vec::new();
    let mut offset = 0;
    for (name, content) in entries {
        // Version, flags, method, time, date: all zero but the version and the date, 1 January 1980.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        let mut checksum = flate2::Crc::new();
        checksum.update(content);
        common.extend(checksum.sum().to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let header = [b"PK\x03\x04".as_slice(), &common, name.as_bytes()].concat();
        out.write_all(&header)?;
        out.write_all(content)?;
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        // No comment, disk 0, no attributes.
        directory.extend([0; 10]);
        directory.extend((offset as u32).to_le_bytes());
        directory.extend(name.bytes());
        offset += header.len() + content.len();
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (length, start) = ((directory.len() as u32).to_le_bytes(), (offset as u32).to_le_bytes());
    out.write_all(&directory)?;
    out.write_all(&[b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &length, &start, &[0, 0]].concat())
}

/// Which generation of the published code a run looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Current key names, with `module_info` in the config.
    Current,
    /// Older key names, with `C` and `target_module_patterns`: all layers need the same number of components.
    Older,
}

/// Writes a run's folder (which must exist) that reads back as these weights: config, checkpoint `model_1.pth` and
/// `target/` with model config and tokenizer.
///
/// The tokenizer splits at spaces; token `i` of the vocabulary is the word `w<i>`, and token 0 any other word.
///
/// # Panics
///
/// When a file cannot be written, no layer is decomposed, or the style does not allow these numbers of components.
pub fn write_run(folder: &Path, weights: &Weights, style: Style) {
    let target = folder.join("target");
    fs::create_dir_all(&target).unwrap();
    fs::write(folder.join("final_config.yaml"), final_config(weights, style)).unwrap();
    let class = class_of(weights);
    let config = if class.is_of_transformers { config_json(weights) } else { model_config(weights) };
    fs::write(target.join(class.config), config).unwrap();
    fs::write(target.join("tokenizer.json"), tokenizer(weights.architecture.vocab)).unwrap();
    write_pth(&folder.join("model_1.pth"), &state_dict(weights, style));
}

/// Writes a neutral run's folder (which must exist) that reads back as these weights but for their CI function.
///
/// # Panics
///
/// As [`write_run`].
pub fn write_neutral_run(folder: &Path, weights: &Weights) {
    let class = class_of(weights);
    let model = if class.is_of_transformers { config_json(weights) } else { model_config(weights) };
    let mut config = format!(
        "format: tributary-run\nformat_version: 1\nmodel_class: {}\nsigmoid: {}\n",
        weights.architecture.model_class,
        sigmoid(weights)
    );
    // JSON may stand in YAML as it is.
    let indented = model.lines().fold(String::new(), |text, line| text + "  " + line + "\n");
    write!(config, "model_config:\n{indented}components:\n").unwrap();
    for (layer, count) in weights.component_counts() {
        writeln!(config, "  {layer}: {count}").unwrap();
    }
    fs::write(folder.join("run.yaml"), config).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer(weights.architecture.vocab)).unwrap();
    write_safetensors(&folder.join("model.safetensors"), &neutral_tensors(weights));
}

/// The tensors of a neutral run. A tensor that shares the storage of another is left out: the model is tied.
pub fn neutral_tensors(weights: &Weights) -> Vec<StoredTensor> {
    let mut tensors = state_dict(weights, Style::Current);
    tensors.retain_mut(|tensor| {
        let name = match tensor.name.strip_prefix("_components.") {
            Some(component) => format!("components/{}", component.replace('-', ".")),
            None => tensor.name.replacen("target_model.", "target/", 1),
        };
        tensor.name = name;
        tensor.shares.is_none() && !tensor.name.starts_with("_ci_fns.") && !is_bias_of_components(&tensor.name)
    });
    tensors
}

fn is_bias_of_components(name: &str) -> bool {
    name.strip_suffix(".bias").is_some_and(|module| module.starts_with("components/"))
}

/// Writes contiguous tensors in the format of safetensors.
///
/// # Panics
///
/// When the file cannot be written.
pub fn write_safetensors(path: &Path, tensors: &[StoredTensor]) {
    let dtype = |class| match class {
        StorageClass::Float => safetensors::Dtype::F32,
        StorageClass::Half => safetensors::Dtype::F16,
        StorageClass::BFloat16 => safetensors::Dtype::BF16,
        StorageClass::Double => safetensors::Dtype::F64,
        StorageClass::Long => safetensors::Dtype::I64,
    };
    let views = tensors.iter().map(|tensor| {
        let view = safetensors::tensor::TensorView::new(dtype(tensor.class), tensor.shape.clone(), &tensor.bytes);
        (&*tensor.name, view.unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// The tensors of a run's checkpoint, in the order in which the published code saves them.
pub fn state_dict(weights: &Weights, style: Style) -> Vec<StoredTensor> {
    let older = style == Style::Older;
    let class = class_of(weights);
    let model = if older { "patched_model" } else { "target_model" };
    let original = |layer: Layer| if older && weights.decomposed.contains_key(&layer) { "original." } else { "" };
    let end = |layer: Layer| format!("{model}.{layer}.{}weight", original(layer));
    let wte = StoredTensor::array(end(Layer::token_embedding(class.embedding)), &weights.wte);
    let head = end(Layer::unembedding("lm_head"));
    let tied = wte.again(head.clone());
    let mut tensors = vec![wte];
    let mut push = |name: String, array: &Array| tensors.push(StoredTensor::array(name, array));
    if let Some(wpe) = &weights.wpe {
        push(format!("{model}.{}.weight", class.positions), wpe);
    }
    for (&layer, linear) in &weights.linear {
        let original = original(layer);
        let weight = if class.is_transposed { &linear.weight.transposed() } else { &linear.weight };
        push(format!("{model}.{layer}.{original}weight"), weight);
        if let Some(bias) = &linear.bias {
            push(format!("{model}.{layer}.{original}bias"), bias);
        }
    }
    let names = class.norms;
    let blocks = weights.norms.iter().enumerate();
    let norms = blocks.flat_map(|(block, norms)| {
        let path = format!("{}.{block}", class.blocks);
        [(format!("{path}.{}", names[0]), &norms.attention), (format!("{path}.{}", names[1]), &norms.mlp)]
    });
    for (module, norm) in norms.chain([(class.final_norm.to_owned(), &weights.ln_f)]) {
        push(format!("{model}.{module}.weight"), &norm.weight);
        if let Some(bias) = &norm.bias {
            push(format!("{model}.{module}.bias"), bias);
        }
    }
    match &weights.lm_head {
        Some(lm_head) => push(head, lm_head),
        None => tensors.push(tied),
    }
    let mut push = |name: String, array: &Array| tensors.push(StoredTensor::array(name, array));
    // Module dictionaries are sorted by name.
    let decomposed: BTreeMap<String, _> =
        weights.decomposed.iter().map(|(layer, decomposed)| (layer.to_string(), (layer, decomposed))).collect();
    for (name, (layer, matrices)) in &decomposed {
        let dashed = name.replace('.', "-");
        let components = if older { format!("{model}.{name}.components") } else { format!("_components.{dashed}") };
        push(format!("{components}.V"), &matrices.v);
        push(format!("{components}.U"), &matrices.u);
        let bias = weights.linear.get(layer).and_then(|linear| linear.bias.as_ref());
        if let Some(bias) = bias.filter(|_| !older) {
            push(format!("{components}.bias"), bias);
        }
    }
    let functions = if older { "_gates" } else { "_ci_fns" };
    for (name, array) in ci_arrays(&weights.ci_function.network, functions) {
        push(name, &array);
    }
    tensors
}

/// The tensors of a CI function, whose name for functions of single layers is `of_layers`.
fn ci_arrays(network: &CiNetwork, of_layers: &str) -> Vec<(String, Array)> {
    let global = "ci_fn._global_ci_fn";
    let mut arrays = Vec::new();
    match network {
        CiNetwork::Layerwise { layers, .. } => {
            let by_name: BTreeMap<String, _> =
                layers.iter().map(|(layer, arrays)| (layer.to_string(), arrays)).collect();
            for (name, of_layer) in by_name {
                let path = format!("{of_layers}.{}.layers", name.replace('.', "-"));
                arrays.extend(mlp_arrays(&path, &of_layer.read().unwrap()));
            }
        }
        CiNetwork::SharedMlp(of_all) => arrays.extend(mlp_arrays(&format!("{global}.layers"), &of_all.read().unwrap())),
        CiNetwork::SharedTransformer(CiTransformer { projector, blocks, head, .. }) => {
            for (path, linear) in [("_input_projector", projector), ("_output_head", head)] {
                let parameters = ["W", "b"].map(|parameter| format!("{global}.{path}.{parameter}"));
                arrays.extend(parameters.into_iter().zip(linear.read().unwrap().iter().cloned()));
            }
            for (block, of_block) in blocks.iter().enumerate() {
                let (path, of_block) = (format!("{global}._blocks.{block}"), of_block.read().unwrap());
                let names = ["q_proj", "k_proj", "v_proj", "out_proj"];
                let names = names.map(|projection| format!("{path}.attn.{projection}.weight"));
                arrays.extend(names.into_iter().zip(of_block.iter().cloned()));
                arrays.extend(mlp_arrays(&format!("{path}.mlp"), &of_block[4..]));
            }
        }
        CiNetwork::Unknown { .. } => {}
    }
    arrays
}

/// Linear layers have even numbers, the GELUs between them the odd ones.
fn mlp_arrays(path: &str, arrays: &[Array]) -> Vec<(String, Array)> {
    let name = |at: usize| format!("{path}.{}.{}", at - at % 2, ["W", "b"][at % 2]);
    arrays.iter().enumerate().map(|(at, array)| (name(at), array.clone())).collect()
}

/// What a config says of a CI function of single layers.
fn ci_keys(weights: &Weights, style: Style) -> String {
    let hidden = |arrays: &CiArrays| -> Vec<usize> {
        let biases: Vec<usize> =
            arrays.shapes().iter().skip(1).step_by(2).filter_map(|bias| bias.last().copied()).collect();
        biases.split_last().map_or_else(Vec::new, |(_, hidden)| hidden.to_vec())
    };
    let network = &weights.ci_function.network;
    match network {
        CiNetwork::Layerwise { layers, .. } => {
            let (type_key, hidden_key) = match style {
                Style::Current => ("ci_fn_type", "ci_fn_hidden_dims"),
                Style::Older => ("gate_type", "gate_hidden_dims"),
            };
            let hidden = layers.values().next().map(hidden).unwrap_or_default();
            format!("{type_key}: {}\n{hidden_key}: {hidden:?}\n", network.name())
        }
        CiNetwork::SharedMlp(arrays) => {
            format!("ci_config: {{mode: global, fn_type: {}, hidden_dims: {:?}}}\n", network.name(), hidden(arrays))
        }
        CiNetwork::SharedTransformer(CiTransformer { blocks, head, n_heads, rope_base, .. }) => {
            let d_model = head.shapes()[0][0];
            let of_block = CiArrays::Read(blocks[0].read().unwrap()[4..].to_vec());
            format!(
                "ci_config:\n  mode: global\n  fn_type: {}\n  hidden_dims: null\n  simple_transformer_ci_cfg:\n    \
                 d_model: {d_model}\n    n_blocks: {}\n    mlp_hidden_dim: {:?}\n    attn_config: {{n_heads: {n_heads}, \
                 max_len: 128, rope_base: {rope_base}}}\n",
                network.name(),
                blocks.len(),
                hidden(&of_block),
            )
        }
        CiNetwork::Unknown { .. } => "ci_config: {mode: global, fn_type: unknown}\n".to_owned(),
    }
}

fn sigmoid(weights: &Weights) -> &'static str {
    match weights.ci_function.sigmoid {
        Sigmoid::Hard => "leaky_hard",
        Sigmoid::Normal => "normal",
        Sigmoid::UpperLeakyHard => "upper_leaky_hard",
        Sigmoid::SwishHard => "swish_hard",
    }
}

fn final_config(weights: &Weights, style: Style) -> String {
    let mut config = String::new();
    let counts = weights.component_counts();
    match style {
        Style::Current => {
            config += "module_info:\n";
            for (layer, count) in &counts {
                writeln!(config, "- module_pattern: {layer}\n  C: {count}").unwrap();
            }
        }
        Style::Older => {
            let count = counts.values().next().expect("a decomposed layer");
            assert!(counts.values().all(|other| other == count), "the older style has one number of components");
            writeln!(config, "C: {count}\ntarget_module_patterns:").unwrap();
            for layer in counts.keys() {
                writeln!(config, "- {layer}").unwrap();
            }
        }
    }
    config += &ci_keys(weights, style);
    let (sigmoid, class) = (sigmoid(weights), class_of(weights).path);
    write!(
        config,
        "sigmoid_type: {sigmoid}\nsampling: continuous\n\
         use_delta_component: true\nidentity_module_patterns: null\npretrained_model_class: {class}\n\
         pretrained_model_name: wandb:team/project/runs/abc\npretrained_model_path: null\n"
    )
    .unwrap();
    config
}

/// How a class calls its modules, and what describes its models.
struct WrittenClass {
    /// The Python path of the class.
    path: &'static str,
    config: &'static str,
    is_of_transformers: bool,
    embedding: &'static str,
    positions: &'static str,
    blocks: &'static str,
    norms: [&'static str; 2],
    final_norm: &'static str,
    is_transposed: bool,
}

fn class_of(weights: &Weights) -> WrittenClass {
    let simple = WrittenClass {
        path: "simple_stories_train.models.gpt2_simple.GPT2Simple",
        config: "model_config.yaml",
        is_of_transformers: false,
        embedding: "wte",
        positions: "wpe",
        blocks: "h",
        norms: ["ln_1", "ln_2"],
        final_norm: "ln_f",
        is_transposed: false,
    };
    match weights.architecture.model_class.as_str() {
        "GPT2Simple" => simple,
        "GPT2" => WrittenClass { path: "spd.pretrain.models.gpt2.GPT2", blocks: "h_torch", ..simple },
        "LlamaSimpleMLP" => WrittenClass {
            path: "simple_stories_train.models.llama_simple_mlp.LlamaSimpleMLP",
            norms: ["rms_1", "rms_2"],
            ..simple
        },
        "LlamaSimple" => WrittenClass {
            path: "param_decomp.pretrain.models.llama_simple.LlamaSimple",
            norms: ["rms_1", "rms_2"],
            ..simple
        },
        "GPT2LMHeadModel" => WrittenClass {
            path: "transformers.GPT2LMHeadModel",
            config: "config.json",
            is_of_transformers: true,
            embedding: "transformer.wte",
            positions: "transformer.wpe",
            blocks: "transformer.h",
            final_norm: "transformer.ln_f",
            is_transposed: true,
            ..simple
        },
        "LlamaForCausalLM" => WrittenClass {
            path: "transformers.LlamaForCausalLM",
            config: "config.json",
            is_of_transformers: true,
            embedding: "model.embed_tokens",
            blocks: "model.layers",
            norms: ["input_layernorm", "post_attention_layernorm"],
            final_norm: "model.norm",
            ..simple
        },
        other => panic!("{other} is no class that is written"),
    }
}

/// As the `transformers` library describes a model.
fn config_json(weights: &Weights) -> String {
    let Architecture {
        model_class, n_blocks, d_model, n_heads, n_kv_heads, d_head, d_mlp, vocab, max_positions, ..
    } = &weights.architecture;
    let activation = match weights.architecture.activation {
        Activation::GeluTanh => "gelu_new",
        Activation::Gelu => "gelu",
        Activation::Silu => "silu",
    };
    let config = match (weights.architecture.norm, weights.architecture.position_encoding) {
        (Norm::RmsNorm { eps }, PositionEncoding::Rotary { base, scaling, .. }) => {
            let scaling = match scaling {
                RopeScaling::None => serde_json::Value::Null,
                RopeScaling::Linear { factor } => serde_json::json!({"type": "linear", "factor": factor}),
                RopeScaling::Llama3 { factor, low, high, original_positions } => serde_json::json!({
                    "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                    "original_max_position_embeddings": original_positions,
                }),
            };
            let has_bias = |role| weights.linear[&weights.architecture.layer(0, role)].bias.is_some();
            serde_json::json!({
                "architectures": [model_class], "hidden_size": d_model, "intermediate_size": d_mlp,
                "num_hidden_layers": n_blocks, "num_attention_heads": n_heads, "num_key_value_heads": n_kv_heads,
                "head_dim": d_head, "max_position_embeddings": max_positions, "vocab_size": vocab, "rms_norm_eps": eps,
                "rope_theta": base, "rope_scaling": scaling, "hidden_act": activation,
                "attention_bias": has_bias(Role::Query), "mlp_bias": has_bias(Role::MlpUp), "pretraining_tp": 1,
            })
        }
        (Norm::LayerNorm { eps }, PositionEncoding::Learned) => serde_json::json!({
            "architectures": [model_class], "n_layer": n_blocks, "n_head": n_heads, "n_embd": d_model, "n_inner": d_mlp,
            "n_positions": max_positions, "n_ctx": max_positions, "vocab_size": vocab, "layer_norm_epsilon": eps,
            "activation_function": activation, "summary_type": "cls_index",
        }),
        other => panic!("no class of transformers has {other:?}"),
    };
    serde_json::to_string_pretty(&config).unwrap()
}

fn model_config(weights: &Weights) -> String {
    let Architecture { model_class, n_blocks, d_model, n_heads, n_kv_heads, d_mlp, vocab, max_positions, .. } =
        &weights.architecture;
    let mut config = format!(
        "model_type: {model_class}\nblock_size: {max_positions}\nvocab_size: {vocab}\nn_layer: {n_blocks}\n\
         n_head: {n_heads}\nn_embd: {d_model}\nflash_attention: false\n"
    );
    if let (Norm::RmsNorm { eps }, PositionEncoding::Rotary { base, adjacent_pairs, .. }) =
        (weights.architecture.norm, weights.architecture.position_encoding)
    {
        let has_bias = |role| weights.linear[&weights.architecture.layer(0, role)].bias.is_some();
        let (attn_bias, mlp_bias) = (has_bias(Role::AttentionOutput), has_bias(Role::MlpUp));
        let d_head = weights.architecture.d_head;
        write!(
            config,
            "n_ctx: {max_positions}\nn_intermediate: {d_mlp}\nn_key_value_heads: {n_kv_heads}\nrotary_dim: {d_head}\n\
             rotary_base: {base}\nrotary_adjacent_pairs: {adjacent_pairs}\nrms_norm_eps: {eps}\n\
             attn_bias: {attn_bias}\nmlp_bias: {mlp_bias}\nuse_grouped_query_attention: {}\n",
            !weights.architecture.linear_layers().any(|layer| layer.role() == Role::QueryKeyValue)
        )
        .unwrap();
    }
    config
}

fn tokenizer(vocab: usize) -> String {
    let words: serde_json::Map<String, serde_json::Value> =
        (0..vocab).map(|token| (format!("w{token}"), token.into())).collect();
    serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"},
    })
    .to_string()
}

/// Modules of a block that has one layer for queries, keys and values.
const FUSED: [(Role, &str); 4] = [
    (Role::QueryKeyValue, "attn.c_attn"),
    (Role::AttentionOutput, "attn.c_proj"),
    (Role::MlpUp, "mlp.c_fc"),
    (Role::MlpDown, "mlp.c_proj"),
];

/// Modules of a block of Llama in `transformers`.
const LLAMA: [(Role, &str); 7] = [
    (Role::Query, "self_attn.q_proj"),
    (Role::Key, "self_attn.k_proj"),
    (Role::Value, "self_attn.v_proj"),
    (Role::AttentionOutput, "self_attn.o_proj"),
    (Role::MlpGate, "mlp.gate_proj"),
    (Role::MlpUp, "mlp.up_proj"),
    (Role::MlpDown, "mlp.down_proj"),
];

/// What random weights look like.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomWeights {
    /// Their shape.
    pub architecture: Architecture,
    /// Number of components of each decomposed layer; at least one layer.
    pub components: BTreeMap<Layer, usize>,
    /// What the CI functions read.
    pub ci_input: CiInput,
    /// Widths of their hidden layers.
    pub ci_hidden: Vec<usize>,
    /// Their last step.
    pub sigmoid: Sigmoid,
    /// Whether the unembedding is the token embedding.
    pub tied: bool,
    /// Equal seeds give equal weights.
    pub seed: u64,
}

impl RandomWeights {
    /// A two-block `GPT2Simple` of width 8 with all layers decomposed into 5 components and a `shared_mlp`.
    pub fn gpt2_simple(seed: u64) -> Self {
        Self::of(Architecture {
            model_class: "GPT2Simple".to_owned(),
            n_blocks: 2,
            d_model: 8,
            n_heads: 2,
            n_kv_heads: 2,
            d_head: 4,
            d_mlp: 32,
            vocab: 11,
            max_positions: 6,
            norm: Norm::LayerNorm { eps: 1e-5 },
            position_encoding: PositionEncoding::Learned,
            activation: Activation::GeluTanh,
            linear: published_layers(2, 8, 8, 32, Biases { attention: true, mlp: true }),
        })
        .seeded(seed)
    }

    /// A two-block `LlamaSimpleMLP` of width 8 with two query heads to a kv head; otherwise as
    /// [`gpt2_simple`](Self::gpt2_simple), without biases.
    pub fn llama_simple_mlp(seed: u64) -> Self {
        Self::of(Architecture {
            model_class: "LlamaSimpleMLP".to_owned(),
            n_blocks: 2,
            d_model: 8,
            n_heads: 2,
            n_kv_heads: 1,
            d_head: 4,
            d_mlp: 12,
            vocab: 11,
            max_positions: 6,
            norm: Norm::RmsNorm { eps: 1e-6 },
            position_encoding: PositionEncoding::Rotary {
                base: 10_000.0,
                adjacent_pairs: false,
                scaling: RopeScaling::None,
            },
            activation: Activation::GeluTanh,
            linear: published_layers(2, 8, 4, 12, Biases { attention: false, mlp: false }),
        })
        .seeded(seed)
    }

    /// The same of the class of this name, with all that is particular to it.
    ///
    /// # Panics
    ///
    /// When there is no such class.
    pub fn of_class(class: &str, seed: u64) -> Self {
        let blocks = |of_block: &[(Role, &str)], blocks: &str| -> Vec<Layer> {
            let layer = |block, &(role, module): &(Role, &str)| {
                Layer::linear(block, role, &format!("{blocks}.{block}.{module}"))
            };
            (0..2).flat_map(|block| of_block.iter().map(move |module| layer(block, module))).collect()
        };
        let (gpt2, llama) = (Self::gpt2_simple(seed).architecture, Self::llama_simple_mlp(seed).architecture);
        let (biases, none) = (Biases { attention: true, mlp: true }, Biases { attention: false, mlp: false });
        let mut architecture = match class {
            "GPT2Simple" => gpt2,
            "LlamaSimpleMLP" => llama,
            "GPT2" => Architecture { linear: with_widths(blocks(&FUSED, "h_torch"), [8, 8, 8, 32], biases), ..gpt2 },
            "LlamaSimple" => Architecture {
                activation: Activation::Silu,
                linear: with_widths(gated_blocks(2), [8, 8, 4, 12], none),
                ..llama
            },
            "GPT2LMHeadModel" => Architecture {
                norm: Norm::LayerNorm { eps: 1e-6 },
                activation: Activation::Gelu,
                d_mlp: 20,
                linear: with_widths(blocks(&FUSED, "transformer.h"), [8, 8, 8, 20], biases),
                ..gpt2
            },
            "LlamaForCausalLM" => Architecture {
                d_head: 6,
                activation: Activation::Silu,
                position_encoding: PositionEncoding::Rotary {
                    base: 500.0,
                    adjacent_pairs: false,
                    scaling: RopeScaling::Llama3 { factor: 4.0, low: 0.5, high: 2.0, original_positions: 4.0 },
                },
                linear: with_widths(blocks(&LLAMA, "model.layers"), [8, 12, 6, 12], Biases { mlp: false, ..biases }),
                ..llama
            },
            other => panic!("{other} is no class"),
        };
        class.clone_into(&mut architecture.model_class);
        Self::of(architecture).seeded(seed)
    }

    /// The same with embedding and unembedding decomposed.
    #[must_use]
    pub fn with_ends(mut self) -> Self {
        let weights = self.weights();
        let class = class_of(&weights);
        let &mut Architecture { vocab, d_model, ref mut linear, .. } = &mut self.architecture;
        let end = |layer, d_in, d_out| LinearLayer { layer, d_in, d_out, has_bias: false };
        linear.insert(0, end(Layer::token_embedding(class.embedding), vocab, d_model));
        linear.push(end(Layer::unembedding("lm_head"), d_model, vocab));
        for layer in [Layer::token_embedding(class.embedding), Layer::unembedding("lm_head")] {
            self.components.insert(layer, 5);
        }
        self
    }

    fn of(architecture: Architecture) -> Self {
        Self {
            components: architecture.linear_layers().map(|layer| (layer, 5)).collect(),
            architecture,
            ci_input: CiInput::SharedVector,
            ci_hidden: vec![3],
            sigmoid: Sigmoid::Hard,
            tied: true,
            seed: 0,
        }
    }

    fn seeded(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The weights, uniform in [-1, 1); norm weights in [1/2, 3/2).
    pub fn weights(&self) -> Weights {
        let architecture = &self.architecture;
        let mut random = Random(self.seed);
        let d_model = architecture.d_model;
        let embedding = [architecture.vocab, d_model];
        let is_layer_norm = matches!(architecture.norm, Norm::LayerNorm { .. });
        let is_learned = architecture.position_encoding == PositionEncoding::Learned;
        let norm = |random: &mut Random| NormWeights {
            weight: random.array(&[d_model], |uniform| 1.0 + uniform / 2.0),
            bias: is_layer_norm.then(|| random.uniform(&[d_model])),
        };
        let norms = (0..architecture.n_blocks)
            .map(|_| BlockNorms { attention: norm(&mut random), mlp: norm(&mut random) })
            .collect();
        let ln_f = norm(&mut random);
        let mut linear = BTreeMap::new();
        let (mut decomposed, mut ci_layers) = (BTreeMap::new(), BTreeMap::new());
        for &LinearLayer { layer, d_in, d_out, has_bias } in &architecture.linear {
            if layer.role().is_in_block() {
                let weight = random.uniform(&[d_out, d_in]);
                linear.insert(layer, LinearWeights { weight, bias: has_bias.then(|| random.uniform(&[d_out])) });
            }
            if let Some(&count) = self.components.get(&layer) {
                let components = Components { v: random.uniform(&[d_in, count]), u: random.uniform(&[count, d_out]) };
                // Of an embedding, which reads tokens, the function reads the activations.
                let width = if layer.role() == Role::TokenEmbedding { count } else { d_in };
                ci_layers.insert(layer, self.ci_arrays(width, count, &mut random));
                decomposed.insert(layer, components);
            }
        }
        Weights {
            architecture: architecture.clone(),
            wte: random.uniform(&embedding),
            wpe: is_learned.then(|| random.uniform(&[architecture.max_positions, d_model])),
            rotary: None,
            norms,
            ln_f,
            lm_head: (!self.tied).then(|| random.uniform(&embedding)),
            linear,
            decomposed,
            ci_function: CiFunction {
                network: CiNetwork::Layerwise { input: self.ci_input, layers: ci_layers },
                sigmoid: self.sigmoid,
            },
        }
    }

    /// The weights with rows of V and U of size 1 rather than sqrt(d), as in a trained model: otherwise every softmax has one
    /// winner.
    pub fn scaled_weights(&self) -> Weights {
        let mut weights = self.weights();
        for layer in weights.decomposed.values_mut() {
            for matrix in [&mut layer.v, &mut layer.u] {
                let scale = 1.0 / (matrix.shape[0] as f32).sqrt();
                let Values::F32(values) = &mut matrix.values else { panic!("random weights are float32") };
                for value in values {
                    *value *= scale;
                }
            }
        }
        weights
    }

    fn ci_arrays(&self, d_in: usize, count: usize, random: &mut Random) -> CiArrays {
        let (first, last, networks) = match self.ci_input {
            CiInput::SharedVector => (d_in, count, vec![]),
            CiInput::Vector => (d_in, 1, vec![count]),
            CiInput::Activation => (1, 1, vec![count]),
        };
        let mut widths = vec![first];
        widths.extend(&self.ci_hidden);
        widths.push(last);
        let arrays = widths.windows(2).flat_map(|pair| {
            let weight = random.uniform(&[&networks, pair].concat());
            [weight, random.uniform(&[&networks, &pair[1..]].concat())]
        });
        CiArrays::Read(arrays.collect())
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014), so that tests need no crate for this.
struct Random(u64);

impl Random {
    /// A number in [-1, 1), a multiple of 2^-23.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn array(&mut self, shape: &[usize], value: impl Fn(f32) -> f32) -> Array {
        Array::new(shape, (0..shape.iter().product()).map(|_| value(self.next())).collect())
    }

    fn uniform(&mut self, shape: &[usize]) -> Array {
        self.array(shape, |uniform| uniform)
    }
}
