"""Optimisation of causal importances for one prompt, in PyTorch: the peer of `cargo xtask bench optimize`.

    python3 bench/peer/optimize.py --model RUN --start START.safetensors --tokens 94,85,924 --label 242

The published loop (`optim_cis.py` of SPD): one set at a time, every component of every layer in the masks, whether it is alive
or not. START holds for each layer what the model's causal-importance function gives before its sigmoid, `[S, C]`; entries above
0 are optimised. For LlamaSimpleMLP models of which every linear layer of the blocks is decomposed. Prints one line of JSON:
`seconds` of all steps of all seeds, reading files not among them, and how the sets came out. Needs torch, safetensors, numpy and
pyyaml.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file
from torch import Tensor

Masks = dict[str, Tensor]  # [S, C] by layer
LAYERS = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj", "mlp.c_fc", "mlp.down_proj")


class LowerLeaky(torch.autograd.Function):
    """`clamp(x, 0, 1)`; below 0 a hundredth of what would raise x passes back."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx, by_value):
        (x,) = ctx.saved_tensors
        inside = torch.where(x <= 1, by_value, torch.zeros_like(by_value))
        return torch.where(x <= 0, 0.01 * by_value.clamp(max=0), inside)


def upper_leaky(x: Tensor) -> Tensor:
    return torch.where(x > 1, 1 + 0.01 * (x - 1), x.clamp(0, 1))


class Run:
    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self.config = yaml.safe_load((folder / "target" / "model_config.yaml").read_text(encoding="utf-8"))
        assert self.config["model_type"] == "LlamaSimpleMLP", f"{folder}: only LlamaSimpleMLP is known here"
        checkpoint = max(folder.glob("model_*.pth"), key=lambda path: int(path.stem.split("_")[1]))
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        name = "target_model."
        self.weights = {key[len(name) :]: value.to(dtype) for key, value in state.items() if key.startswith(name)}
        self.layers = [f"h.{block}.{layer}" for block in range(self.config["n_layer"]) for layer in LAYERS]
        part = lambda layer, which: state[f"_components.{layer.replace('.', '-')}.{which}"].to(dtype)
        self.v = {layer: part(layer, "V") for layer in self.layers}
        self.u = {layer: part(layer, "U") for layer in self.layers}
        d_head = self.config["n_embd"] // self.config["n_head"]
        frequency = self.config.get("rotary_base", 10000) ** (torch.arange(d_head // 2, dtype=torch.float32) / (d_head / 2))
        angle = torch.arange(self.config["n_ctx"], dtype=torch.float32)[:, None] / frequency.repeat(2)[None]
        self.sin, self.cos = angle.sin().to(dtype), angle.cos().to(dtype)

    def norm(self, name: str, x: Tensor) -> Tensor:
        eps = self.config.get("rms_norm_eps", 1e-6)
        return self.weights[name + ".weight"] * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))

    def rotated(self, x: Tensor) -> Tensor:
        positions, d_head = x.shape[-2:]
        turned = torch.cat([-x[..., d_head // 2 :], x[..., : d_head // 2]], -1)
        return x * self.cos[:positions] + turned * self.sin[:positions]

    def logits(self, tokens: Tensor, masks: Masks | None, delta_masks: Masks | None = None) -> Tensor:
        """[S, vocab]; without masks those of the target model."""

        def linear(layer: str, x: Tensor) -> Tensor:
            whole = F.linear(x, self.weights[layer + ".weight"]) if masks is None or delta_masks is not None else None
            if masks is None:
                return whole
            pre = x @ self.v[layer]
            out = (pre * masks[layer]) @ self.u[layer]
            if delta_masks is not None:
                out = out + (whole - pre @ self.u[layer]) * delta_masks[layer][:, None]
            return out

        config, positions = self.config, len(tokens)
        heads, kv_heads = config["n_head"], config["n_key_value_heads"]
        d_head = config["n_embd"] // heads
        causal = torch.full((positions, positions), float("-inf"), dtype=self.sin.dtype).triu(1)
        x = self.weights["wte.weight"][tokens]
        for block in range(config["n_layer"]):
            name = f"h.{block}."
            read = self.norm(name + "rms_1", x)
            q, k, v = (linear(f"{name}attn.{part}_proj", read).view(positions, -1, d_head).transpose(0, 1) for part in "qkv")
            q, k = self.rotated(q), self.rotated(k)
            k, v = (part.repeat_interleave(heads // kv_heads, 0) for part in (k, v))
            attention = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(d_head) + causal, -1)
            x = x + linear(name + "attn.o_proj", (attention @ v).transpose(0, 1).reshape(positions, -1))
            hidden = F.gelu(linear(name + "mlp.c_fc", self.norm(name + "rms_2", x)), approximate="tanh")
            x = x + linear(name + "mlp.down_proj", hidden)
        return self.norm("ln_f", x) @ self.weights["lm_head.weight"].T


def importance_minimality(counted: Masks, p: float) -> Tensor:
    return sum(((u + 1e-12) ** p).mean(0).sum() for u in counted.values())


def optimise(run: Run, start: Masks, tokens: Tensor, seed: int, args: argparse.Namespace) -> dict:
    torch.manual_seed(seed)
    alive = {layer: values > 0 for layer, values in start.items()}
    parameters = {layer: values[alive[layer]].clone().requires_grad_() for layer, values in start.items()}
    adam = torch.optim.AdamW(parameters.values(), lr=args.lr, weight_decay=0.0)
    position = len(tokens) - 1 if args.position is None else args.position

    def dense(of_layer) -> Masks:
        return {layer: torch.zeros_like(start[layer]).masked_scatter(alive[layer], of_layer(values)) for layer, values in parameters.items()}

    def loss(masks: Masks, delta_masks: Masks | None = None) -> Tensor:
        return F.cross_entropy(run.logits(tokens, masks, delta_masks)[position][None], torch.tensor([args.label]))

    def raised(kept: Masks) -> Masks:
        by = {layer: torch.rand_like(values) * alive[layer] for layer, values in kept.items()}
        fixed = {layer: values.detach() for layer, values in kept.items()}
        for _ in range(args.adversary):
            by = {layer: values.requires_grad_() for layer, values in by.items()}
            found = loss({layer: fixed[layer] + (1 - fixed[layer]) * by[layer] for layer in by})
            gradients = torch.autograd.grad(found, list(by.values()))
            by = {
                layer: (values + args.step_size * gradient.sign()).clamp(0, 1).detach() * alive[layer]
                for (layer, values), gradient in zip(by.items(), gradients)
            }
        return by

    recons, minimalities, adversarials = [], [], []
    for _ in range(args.steps):
        kept = dense(LowerLeaky.apply)
        if args.masks == "ci":
            recon = loss(kept)
        else:
            masks = {layer: values + (1 - values) * torch.rand_like(values) for layer, values in kept.items()}
            recon = loss(masks, {layer: torch.rand(len(tokens), dtype=values.dtype) for layer, values in kept.items()})
        minimality = importance_minimality(dense(upper_leaky), args.pnorm)
        total = args.loss_weight * recon + args.sparsity * minimality
        if args.adversary:
            by = raised(kept)
            adversarial = loss({layer: kept[layer] + (1 - kept[layer]) * by[layer] for layer in kept})
            total = total + args.loss_weight * adversarial
            adversarials.append(adversarial.item())
        adam.zero_grad()
        total.backward()
        adam.step()
        recons.append(recon.item())
        minimalities.append(minimality.item())
    kept = dense(LowerLeaky.apply)
    with torch.no_grad():
        probability = run.logits(tokens, kept)[position].softmax(-1)[args.label].item()
    mean = lambda values: sum(values[-20:]) / max(len(values[-20:]), 1)
    return {
        "seed": seed,
        "recon": mean(recons),
        "imp_min": mean(minimalities),
        "adversarial": mean(adversarials),
        "l0": sum((values > 0).sum().item() for values in kept.values()) / len(tokens),
        "label_prob": probability,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--tokens", type=lambda text: [int(token) for token in text.split(",")], required=True)
    parser.add_argument("--label", type=int, required=True)
    parser.add_argument("--position", type=int)
    parser.add_argument("--masks", choices=("ci", "stochastic"), default="stochastic")
    parser.add_argument("--adversary", type=int, default=0)
    parser.add_argument("--step-size", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--sparsity", type=float, default=0.02)
    parser.add_argument("--loss-weight", type=float, default=1.0)
    parser.add_argument("--pnorm", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = torch.float32 if args.dtype == "f32" else torch.float64
    run = Run(args.model, dtype)
    start = {layer: values.to(dtype) for layer, values in load_file(args.start).items()}
    tokens = torch.tensor(args.tokens)
    optimise(run, start, tokens, 0, argparse.Namespace(**{**vars(args), "steps": 1}))
    began = time.perf_counter()
    sets = [optimise(run, start, tokens, seed, args) for seed in range(args.seeds)]
    print(json.dumps({"seconds": time.perf_counter() - began, "sets": sets}))


if __name__ == "__main__":
    main()
