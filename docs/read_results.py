"""Print the strongest edges of every set in a folder of tributary results.

    python3 read_results.py FOLDER [EDGES_PER_SET]

Needs nothing but Python's standard library.
"""

import heapq
import json
import math
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from pathlib import Path


def read_safetensors(path):
    """The tensors of a file as {name: (shape, flat array)}. Elements are in row-major order."""
    with open(path, "rb") as file:
        (header_length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_length))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        start, end = info["data_offsets"]
        values = array({"F32": "f", "I32": "i", "U32": "I"}[info["dtype"]])
        values.frombytes(data[start:end])
        if sys.byteorder == "big":
            values.byteswap()
        tensors[name] = info["shape"], values
    return tensors


def edge_rows(pair, sources, targets):
    """Rows of the source and the target node of every edge of a pair: all that its position rule allows."""
    source_positions = sources[::2]
    for t, position in enumerate(targets[::2]):
        first = 0 if pair["crosses_positions"] else bisect_left(source_positions, position)
        for s in range(first, bisect_right(source_positions, position)):
            yield s, t


def edges(manifest, tensors):
    """Every edge of a set as (value, source, target), each end as (layer, position, component)."""
    for pair in manifest["pairs"]:
        source, target = pair["source"], pair["target"]
        _, values = tensors[f"edges/{source}->{target}/value"]
        _, sources = tensors[f"nodes/{source}/index"]
        _, targets = tensors[f"nodes/{target}/index"]
        # Where the index of edges was left out (--implied-index), it follows from the nodes.
        _, index = tensors.get(f"edges/{source}->{target}/index", (None, None))
        rows = zip(index[::2], index[1::2]) if index is not None else edge_rows(pair, sources, targets)
        for value, (s, t) in zip(values, rows):
            yield (
                value,
                (source, sources[2 * s], sources[2 * s + 1]),
                (target, targets[2 * t], targets[2 * t + 1]),
            )


def main(folder, count=5):
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest["format"] != "tributary-results" or manifest["format_version"] not in (1, 2):
        sys.exit(f"{folder}: not results of format version 1 or 2")
    for entry in manifest["sets"]:
        tensors = read_safetensors(folder / entry["file"])
        prompt = manifest["prompts"][entry["prompt"]]
        # What tokens are decoded to; older results know only how the vocabulary spells them.
        tokens = prompt.get("token_texts", prompt["token_strings"])
        total = math.fsum(value for value, _, _ in edges(manifest, tensors))
        print(f"{json.dumps(entry['name'])}: {entry['nodes']} nodes, {entry['edges']} edges, sum {total!r}")
        # What the target model predicts, where the result knows it: version 1 and a consensus do not.
        if (prediction := entry.get("prediction")) is not None:
            _, kl = tensors["kl"]
            worst = max(range(len(kl)), key=kl.__getitem__)
            print(
                f"  KL {prediction['mean_kl']:.6g} nats from the target model, at most {kl[worst]:.6g} at position {worst}; "
                f"likeliest token the same at {prediction['agreeing']} of {prediction['positions']}"
            )
        strongest = heapq.nlargest(int(count), edges(manifest, tensors), key=lambda edge: abs(edge[0]))
        for value, *ends in strongest:
            path = " -> ".join(
                f"{layer}[{position} {json.dumps(tokens[position])}, {component}]"
                for layer, position, component in ends
            )
            print(f"  {value:+.6g}  {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
