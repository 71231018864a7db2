"""Stands in for the code's own module of this name: what the exporter calls, with made-up causal importances.

Those of component `c` at position `s` with token `t` are `(3 s + t + c) % 5 / 4`.
"""

import json
from types import SimpleNamespace

import jax
import numpy as np

SINGLE_DEVICE_RESIDENT_LAYOUT = object()


def open_run(run_dir, step, *, data_root, layout):
    assert layout is SINGLE_DEVICE_RESIDENT_LAYOUT and step == 20 and data_root.is_dir()
    sites = json.loads((run_dir / "sites.json").read_text())

    def clean_forward(inputs, capture_keys):
        assert capture_keys == frozenset(["resid.0"])
        return SimpleNamespace(captures={"resid.0": inputs.token_ids}, conditioning=inputs, sequence=None)

    def ci_fn(captures, conditioning, components, *, sequence, remat):
        tokens = np.asarray(captures["resid.0"])
        positions = np.arange(tokens.shape[1])[None]
        values = lambda count: ((3 * positions + tokens)[..., None] + np.arange(count)) % 5 / 4
        return SimpleNamespace(lower={site: jax.numpy.asarray(values(count)) for site, count in sites.items()})

    ci_fn.capture_keys = frozenset(["resid.0"])
    return SimpleNamespace(
        mesh=jax.make_mesh((1,), ("data",)),
        placed=SimpleNamespace(clean_forward=clean_forward),
        prepared_ci_fn=ci_fn,
        prepared_weights=None,
    )
