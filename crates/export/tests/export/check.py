"""Compare exported files with the results they were made of.

    python3 check.py FORMAT DOCS [RESULT EXPORT]...

RESULT is read by read_results.py of the folder DOCS, EXPORT by pyarrow, NetworkX, json or circuit-tracer's models. Fails
at the first difference; prints the number of edges compared.
"""

import functools
import importlib.util
import json
import math
import sys
from array import array
from pathlib import Path

NUMBERS = ("ci", "probability", "target_probability", "activation")
FORBIDDEN_IN_XML = {chr(c) for c in range(32)} - set("\t\n\r") | {"\ufffe", "\uffff"}


def f32(number):
    """The nearest f32, as a text that is the same for equal bits; all NaN are the same."""
    return None if number is None else repr(array("f", [number])[0])


def in_xml(text):
    return "".join(f"\\u{{{ord(c):x}}}" if c in FORBIDDEN_IN_XML else c for c in text)


class Expected:
    """What read_results.py finds of a set."""

    def __init__(self, read_results, folder, manifest, entry):
        tensors = read_results.read_safetensors(folder / entry["file"])
        self.name, self.stem = entry["name"], entry["file"].removesuffix(".safetensors")
        self.prompt = manifest["prompts"][entry["prompt"]]
        self.texts = self.prompt.get("token_texts", self.prompt["token_strings"])
        self.edges = [(source, target, value) for value, source, target in read_results.edges(manifest, tensors)]
        layers = ["wte", *manifest["model"]["components"], "output"]
        self.numbers = {layer: number for number, layer in enumerate(layers)}
        self.nodes, self.ghosts, self.output_tokens = {}, set(), {}
        for layer in layers:
            of_layer = {
                what: list(tensors.get(f"nodes/{layer}/{what}", ([0], ()))[1])
                for what in ("index", "original", "ci", "prob", "target_prob", "activation")
            }
            places = list(zip(of_layer["index"][::2], of_layer["index"][1::2]))
            for row, place in enumerate(places):
                numbers = ("ci", "prob", "target_prob", "activation")
                fields = [of_layer[what][row] if of_layer[what] else None for what in numbers]
                self.nodes[layer, *place] = [f32(field) for field in fields]
            if layer != "wte":
                originals = zip(of_layer["original"][::2], of_layer["original"][1::2])
                self.ghosts |= {(layer, *place) for place in originals} - set(self.nodes)
        for layer, _, token in [*self.nodes, *self.ghosts]:
            if layer == "output":
                spelt = manifest["output_tokens"].get(str(token), f"<{token}>")
                self.output_tokens[token] = manifest.get("output_token_texts", {}).get(str(token), spelt)
        parts = {node: [] for node in self.nodes}
        for source, target, value in self.edges:
            if math.isfinite(value):
                parts[source].append(abs(value))
                parts[target].append(abs(value))
        self.importance = {node: math.fsum(values) for node, values in parts.items()}

    def output_token(self, entry):
        return self.output_tokens[entry[2]] if entry[0] == "output" else None

    def check_importance(self, node, importance):
        # Sums of at most some thousands of f64, none of which is negative.
        assert abs(importance - self.importance[node]) <= 1e-12 * self.importance[node], node

    def check_edges(self, found):
        same = lambda edges: [(source, target, f32(value)) for source, target, value in edges]
        assert same(found) == same(self.edges), self.name


def check_parquet(expected, out):
    import pyarrow as pa
    import pyarrow.parquet as pq

    edges = pq.read_table(out / f"{expected.stem}.edges.parquet")
    text, place = pa.string(), pa.uint32()
    ends = [(f"{end}_{what}", kind) for end in ("source", "target") for what, kind in (("layer", text), ("position", place), ("component", place))]
    fields = [("set", text), *ends, ("value", pa.float32())]
    assert [(field.name, field.type) for field in edges.schema] == fields, edges.schema
    about = {key.decode(): value.decode() for key, value in edges.schema.metadata.items()}
    assert (about["format"], about["format_version"], about["set"]) == ("tributary-graph", "1", expected.name)
    assert about["prompt"] == expected.prompt["text"]
    for key in ("tokens", "token_strings"):
        assert json.loads(about[key]) == expected.prompt[key]
    columns = [edges[name].to_pylist() for name, _ in fields]
    assert all(name == expected.name for name in columns[0])
    rows = zip(*columns[1:])
    expected.check_edges([(row[:3], row[3:6], row[6]) for row in rows])

    nodes = pq.read_table(out / f"{expected.stem}.nodes.parquet")
    numbers = [(name, pa.float32()) for name in NUMBERS]
    fields = [("set", text), ("layer", text), ("position", place), ("component", place), ("kind", text), *numbers]
    fields += [("importance", pa.float64()), ("position_token", text), ("output_token", text)]
    assert [(field.name, field.type) for field in nodes.schema] == fields, nodes.schema
    found_nodes, found_ghosts = {}, set()
    for row in nodes.to_pylist():
        entry = (row["layer"], row["position"], row["component"])
        assert row["set"] == expected.name
        assert row["position_token"] == expected.texts[row["position"]]
        assert row["output_token"] == expected.output_token(entry)
        values = [f32(row[name]) for name, _ in numbers]
        if row["kind"] == "node":
            found_nodes[entry] = values
            expected.check_importance(entry, row["importance"])
        else:
            assert row["kind"] == "ghost" and values == [None] * 4 and row["importance"] is None
            found_ghosts.add(entry)
    assert (found_nodes, found_ghosts) == (expected.nodes, expected.ghosts)
    assert nodes.num_rows == len(found_nodes) + len(found_ghosts)
    return edges.num_rows


def check_graphml(expected, out):
    import networkx

    graph = networkx.read_graphml(out / f"{expected.stem}.graphml")
    assert graph.is_directed() and not graph.is_multigraph()
    # NetworkX leaves out texts that are empty.
    assert graph.graph.get("set", "") == in_xml(expected.name)
    assert graph.graph.get("prompt", "") == in_xml(expected.prompt["text"])
    assert json.loads(graph.graph["token_strings"]) == expected.prompt["token_strings"]
    entries, found = {}, {}
    for name, node in graph.nodes(data=True):
        entry = entries[name] = (node["layer"], node["position"], node["component"])
        found[entry] = [f32(node.get(field)) for field in NUMBERS]
        expected.check_importance(entry, node["importance"])
        assert node.get("position_token", "") == in_xml(expected.texts[entry[1]])
        if entry[0] == "output":
            assert node.get("output_token", "") == in_xml(expected.output_token(entry))
        else:
            assert "output_token" not in node
    assert found == expected.nodes
    edges = {(entries[source], entries[target]): data for source, target, data in graph.edges(data=True)}
    values = [(source, target, edges[source, target]["value"]) for source, target, _ in expected.edges]
    assert len(edges) == len(values)
    expected.check_edges(values)
    for edge in edges.values():
        assert f32(edge["weight"]) == f32(abs(edge["value"]))
    return len(edges)


def check_json(expected, out):
    graph = json.loads((out / f"{expected.stem}.json").read_text(encoding="utf-8"))
    assert (graph["format"], graph["format_version"], graph["set"]) == ("tributary-graph", 1, expected.name)
    assert graph["prompt"] == expected.prompt
    entry = lambda row: (row["layer"], row["position"], row["component"])
    # Absent: not defined. None: not finite.
    number = lambda row, field: f32(math.nan if row[field] is None else row[field]) if field in row else None
    finite = lambda text: text if text is None or math.isfinite(float(text)) else "nan"
    found = {entry(row): [number(row, field) for field in NUMBERS] for row in graph["nodes"]}
    assert found == {node: [finite(value) for value in values] for node, values in expected.nodes.items()}
    for row in graph["nodes"]:
        expected.check_importance(entry(row), row["importance"])
        assert row.get("output_token") == expected.output_token(entry(row))
    assert {entry(row) for row in graph["ghosts"]} == expected.ghosts
    nodes = [entry(row) for row in graph["nodes"]]
    columns = [graph["edges"][name] for name in ("source", "target", "value")]
    edges = [(nodes[source], nodes[target], value) for source, target, value in zip(*columns, strict=True)]
    assert len(edges) == len(expected.edges)
    for (source, target, value), wanted in zip(edges, expected.edges):
        assert (source, target) == wanted[:2]
        assert f32(value) == f32(wanted[2]) if value is not None else not math.isfinite(wanted[2])
    return len(edges)


def check_param_decomp(expected, out):
    graph = json.loads((out / f"{expected.stem}.json").read_text(encoding="utf-8"))
    own = graph["tributary"]
    assert (own["set"], own["token_ids"]) == (expected.name, expected.prompt["tokens"])
    assert graph["tokens"] == expected.texts

    def entry(name):
        layer, position, component = name.rsplit(":", 2)
        return (own["layers"][layer], int(position), int(component))

    def numbers(named):
        return {entry(name): f32(value) for name, value in named.items()}

    def finite(place, layers):
        values = {node: fields[place] for node, fields in expected.nodes.items() if layers(node[0])}
        return {node: value for node, value in values.items() if math.isfinite(float(value))}

    pseudo = ("wte", "output")
    assert numbers(graph["nodeSubcompActs"]) == finite(3, lambda layer: layer not in pseudo)
    importances = finite(0, lambda layer: layer not in pseudo)
    shown = importances | finite(1, lambda layer: layer == "output")
    shown |= {node: f32(1.0) for node in expected.nodes if node[0] == "wte"}
    assert numbers(graph["nodeCiVals"]) == shown
    sets = json.loads((out / f"{expected.stem}.ci.json").read_text(encoding="utf-8"))
    assert list(sets["node_ci_vals"]) == [expected.name]
    assert numbers(sets["node_ci_vals"][expected.name]) == importances

    wanted = [edge for edge in expected.edges if math.isfinite(edge[2]) and edge[2] != 0]
    found = [(entry(edge["src"]), entry(edge["tgt"]), edge["val"]) for edge in graph["edges"]]
    same = lambda edges: [(source, target, f32(value)) for source, target, value in edges]
    assert same(found) == same(wanted), expected.name
    by_target = {(edge["src"], edge["tgt"]): edge["val"] for edge in graph["edgesAbs"]}
    for edge, (_, target, value) in zip(graph["edges"], wanted):
        activation = float(expected.nodes[target][3])
        signed = by_target.pop((edge["src"], edge["tgt"]), 0.0)
        if not math.isnan(activation):
            assert f32(abs(signed)) == f32(abs(value) if activation else 0.0), edge
            assert signed * value * activation >= 0, edge
    assert not by_target
    return len(found)


@functools.cache
def circuit_tracer_models():
    """circuit-tracer's models, without the rest of it."""
    folder = importlib.util.find_spec("circuit_tracer").submodule_search_locations[0]
    return load(Path(folder) / "frontend" / "graph_models.py")


def check_circuit_tracer(expected, out):
    models = circuit_tracer_models()
    slug = expected.stem + ("_" if expected.stem == "graph-metadata" else "")
    graph = json.loads((out / f"{slug}.json").read_text(encoding="utf-8"))
    listed = json.loads((out / "graph-metadata.json").read_text(encoding="utf-8"))["graphs"]
    (metadata,) = [models.Metadata.model_validate(other) for other in listed if other["slug"] == slug]
    model = models.Model.model_validate(graph)
    assert model.metadata == metadata
    assert metadata.prompt == expected.prompt["text"] and graph["metadata"]["title_prefix"] == expected.name
    entries, layers = {}, {number: layer for layer, number in expected.numbers.items()}
    for node in model.nodes:
        layer, feature, position = node.node_id.split("_")
        if layer == "E":
            assert int(feature) == expected.prompt["tokens"][int(position)]
            own = models.Node.token_node(int(position), int(feature))
            entry = ("wte", int(position), 0)
        else:
            entry = (layers[int(layer)], int(position), int(feature))
            if entry[0] == "output":
                token, probability = node.clerp.split('"')[1], array("f", [node.token_prob])[0]
                own = models.Node.logit_node(entry[1], entry[2], token, int(layer) - 1, token_prob=probability)
                if math.isfinite(float(expected.nodes[entry][1])):
                    assert f32(node.token_prob) == expected.nodes[entry][1]
                    # The target model's probability stands behind what circuit-tracer itself writes.
                    target = expected.nodes[entry][2]
                    rest = "" if target is None else f" (target {float(target):.3f})"
                    assert node.clerp == own.clerp + rest, node.clerp
            else:
                own = models.Node.feature_node(int(layer), entry[1], entry[2])
                assert node.feature == own.feature
        assert (node.node_id, node.layer, node.ctx_idx) == (own.node_id, own.layer, own.ctx_idx)
        assert node.feature_type == own.feature_type
        assert entry in expected.nodes
        entries[node.node_id] = entry
    assert len(entries) == len(model.nodes)
    values = {(source, target): f32(value) for source, target, value in expected.edges}
    links = [models.Link.model_validate(link) for link in model.links]
    for link in links:
        assert f32(link.weight) == values.pop((entries[link.source], entries[link.target]))
    if metadata.node_threshold is None:
        assert not [value for value in values.values() if math.isfinite(float(value)) and float(value) != 0]
    return len(links)


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(form, docs, *folders):
    read_results = load(Path(docs) / "read_results.py")
    check = globals()["check_" + form.replace("-", "_")]
    edges = 0
    for folder, out in zip(map(Path, folders[::2]), map(Path, folders[1::2]), strict=True):
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for entry in manifest["sets"]:
            edges += check(Expected(read_results, folder, manifest, entry), out)
    print(f"{edges} edges")


if __name__ == "__main__":
    main(*sys.argv[1:])
