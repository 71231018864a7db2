"""Local attributions of several CI sets of one prompt, in PyTorch: the peer of `cargo xtask bench peer`.

    python3 bench/peer/local_attributions.py --model data/gpt2s-2L --ci-sets data/story.ci_sets.json

Gradient times activation with a backward pass for each alive target entry, as docs/algorithm.md describes the
published algorithm; for `GPT2Simple` models of which every linear layer is decomposed. Prints one line of JSON, whose
`seconds` are those of the masked forward pass and the attributions: reading files is not among them. `--check RESULT`
compares who is alive, which pairs there are and all values with a folder that `tributary attribute` wrote from the
same inputs, and fails where they differ by more than rounding. Needs torch, tokenizers, safetensors, numpy, pyyaml.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

CI_THRESHOLD = 1e-6  # The default of `tributary attribute`.
CHUNK = 64  # Target entries of one batched backward pass: of 8 to 128 the fastest, and it bounds memory.
TOLERANCE = 1e-5  # Relative L2 distance of float32 sums that are taken in different orders.
Entries = list[list[int]]  # Of each its position, and the place of its component among those that are read.
Edges = dict[tuple[str, str], list[list[Tensor]]]  # By pair (source, target), then set: pieces of its values.


class Run:
    """A trained run: the target model's sizes, and the tensors of its checkpoint."""

    def __init__(self, folder: Path) -> None:
        trained = yaml.safe_load((folder / "final_config.yaml").read_text(encoding="utf-8"))
        assert trained["pretrained_model_class"].endswith("GPT2Simple"), f"{folder}: only GPT2Simple is known here"
        config = yaml.safe_load((folder / "target" / "model_config.yaml").read_text(encoding="utf-8"))
        self.n_blocks, self.n_heads = int(config["n_layer"]), int(config["n_head"])
        (checkpoint,) = folder.glob("model_*.pth")
        self.tensors: dict[str, Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        self.tokenizer = Tokenizer.from_file(str(folder / "target" / "tokenizer.json"))

    def target(self, name: str) -> Tensor:
        return self.tensors[f"target_model.{name}"]

    def components(self, layer: str) -> list[Tensor]:
        return [self.tensors[f"_components.{layer.replace('.', '-')}.{name}"] for name in "VU"]

    def norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.target(f"{name}.weight"), self.target(f"{name}.bias"))

    def tokens(self, prompt: str) -> Tensor:
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        return torch.tensor(self.tokenizer.encode(prompt, add_special_tokens=False).ids)


def read_ci_sets(file: Path) -> tuple[str, list[str], dict[str, Tensor]]:
    """The prompt, the names of the sets, and by layer their causal importances, `[sets, positions, components]`."""
    document = json.loads(file.read_text(encoding="utf-8"))
    sets = document["ci_sets"]
    layers = next(iter(sets.values()))
    stacked = {layer: torch.stack([torch.tensor(ci[layer]) for ci in sets.values()]) for layer in layers}
    return document["prompt"], list(sets), stacked


class Target(NamedTuple):
    """A layer that attributions lead to: its components read `x @ directions`."""

    x: Tensor
    directions: Tensor
    sources: list[str]  # The layers whose activations `x` is a function of, with no detach between.


class Trace:
    """A masked forward pass. Tensors are `[sets, positions, ...]`."""

    def __init__(self, run: Run, ci: dict[str, Tensor]) -> None:
        self.run, self.ci = run, ci
        self.leaves: dict[str, Tensor] = {}  # Activations that gradients end at, by layer.
        self.targets: dict[str, Target] = {}

    def layer(self, name: str, x: Tensor, sources: list[str]) -> Tensor:
        """Output of a decomposed layer. Its activations are a leaf: gradient flows to them and not past them."""
        v, u = self.run.components(name)
        self.targets[name] = Target(x, v, sources)
        self.leaves[name] = activations = (x.detach() @ v).requires_grad_()
        return (activations * self.ci[name]) @ u + self.run.target(f"{name}.bias")

    def forward(self, tokens: Tensor) -> None:
        run, (n_sets, n_positions) = self.run, next(iter(self.ci.values())).shape[:2]
        # The embedding counts as one component with activation 1. So the attribution of `wte`, which is the sum of
        # embedding times gradient, is the gradient of that 1.
        self.leaves["wte"] = torch.ones(n_sets, n_positions, 1, requires_grad=True)
        residual = self.leaves["wte"] * run.target("wte.weight")[tokens] + run.target("wpe.weight")[:n_positions]
        summands = ["wte"]
        for block in range(run.n_blocks):
            attention, mlp = f"h.{block}.attn", f"h.{block}.mlp"
            x = run.norm(residual, f"h.{block}.ln_1")
            qkv = [f"{attention}.{name}_proj" for name in "qkv"]
            q, k, v = (self.layer(name, x, summands) for name in qkv)
            residual = residual + self.layer(f"{attention}.o_proj", attend(q, k, v, run.n_heads), qkv)
            summands = [*summands, f"{attention}.o_proj"]
            hidden = self.layer(f"{mlp}.c_fc", run.norm(residual, f"h.{block}.ln_2"), summands)
            x = F.gelu(hidden, approximate="tanh")
            residual = residual + self.layer(f"{mlp}.down_proj", x, [f"{mlp}.c_fc"])
            summands = [*summands, f"{mlp}.down_proj"]
        self.targets["output"] = Target(run.norm(residual, "ln_f"), run.target("lm_head.weight").T, summands)

    def alive(self, prob_threshold: float) -> dict[str, Tensor]:
        """Which entries of each layer are alive. As in tributary, the softmax is in float64 and then rounded."""
        output = self.targets["output"]
        probs = (output.x.detach() @ output.directions).double().softmax(-1).float()
        alive = {layer: ci >= CI_THRESHOLD for layer, ci in self.ci.items()}
        return alive | {"wte": self.leaves["wte"] > 0, "output": probs >= prob_threshold}


def attend(q: Tensor, k: Tensor, v: Tensor, n_heads: int) -> Tensor:
    """Causal attention, spelt out: batched backward passes have no batched form of the fused one's gradient."""
    q, k, v = (x.unflatten(-1, (n_heads, -1)).transpose(1, 2) for x in (q, k, v))
    future = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(future, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class Source:
    """The alive entries of a source layer, set by set, with all that does not depend on the target found once."""

    def __init__(self, layer: str, activations: Tensor, alive: Tensor) -> None:
        # Keys and values are read from later positions, too, and by nothing but their own block's attention.
        self.crosses = layer.endswith(("k_proj", "v_proj"))
        self.places = [of_set.flatten().nonzero().flatten() for of_set in alive]
        self.activations = [a.detach().flatten()[at] for a, at in zip(activations, self.places, strict=True)]
        # Entries before each position, so that those of neighbouring positions are a slice.
        self.before = F.pad(alive.sum(-1).cumsum(1), (1, 0)).tolist()

    def attributions(self, gradient: Tensor, of_set: int, position: int) -> Tensor:
        """Those on a target at this position; ascending by source position, then component."""
        before = self.before[of_set]
        window = slice(before[0 if self.crosses else position], before[position + 1])
        return gradient[of_set].flatten()[self.places[of_set][window]] * self.activations[of_set][window]


def one_by_one(reads: Tensor, entries: Entries, leaves: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Gradients of each target entry's activation, summed over the sets: each set's own, for sets are independent."""
    for position, component in entries:
        yield torch.autograd.grad(reads[:, position, component].sum(), leaves, retain_graph=True)


def batched(reads: Tensor, entries: Entries, leaves: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """The same by backward passes of many entries each, which `is_grads_batched` maps over these by vmap."""
    for start in range(0, len(entries), CHUNK):
        chunk = torch.tensor(entries[start : start + CHUNK])
        seeds = reads.new_zeros(len(chunk), *reads.shape)
        seeds[torch.arange(len(chunk)), :, chunk[:, 0], chunk[:, 1]] = 1.0
        gradients = torch.autograd.grad(reads, leaves, seeds, retain_graph=True, is_grads_batched=True)
        yield from zip(*gradients, strict=True)


def attribute(trace: Trace, alive: dict[str, Tensor], mode: str) -> Edges:
    """Every edge of every pair, in the order of docs/results.md: which entries it joins follows from who is alive."""
    sources = {layer: Source(layer, leaf, alive[layer]) for layer, leaf in trace.leaves.items()}
    edges: Edges = {}
    for name, target in trace.targets.items():
        # Only components that are alive somewhere are read, and only entries that are alive in some set.
        components = alive[name].flatten(0, 1).any(0).nonzero().flatten()
        wanted = alive[name][:, :, components]
        entries = wanted.any(0).nonzero().tolist()
        leaves = [trace.leaves[source] for source in target.sources]
        backward = batched if mode == "vmap" else one_by_one
        passes = backward(target.x @ target.directions[:, components], entries, leaves)
        edges |= {(source, name): [[] for _ in wanted] for source in target.sources}
        for (position, component), gradients in zip(entries, passes, strict=True):
            for of_set in wanted[:, position, component].nonzero().flatten().tolist():
                for source, gradient in zip(target.sources, gradients, strict=True):
                    values = sources[source].attributions(gradient, of_set, position)
                    edges[source, name][of_set].append(values)
    return edges


def distance(theirs: dict[str, Tensor], of_set: int, edges: Edges, alive: dict[str, Tensor]) -> float:
    """Relative L2 distance of one set's edges from those of a result's file, all pairs together."""
    for layer, entries in alive.items():
        assert torch.equal(entries[of_set].nonzero().int(), theirs[f"nodes/{layer}/index"]), f"set {of_set}: {layer}"
    ours = {f"edges/{source}->{target}/value": sets[of_set] for (source, target), sets in edges.items()}
    names = {name for name in theirs if name.startswith("edges/") and name.endswith("/value")}
    assert ours.keys() == names, f"set {of_set}: pairs"
    found = torch.cat([values for pieces in ours.values() for values in pieces]).double()
    expected = torch.cat([theirs[name] for name in ours]).double()
    return float((found - expected).norm() / expected.norm())


def compare(result: Path, names: list[str], edges: Edges, alive: dict[str, Tensor]) -> dict[str, float]:
    manifest = json.loads((result / "manifest.json").read_text(encoding="utf-8"))
    files = {entry["name"]: result / entry["file"] for entry in manifest["sets"]}
    return {name: distance(load_file(files[name]), i, edges, alive) for i, name in enumerate(names)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the trained run")
    parser.add_argument("--ci-sets", type=Path, required=True, help='JSON of the form {"prompt": ..., "ci_sets": ...}')
    parser.add_argument("--mode", choices=("loop", "vmap"), default="loop")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output-prob-threshold", type=float, default=0.1)
    parser.add_argument("--check", type=Path, metavar="RESULT", help="result folder of tributary to compare with")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    run = Run(args.model)
    prompt, names, ci = read_ci_sets(args.ci_sets)
    tokens = run.tokens(prompt)
    started = time.perf_counter()
    trace = Trace(run, ci)
    trace.forward(tokens)
    alive = trace.alive(args.output_prob_threshold)
    edges = attribute(trace, alive, args.mode)
    seconds = time.perf_counter() - started
    count = sum(len(values) for sets in edges.values() for pieces in sets for values in pieces)
    distances = compare(args.check, names, edges, alive) if args.check else {}
    line = {"mode": args.mode, "threads": args.threads, "seconds": seconds, "edges": count}
    print(json.dumps(line | ({"relative_l2": distances} if args.check else {})))
    if not all(value < TOLERANCE for value in distances.values()):
        sys.exit(f"values differ from those of {args.check} by more than rounding")


if __name__ == "__main__":
    main()
