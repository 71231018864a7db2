"""Writes a run of the JAX code of goodfire-ai/param-decomp as a neutral run folder, which tributary reads.

    python tools/export_jax_run.py RUN_DIR OUT [--target DIR] [--tokenizer FILE] [--prompt TEXT | --tokens 1,2,3]...

OUT gets run.yaml, model.safetensors and tokenizer.json, which docs/runs.md describes, and with prompts ci.json: their causal
importances, which tributary reads as CI sets. Needs numpy, safetensors, pyyaml and orbax-checkpoint; causal importances are
computed by the run's own code, so --prompt and --tokens also need the package param_decomp as it was for the run, and
--prompt the package tokenizers.

What is known of the layout is in the section "The layout", each fact with the file of that repository it was read in, at the
commit 017a17af. What those files say is certain; nothing here was run on a run that the code itself has trained.
"""

import argparse
import contextlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

try:
    import ml_dtypes  # JAX depends on it, and so does orbax.
    import numpy as np
    import orbax.checkpoint as ocp
    import yaml
    from safetensors import safe_open
except ImportError as error:
    sys.exit(f"error: {error}; pip install numpy safetensors pyyaml orbax-checkpoint")


class ExportError(Exception):
    """What is wrong with the input, for the person who named it."""


def check(is_right, place, problem):
    if not is_right:
        raise ExportError(f"{place}: {problem}")


def section(keys, file, path):
    """The keys with values that stand under a path of keys, none where it is not there."""
    for depth, key in enumerate(path.split("."), 1):
        keys = {} if keys.get(key) is None else keys[key]
        place = ".".join(path.split(".")[:depth])
        check(isinstance(keys, dict), file, f"{place}: is {keys!r}, expected keys with values")
    return keys


# ------------------------------------------------------------------ The layout

# experiments/lm/run_data.py: the first of these that is there says what the run is; core/run_files.py names the second.
DOCUMENTS = ["deliverable.yaml", "launch_config.yaml"]

# targets/llama_simple_mlp.py and targets/transformer.py: by the kind of the sites, which matrices there are, the module of
# each within a block, and where blocks are. The names of sites are those of modules; those of "glu_transformer" lack "model.".
FAMILIES = {
    "simple_mlp": (
        "h",
        {name: f"attn.{name}" for name in ["q_proj", "k_proj", "v_proj", "o_proj"]}
        | {name: f"mlp.{name}" for name in ["c_fc", "down_proj"]},
    ),
    "glu_transformer": (
        "layers",
        {name: f"self_attn.{name}_proj" for name in ["q", "k", "v", "o"]}
        | {name: f"mlp.{name}_proj" for name in ["gate", "up", "down"]},
    ),
}

# experiments/lm/config.py, resolve_decomposition: the last part of target.spec.model_class. VendoredLlama is another
# implementation of LlamaForCausalLM, with weights of the same names.
CLASSES = {
    "LlamaSimpleMLP": "LlamaSimpleMLP",
    "LlamaForCausalLM": "LlamaForCausalLM",
    "VendoredLlama": "LlamaForCausalLM",
}

# targets/*.py: the frozen target is not in the checkpoint, and its weights are cast to target.weights_dtype when it is loaded,
# norms and embeddings too. Before that key was there, it was bfloat16 (param_decomp_lab/experiments/lm/load_run.py, 030bc99d).
DTYPES = {"bfloat16": ("BF16", ml_dtypes.bfloat16), "float32": ("F32", np.float32)}


def read_document(run):
    """What the run's config says, and the file it is in."""
    check(run.is_dir(), run, "is not a folder; expected the folder of a run, which holds launch_config.yaml and ckpts")
    file = next((run / name for name in DOCUMENTS if (run / name).is_file()), None)
    problem = f"holds neither {DOCUMENTS[0]} nor {DOCUMENTS[1]}; is it the folder of a run of the JAX code?"
    check(file is not None, run, problem)
    return read_mapping(file), file


def model_class(spec, file):
    """The class of the target model, as tributary calls it."""
    name = str(spec.get("model_class", spec.get("kind"))).rsplit(".", 1)[-1]
    known = ", ".join(CLASSES)
    check(name in CLASSES, file, f"target.spec.model_class: {name} is not supported; supported are {known}")
    return CLASSES[name]


def pretrain_folder(spec, data_root, file):
    """infra/pretrain_cache.py: where a target model that was trained there lies, by `entity/project[/runs]/run_id`."""
    path = [part for part in str(spec.get("run_path", "")).split("/") if part and part != "runs"]
    check(len(path) == 3, file, f"target.spec.run_path: is {spec.get('run_path')!r}, expected entity/project/runs/run_id")
    return data_root / "pretrain_cache" / f"{path[1]}-{path[2]}"


def selected_layers(layers, n_layers, file):
    """experiments/lm/config.py, _select_layers: which blocks have sites."""
    kind = layers.get("kind")
    chosen = {
        "all": lambda: list(range(n_layers)),
        "range": lambda: list(range(layers["start"], layers["end"])),
        "list": lambda: list(layers["indices"]),
    }
    check(kind in chosen, file, f"decomposition.sites.layers.kind: is {kind!r}, expected all, range or list")
    try:
        indices = chosen[kind]()
        fits = bool(indices) and all(0 <= index < n_layers for index in indices)
    except (KeyError, TypeError) as error:
        raise ExportError(f"{file}: decomposition.sites.layers: cannot be read: {error!r}") from None
    check(fits, file, f"decomposition.sites.layers: names layers {indices}, but the target model has {n_layers}")
    return indices


def sites_of_stacks(stacks, document, n_layers, file):
    """core/components.py: V and U of each site, out of `{matrix: (V [site, d_in, C], U [site, C, d_out])}`. The sites of a
    matrix are stacked by ascending block; all-zero matrices may follow, which fill the stack up for sharding."""
    kind = section(document, file, "decomposition.sites").get("kind")
    known = ", ".join(FAMILIES)
    check(kind in FAMILIES, file, f"decomposition.sites.kind: {kind} is not supported; supported are {known}")
    blocks, modules = FAMILIES[kind]
    layers = selected_layers(section(document, file, "decomposition.sites.layers"), n_layers, file)
    counts = section(document, file, "decomposition.sites.cs")
    problem = f"decomposition.sites.cs: names {sorted(map(str, counts))}, but the checkpoint holds {sorted(stacks)}"
    check(set(counts) == set(stacks), file, problem)
    found = {}
    for matrix, (v, u) in stacks.items():
        problem = f"decomposition.sites.cs: {matrix} is no matrix of {kind}, which has {', '.join(modules)}"
        check(matrix in modules, file, problem)
        shape = f"V of shape {list(v.shape)} and U of shape {list(u.shape)}"
        is_stack = v.ndim == u.ndim == 3 and len(v) == len(u) >= len(layers)
        problem = f"{len(layers)} sites of {matrix} with {counts[matrix]} components, but the checkpoint holds {shape}"
        check(is_stack and v.shape[2] == u.shape[1] == counts[matrix], file, f"decomposition.sites: {problem}")
        is_filling = not (v[len(layers) :].any() or u[len(layers) :].any())
        problem = f"{len(layers)} layers, but the checkpoint holds more sites of {matrix}, which are not zero: {shape}"
        check(is_filling, file, f"decomposition.sites.layers: {problem}")
        found |= {f"{blocks}.{layer}.{modules[matrix]}": (v[at], u[at]) for at, layer in enumerate(layers)}
    return found


def read_components(run, step, document, n_layers, file):
    """core/checkpoint.py and core/train.py: V and U of each site, by its name, and the step. A checkpoint is
    `ckpts/STEP/decomposition`, an orbax item of `components` and `ci_fn`; of older runs `ckpts/STEP/default`, which holds the
    state of training beside them. `components` is one dict: `stacks` or, in older runs, `vu`, pairs by site."""
    folder = run / "ckpts"
    steps = sorted(int(entry.name) for entry in folder.glob("*") if entry.name.isdigit())
    check(steps, folder, "holds no checkpoint; expected a folder with the number of a step as its name")
    step = steps[-1] if step is None else step
    check(step in steps, folder, f"holds no checkpoint of step {step}; it has {', '.join(map(str, steps))}")
    items = [folder / str(step) / name for name in ["decomposition", "default"]]
    item = next((item for item in items if item.is_dir()), None)
    problem = "holds neither decomposition nor default; was the checkpoint written whole?"
    check(item is not None, folder / str(step), problem)
    try:
        checkpointer = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
        metadata = checkpointer.metadata(item.resolve()).item_metadata
        check(metadata is not None, item, "holds no item that orbax knows; was the checkpoint written whole?")
        components = metadata.tree.get("components", {})
        kind = next((kind for kind in ["stacks", "vu"] if kind in components), None)
        check(kind is not None, item, f"components: holds {sorted(components)}, expected stacks or vu")
        wanted = {group: (0, 0) for group in components[kind]}
        wanted = {"components": {kind: wanted}}
        # As arrays of this machine, on however many devices they were trained; the rest of the item is not read.
        as_numpy = {group: (ocp.RestoreArgs(restore_type=np.ndarray),) * 2 for group in components[kind]}
        how = {"components": {kind: as_numpy}}
        arguments = ocp.args.PyTreeRestore(item=wanted, restore_args=how, partial_restore=True)
        groups = checkpointer.restore(item.resolve(), args=arguments)["components"][kind]
    except ExportError:
        raise
    except Exception as error:  # Of whatever kind: the item may be damaged in any way.
        raise ExportError(f"{item}: orbax cannot read it: {error}") from error
    groups = {group: tuple(np.asarray(array) for array in pair) for group, pair in groups.items()}
    return (groups if kind == "vu" else sites_of_stacks(groups, document, n_layers, file)), step


def module_of_site(site):
    """The module of the target model that a site is."""
    return f"model.{site}" if site.startswith("layers.") else site


def causal_importances(run, step, data_root, prompts):
    """experiments/lm/load_run.py, core/model.py and core/ci_fn/runtime.py: of prompts of tokens, by the name of a site, as the
    code itself computes them, `lower` being those between 0 and 1 that masks are made of."""
    try:
        import jax
        from param_decomp.core.ci_fn.runtime import evaluate_ci_from_captures
        from param_decomp.experiments.lm.load_run import SINGLE_DEVICE_RESIDENT_LAYOUT, open_run
        from param_decomp.lm.batch import LMBatchWithDocuments
    except ImportError as error:
        raise ExportError(
            f"--prompt, --tokens: causal importances are computed by the run's own code, which is not there: {error}; install "
            "param-decomp at the commit of the run, or leave the prompts out and give tributary a CI file from elsewhere"
        ) from None
    opened = open_run(run.resolve(), step, data_root=data_root.resolve(), layout=SINGLE_DEVICE_RESIDENT_LAYOUT)
    found = []
    with jax.set_mesh(opened.mesh):
        for tokens in prompts:
            batch = LMBatchWithDocuments.from_unsegmented_sequences(jax.numpy.asarray([tokens], dtype=jax.numpy.int32))
            clean = opened.placed.clean_forward(batch, opened.prepared_ci_fn.capture_keys)
            ci = evaluate_ci_from_captures(
                opened.prepared_ci_fn,
                clean.captures,
                clean.conditioning,
                opened.prepared_weights,
                sequence=clean.sequence,
                remat=False,
            )
            found.append({site: np.asarray(values, np.float32)[0] for site, values in ci.lower.items()})
    return found


# ------------------------------------------------------------ The target model


def read_mapping(file):
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ExportError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    check(isinstance(found, dict), file, "holds no keys with values")
    return found


def target_files(folder, is_of_transformers):
    """The description of the target model, and the files with its weights."""
    config = folder / ("config.json" if is_of_transformers else "model_config.yaml")
    check(config.is_file(), config, "not found; name the folder of the target model with --target")
    index = folder / "model.safetensors.index.json"
    if is_of_transformers and index.is_file():
        names = sorted(set(read_mapping(index).get("weight_map", {}).values()))
        weights = [folder / Path(name).name for name in names]
    else:
        weights = sorted(folder.glob("model.safetensors" if is_of_transformers else "model_step_*.safetensors"))
        check(len(weights) == 1, folder, f"holds {len(weights)} files of weights, expected one")
    for file in weights:
        check(file.is_file(), file, f"not found; {index.name} lists it, so fetch it too")
    return config, weights


def target_tensors(files, dtype):
    """Name, type, shape and content of each tensor, the content to be read when it is written."""
    name_of_dtype, dtype = DTYPES[dtype]


    def read(file, name):
        with safe_open(file, framework="numpy") as handle:
            return np.ascontiguousarray(handle.get_tensor(name), dtype=dtype)

    for file in files:
        try:
            with safe_open(file, framework="numpy") as handle:
                shapes = {name: list(handle.get_slice(name).get_shape()) for name in handle.keys()}
        except Exception as error:  # Its own type, which is not that of other errors.
            raise ExportError(f"{file}: cannot be read as safetensors: {error}; fetch it again") from None
        for name, shape in shapes.items():
            yield f"target/{name}", name_of_dtype, shape, dtype, lambda file=file, name=name: read(file, name)


# ---------------------------------------------------------------- The neutral run


def write_tensors(file, tensors):
    """A safetensors file, one tensor in memory at a time: a length, a JSON header, the tensors."""
    header, end = {}, 0
    for name, name_of_dtype, shape, dtype, _ in tensors:
        check(name not in header, name, "is in two files of the target model")
        begin, end = end, end + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        header[name] = {"dtype": name_of_dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as out:
        out.write(len(text).to_bytes(8, "little"))
        out.write(text)
        for *_, read in tensors:
            out.write(read().tobytes())


def tokenised(tokenizer, prompts):
    """Text and tokens of prompts that are texts or tokens; no text where it would have other tokens."""
    if not prompts:
        return []
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ExportError(f"--prompt, --tokens: need the package tokenizers: {error}") from None
    encoder = Tokenizer.from_file(str(tokenizer))
    encode = lambda text: encoder.encode(text, add_special_tokens=False).ids
    found = []
    for prompt in prompts:
        text = prompt if isinstance(prompt, str) else encoder.decode(prompt, skip_special_tokens=False)
        tokens = encode(text) if isinstance(prompt, str) else prompt
        check(tokens, f"--prompt {text!r}", "has no tokens")
        found.append((text if encode(text) == tokens else None, tokens))
    return found


def ci_file(prompts, importances):
    samples = {}
    for number, ((text, tokens), sites) in enumerate(zip(prompts, importances, strict=True)):
        values = {module_of_site(site): ci.tolist() for site, ci in sites.items()}
        samples[f"prompt_{number}"] = {"prompt": text} if text is not None else {}
        samples[f"prompt_{number}"] |= {"tokens": tokens, "ci_vals": values}
    return {"samples": samples}


@contextlib.contextmanager
def whole_folder(out):
    """A folder that becomes `out` when all of it is written, and nothing where something fails."""
    check(not os.path.lexists(out), out, "is there already; name a folder that is not, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def export(arguments):
    run, out = arguments.run, arguments.out
    document, file = read_document(run)
    target, spec = section(document, file, "target"), section(document, file, "target.spec")
    name = model_class(spec, file)
    dtype = target.get("weights_dtype", "bfloat16")
    check(dtype in DTYPES, file, f"target.weights_dtype: is {dtype!r}, expected one of {', '.join(DTYPES)}")
    data_root = arguments.data_root or run.resolve().parent.parent
    folder, is_of_transformers = arguments.target, name == "LlamaForCausalLM"
    if folder is None:
        problem = f"is {spec.get('model_name')!r}; fetch that model and name its folder with --target"
        check(not is_of_transformers, file, f"target.spec.model_name: {problem}")
        folder = pretrain_folder(spec, data_root, file)
    config, weights = target_files(folder, is_of_transformers)
    description = read_mapping(config)
    n_layers = description.get("num_hidden_layers" if is_of_transformers else "n_layer")
    check(type(n_layers) is int, config, f"has {n_layers!r} blocks, expected a number")
    tokenizer = arguments.tokenizer or folder / "tokenizer.json"
    check(tokenizer.is_file(), tokenizer, "not found; name the tokenizer.json of the target model with --tokenizer")
    components, step = read_components(run, arguments.step, document, n_layers, file)
    prompts = tokenised(tokenizer, arguments.prompts)
    importances = causal_importances(run, step, data_root, [tokens for _, tokens in prompts]) if prompts else []

    with whole_folder(out) as written:
        tensors = list(target_tensors(weights, dtype))
        for site, factors in components.items():
            for factor, array in zip("VU", factors, strict=True):
                array = np.ascontiguousarray(array, dtype=np.float32)
                name_of_factor = f"components/{module_of_site(site)}.{factor}"
                tensors.append((name_of_factor, "F32", list(array.shape), np.float32, lambda array=array: array))
        write_tensors(written / "model.safetensors", tensors)
        shutil.copyfile(tokenizer, written / "tokenizer.json")
        config = {
            "format": "tributary-run",
            "format_version": 1,
            "source": {"code": "goodfire-ai/param-decomp (JAX)", "run": run.resolve().name, "step": step},
            "model_class": name,
            "model_config": description,
            "components": {module_of_site(site): int(v.shape[1]) for site, (v, _) in components.items()},
            "tokenizer": "tokenizer.json",
        }
        (written / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        if prompts:
            (written / "ci.json").write_text(json.dumps(ci_file(prompts, importances)), encoding="utf-8")


def token_ids(text):
    if not re.fullmatch(r"\d+([,\s]+\d+)*", text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of token ids, such as 1,2,3")
    return [int(token) for token in re.split(r"[,\s]+", text.strip())]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    of_run, of_out = "folder of the run, with launch_config.yaml and ckpts", "folder that is written; it must not be there"
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help=of_run)
    parser.add_argument("out", type=Path, metavar="OUT", help=of_out)
    parser.add_argument("--step", type=int, help="step of the checkpoint; the largest unless given")
    for flag, what in [
        ("--target", "folder of the target model; pretrain_cache/... of the data root unless given"),
        ("--tokenizer", "tokenizer.json of the target model; the one in its folder unless given"),
        ("--data-root", "the data root of the code; the folder above runs/ unless given"),
    ]:
        parser.add_argument(flag, type=Path, help=what)
    for flag, kind, metavar in [("--prompt", str, "TEXT"), ("--tokens", token_ids, "IDS")]:
        help = "a prompt whose causal importances go into ci.json; may be given several times"
        parser.add_argument(flag, dest="prompts", type=kind, metavar=metavar, action="append", default=[], help=help)
    # Of what is missing, the errors here speak.
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        export(parser.parse_args())
    except (ExportError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
