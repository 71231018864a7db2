"""Golden cases of Hugging Face classes: tiny random models of `transformers`, decomposed at random, in float64.

    pip install torch==2.11.0 transformers==5.24.0 numpy safetensors
    python tests/golden/hugging_face.py        # writes tests/models/*-hf and tests/golden/*-hf

The forward pass is the library's own; a decomposed module gives `((x V).detach() * CI) U + bias` in its place, and attributions
are gradients by autograd, one backward pass for each alive target entry.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

TESTS = Path(__file__).resolve().parents[1]
CI_THRESHOLD, PROB_THRESHOLD = 1e-6, 0.03
VOCAB, POSITIONS = 23, 5


class RMSNorm(torch.nn.Module):
    """The library's, without its cast to float32."""

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


modeling_llama.LlamaRMSNorm.forward = RMSNorm.forward


def gpt2():
    config = GPT2Config(
        vocab_size=VOCAB, n_positions=8, n_embd=12, n_layer=2, n_head=3, n_inner=20, activation_function="gelu_new",
        layer_norm_epsilon=1e-5, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    # Block 0's attention is not decomposed: gradient passes through it, to other positions too.
    layers = ["transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.c_proj", "transformer.h.1.attn.c_attn",
              "transformer.h.1.attn.c_proj", "transformer.h.1.mlp.c_fc", "transformer.h.1.mlp.c_proj"]
    return model, layers, "layerwise"


def llama():
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=8, rms_norm_eps=1e-5, attention_bias=True,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
        rope_parameters={"rope_type": "llama3", "rope_theta": 50.0, "factor": 4.0, "low_freq_factor": 0.1,
                         "high_freq_factor": 0.5, "original_max_position_embeddings": 4},
    )
    model = LlamaForCausalLM(config)
    modules = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
               "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    blocks = [f"model.layers.{block}.{module}" for block in range(2) for module in modules]
    return model, ["model.embed_tokens", *blocks, "lm_head"], "global"


class Decomposed:
    """A model whose modules are replaced while it runs."""

    def __init__(self, model, layers, rng):
        self.model, self.layers = model, layers
        self.modules = {layer: model.get_submodule(layer) for layer in layers}
        self.v, self.u = {}, {}
        for layer, module in self.modules.items():
            weight = module.weight
            is_linear = isinstance(module, torch.nn.Linear)
            d_in, d_out = weight.shape[::-1] if is_linear else weight.shape
            count = int(rng.integers(3, 7))
            self.v[layer] = torch.tensor(rng.normal(size=(d_in, count)).astype(np.float32) / np.float32(d_in**0.5)).double()
            self.u[layer] = torch.tensor(rng.normal(size=(count, d_out)).astype(np.float32)).double()

    def target(self, tokens):
        """Logits of the target model, and what each layer reads: of the embedding, the activations of its components."""
        reads = {}

        def keep(layer):
            def hook(module, inputs, _):
                is_embedding = isinstance(module, torch.nn.Embedding)
                reads[layer] = self.v[layer][inputs[0][0]] if is_embedding else inputs[0][0]

            return hook

        hooks = [module.register_forward_hook(keep(layer)) for layer, module in self.modules.items()]
        with torch.no_grad():
            logits = self.model(tokens[None]).logits[0]
        for hook in hooks:
            hook.remove()
        return logits, reads

    def masked(self, tokens, masks):
        """Logits, and `pre` and `post` of each layer; `wte` under that name where the embedding is not decomposed."""
        pre, post = {}, {}

        def replace(layer):
            def hook(module, inputs, output):
                x = inputs[0]
                before = self.v[layer][x] if isinstance(module, torch.nn.Embedding) else x @ self.v[layer]
                pre[layer], post[layer] = before, before.detach().requires_grad_()
                bias = getattr(module, "bias", None)
                out = (post[layer] * masks[layer]) @ self.u[layer]
                return out if bias is None else out + bias

            return hook

        hooks = [module.register_forward_hook(replace(layer)) for layer, module in self.modules.items()]
        embedding = self.model.get_input_embeddings()
        if embedding not in self.modules.values():
            def leaf(_module, _inputs, output):
                post["wte"] = output.detach().requires_grad_()
                return post["wte"]

            hooks.append(embedding.register_forward_hook(leaf))
        logits = self.model(tokens[None]).logits
        for hook in hooks:
            hook.remove()
        pre["output"] = logits
        return pre, post


def own_ci(decomposed, reads, function):
    """Importances of every layer, and the tensors of the function: two linear layers with exact GELU between them."""
    rng, tensors, ci = np.random.default_rng(5), {}, {}

    def linear(path, d_in, d_out):
        weight = (rng.normal(size=(d_in, d_out)) / d_in**0.5).astype(np.float32)
        bias = (0.4 * rng.normal(size=d_out)).astype(np.float32)
        tensors[f"{path}.W"], tensors[f"{path}.b"] = weight, bias
        return lambda x: x @ torch.tensor(weight).double() + torch.tensor(bias).double()

    def network(path, x, d_out):
        first, second = linear(f"{path}.layers.0", x.shape[1], 6), linear(f"{path}.layers.2", 6, d_out)
        return second(torch.nn.functional.gelu(first(x))).clamp(0, 1)

    layers = sorted(decomposed.layers)
    counts = [decomposed.u[layer].shape[0] for layer in layers]
    if function == "layerwise":
        for layer, count in zip(layers, counts):
            ci[layer] = network(f"ci_fn._ci_fns.{layer.replace('.', '-')}", reads[layer], count)
    else:
        every = network("ci_fn._global_ci_fn", torch.cat([reads[layer] for layer in layers], 1), sum(counts))
        ci = dict(zip(layers, every.split(counts, 1)))
    return ci, tensors


def attributions(decomposed, tokens, masks):
    pre, post = decomposed.masked(tokens, masks)
    alive = {layer: (mask >= CI_THRESHOLD).numpy() for layer, mask in masks.items()}
    probs = torch.softmax(pre["output"][0].detach(), 1).numpy()
    alive["output"] = probs >= PROB_THRESHOLD
    assert np.abs(probs - PROB_THRESHOLD).min() > 1e-5, "a probability so near to the threshold that rounding decides"
    sources = list(post)
    found = {}
    for target in [layer for layer in decomposed.layers if pre[layer].requires_grad] + ["output"]:
        for s_out, c_out in np.argwhere(alive[target]):
            number = pre[target][0, s_out, c_out]
            gradients = torch.autograd.grad(number, [post[source] for source in sources], retain_graph=True, allow_unused=True)
            for source, gradient in zip(sources, gradients):
                if gradient is None:
                    continue
                weighted = (gradient * post[source]).detach()[0]
                weighted = weighted.sum(1, keepdim=True) if source == "wte" else weighted
                found.setdefault((source, target), []).append((s_out, c_out, gradient[0].detach().numpy(), weighted.numpy()))
    tensors = {}
    for (source, target), entries in found.items():
        acts = [(s_in, s_out) for s_out, _, gradient, _ in entries for s_in in range(POSITIONS) if gradient[s_in].any()]
        if not acts:
            continue
        crosses = any(s_in < s_out for s_in, s_out in acts)
        assert all(s_in <= s_out for s_in, s_out in acts)
        of_source = np.ones((POSITIONS, 1), bool) if source == "wte" else alive[source]
        coords, values = [], []
        for s_out, c_out, _, weighted in entries:
            for s_in, c_in in np.argwhere(of_source):
                if s_in == s_out or (crosses and s_in < s_out):
                    coords.append((s_in, c_in, s_out, c_out))
                    values.append(weighted[s_in, c_in])
        if coords:
            order = sorted(range(len(coords)), key=coords.__getitem__)
            tensors[f"{source}->{target}/coords"] = np.array([coords[i] for i in order], np.int16)
            tensors[f"{source}->{target}/values"] = np.array([values[i] for i in order], np.float32)
    tensors["output_probs"] = probs.astype(np.float32)
    return tensors


def write(name, make):
    torch.manual_seed(3)
    rng = np.random.default_rng(4)
    model, layers, function = make()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            is_norm = "ln_" in parameter_name or "norm" in parameter_name
            scale = 0.2 if is_norm or parameter.ndim == 1 else 1 / parameter.shape[-1] ** 0.5
            parameter.copy_(scale * torch.randn(parameter.shape) + (1.0 if is_norm and "weight" in parameter_name else 0.0))
    run, case = TESTS / "models" / name, TESTS / "golden" / name / "random"
    for folder in (run, case):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    target = run / "target"
    # In several files, with an index, of which the checkpoint of the one case has a copy.
    model.save_pretrained(target, max_shard_size="4KB")
    (target / "generation_config.json").unlink(missing_ok=True)
    state = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    model = model.double().eval()
    decomposed = Decomposed(model, layers, rng)
    tokens = torch.tensor(rng.integers(1, VOCAB, POSITIONS))
    _, reads = decomposed.target(tokens)
    ci, ci_tensors = own_ci(decomposed, reads, function)

    tensors = dict(ci_tensors)
    for layer in layers:
        dashed = layer.replace(".", "-")
        tensors[f"_components.{dashed}.V"] = decomposed.v[layer].float().numpy()
        tensors[f"_components.{dashed}.U"] = decomposed.u[layer].float().numpy()
    if function == "layerwise":
        tensors |= {f"target_model.{name}": tensor for name, tensor in state.items()}
        for file in target.glob("*.safetensors*"):
            file.unlink()
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, run / "model_1.safetensors")
    lines = [f"pretrained_model_class: transformers.{type(model).__name__}", "pretrained_model_path: null",
             "pretrained_model_name: target", "sigmoid_type: leaky_hard", "identity_module_info: null", "module_info:"]
    for layer in layers:
        lines += [f"- module_pattern: {layer}", f"  C: {decomposed.u[layer].shape[0]}.0"]
    mode = "layerwise, fn_type: shared_mlp" if function == "layerwise" else "global, fn_type: global_shared_mlp"
    lines += [f"ci_config: {{mode: {mode}, hidden_dims: [6]}}"]
    (run / "final_config.yaml").write_text("\n".join(lines) + "\n")
    words = {f"w{token}": token for token in range(VOCAB)}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
                 "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}}
    (target / "tokenizer.json").write_text(json.dumps(tokenizer))

    sets = {"model": {layer: values.float().double() for layer, values in ci.items()}}
    for index in range(2):
        sets[f"seed_{index}"] = {
            layer: torch.tensor(
                np.where(rng.random(values.shape) < 0.5, 0, rng.uniform(0.1, 1, values.shape)).astype(np.float32)
            ).double()
            for layer, values in ci.items()
        }
    golden, edges = {}, 0
    for set_name, masks in sets.items():
        of_set = attributions(decomposed, tokens, masks)
        edges += sum(len(values) for key, values in of_set.items() if key.endswith("/values"))
        golden |= {f"{set_name}/{key}": values for key, values in of_set.items()}
        for layer, values in ci.items():
            golden[f"{set_name}/model_alive/{layer}"] = (values >= CI_THRESHOLD).numpy().astype(np.uint8)
    save_file(golden, case / "golden.safetensors")
    save_file({layer: values.float().numpy() for layer, values in ci.items()}, case / "own_ci.safetensors")
    prompt = " ".join(f"w{token}" for token in tokens.tolist())
    ci_sets = {set_name: {layer: values.tolist() for layer, values in masks.items()} for set_name, masks in sets.items()}
    (case / "ci_sets.json").write_text(json.dumps({"prompt": prompt, "ci_sets": ci_sets}))
    facts = {"run": name, "case": "random", "prompt": prompt, "ci_threshold": CI_THRESHOLD, "edges": edges,
             "output_prob_threshold": PROB_THRESHOLD, "torch": torch.__version__, "transformers": transformers.__version__}
    (case / "case.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{name}: {edges} edges")


write("gpt2-hf", gpt2)
write("llama-hf", llama)
