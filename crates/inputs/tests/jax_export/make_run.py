"""Writes a run as the JAX code of goodfire-ai/param-decomp lays it out, with the numbers of a neutral run.

    make_run.py NEUTRAL DATA_ROOT WEIGHTS_DTYPE stacks|vu

Classes here have the names of fields that those of the code have, which is what orbax saves of them.
"""

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

# Four devices, where the exporter has one.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import yaml
from jax.sharding import NamedSharding, PartitionSpec
from safetensors.numpy import load_file, save_file


def node(cls):
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@node
class Stacks:
    stacks: dict


@node
class ByRole:
    vu: dict


@node
class Decomposition:
    components: object
    ci_fn: object


@node
class TrainState:
    components: object
    ci_fn: object
    step: object


neutral, root, dtype, layout = sys.argv[1:]
neutral, root = Path(neutral), Path(root)
run = root / "runs" / "p-1"
run.mkdir(parents=True)
config = yaml.safe_load((neutral / "run.yaml").read_text())
tensors = load_file(neutral / "model.safetensors")

# The target model, which is not in the checkpoint.
is_llama = config["model_class"] == "LlamaForCausalLM"
target = root / ("llama" if is_llama else "pretrain_cache/project-t1")
target.mkdir(parents=True)
weights = {name.removeprefix("target/"): tensor for name, tensor in tensors.items() if name.startswith("target/")}
save_file(weights, target / ("model.safetensors" if is_llama else "model_step_10.safetensors"))
if is_llama:
    (target / "config.json").write_text(json.dumps(config["model_config"]))
    spec = {"kind": "hf", "model_class": "transformers.LlamaForCausalLM", "model_name": "somebody/model"}
else:
    (target / "model_config.yaml").write_text(yaml.safe_dump(config["model_config"]))
    spec = {"kind": "pretrained", "model_class": "a.b.LlamaSimpleMLP", "run_path": "team/project/runs/t1"}
shutil.copyfile(neutral / "tokenizer.json", root / "tokenizer.json")

# Sites by matrix, blocks ascending; a stack is filled up to a multiple of 4.
sites = {site.removeprefix("model."): count for site, count in config["components"].items()}
factors = {site: tuple(tensors[f"components/{'model.' if is_llama else ''}{site}.{f}"] for f in "VU") for site in sites}
matrices, blocks = {}, set()
for site in sites:
    _, block, *_, matrix = site.split(".")
    matrices.setdefault(matrix.removesuffix("_proj") if is_llama else matrix, {})[int(block)] = site
    blocks.add(int(block))
stacks = {
    matrix: tuple(
        jnp.concatenate([stack := jnp.stack([factors[of_block[b]][f] for b in sorted(of_block)]),
                         jnp.zeros((-len(stack) % 4, *stack.shape[1:]))])
        for f in range(2)
    )
    for matrix, of_block in matrices.items()
}
ci_fn = {"weight": jnp.ones((3, 2))}
manager = ocp.CheckpointManager(
    (run / "ckpts").resolve(), options=ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
)
for step, scale in [(5, 0.0), (20, 1.0)]:
    if layout == "stacks":
        # The code shards stacks over devices.
        over_devices = NamedSharding(jax.make_mesh((4,), ("fsdp",)), PartitionSpec("fsdp"))
        scaled = jax.tree.map(lambda array: jax.device_put(array * scale, over_devices), stacks)
        saved = ocp.args.Composite(
            decomposition=ocp.args.StandardSave(Decomposition(Stacks(scaled), ci_fn)),
            training=ocp.args.StandardSave({"step": jnp.asarray(step)}),
        )
    else:
        by_role = {site: tuple(jnp.asarray(array) * scale for array in pair) for site, pair in factors.items()}
        saved = ocp.args.StandardSave(TrainState(ByRole(by_role), ci_fn, jnp.asarray(step)))
    manager.save(step, args=saved)
manager.wait_until_finished()
manager.close()

layers = {"kind": "all"}
if len(blocks) < config["model_config"].get("n_layer", config["model_config"].get("num_hidden_layers")):
    layers = {"kind": "list", "indices": sorted(blocks)}
counts = {matrix: stack[0].shape[2] for matrix, stack in stacks.items()}
document = {
    "target": {"spec": spec, "weights_dtype": dtype, "output_edge": {"kind": "materialized"}},
    "decomposition": {
        "sites": {"kind": "glu_transformer" if is_llama else "simple_mlp", "layers": layers, "cs": counts},
        "ci": {"type": "global_mlp"},
    },
    "pd": {"seed": 0},
}
(run / "launch_config.yaml").write_text(yaml.safe_dump(document))
# For the stand-in of the code alone.
(run / "sites.json").write_text(json.dumps(sites))
