"""Writes rotary.safetensors: the sines and cosines of rotary positions of llama-3L-global as PyTorch has them, and the values before
the sigmoid that the reference starts from, in float64.

    python3 rotary_tables.py OPTIMISE.safetensors

PyTorch's sines of float32 come from a library that rounds some of them otherwise than correctly; the reference was computed with
them. Written with torch 2.11.0.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

POSITIONS, D_HEAD, BASE = 128, 16, 10000

frequency = BASE ** (torch.arange(D_HEAD // 2, dtype=torch.float32) / (D_HEAD // 2))
angle = torch.arange(POSITIONS, dtype=torch.float32)[:, None] / frequency.repeat(2)[None]
start = "ce/initial_pre_sigmoid/"
kept = {name.removeprefix("ce/"): values for name, values in load_file(sys.argv[1]).items() if name.startswith(start)}
folder = Path(__file__).parent / "llama-3L-global"
save_file({"rotary_sin": angle.sin(), "rotary_cos": angle.cos(), **kept}, folder / "rotary.safetensors")
