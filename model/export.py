"""Merge a run's trained knobs into a Hugging Face folder; route's quarantine is left out.

python -m model.export RUN [--out FOLDER]
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file

import runs
from command import errors
from command.flags import Checked
from model import zoo
from model.svd_basis import attach


@dataclass(frozen=True)
class Config(Checked):
    run: tyro.conf.Positional[str]  # run directory, a folder that holds just one, or a part of a name in out/runs
    out: str | None = None  # None: RUN/export


@torch.no_grad()
def merge(model, basis, saved: dict[str, torch.Tensor], train: str) -> None:
    """Replace every adapted layer by a plain Linear with W + U diag(delta) Vh, or the trained W itself."""
    for name, layer in basis.layers.items():
        device = layer.weight.device
        knob = saved[name].to(device).float() - saved.get(f"quarantine.{name}", torch.zeros(())).to(device)
        if train == "delta_s":
            knob = layer.weight.float() + (layer.U.float() * knob) @ layer.Vh.float()
        layer.weight.copy_(knob)
        plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        plain.weight, plain.bias = layer.weight, layer.bias
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, plain)


def main(cfg: Config) -> None:
    """Write the folder whole or not at all."""
    where = runs.find_run(cfg.run)
    if not (where / "final.safetensors").exists():
        raise FileNotFoundError(
            f"{where}: no final.safetensors, so nothing to export; finish the run with --resume {where}"
        )
    c = runs.read_config(where)["config"]
    out = Path(cfg.out) if cfg.out else where / "export"
    if out.exists():
        raise FileExistsError(f"{out} exists: choose another --out")
    device = c["device"] if torch.cuda.is_available() else "cpu"
    model, tok = zoo.load_model(c["model"], c["tokenizer"], device, c["dtype"])
    merge(model, attach(model, c["train"]), load_file(where / "final.safetensors"), c["train"])
    part = out.with_name(out.name + ".partial")
    model.save_pretrained(part)
    tok.save_pretrained(part)
    os.replace(part, out)
    print(f"EXPORTED: {out} (AutoModelForCausalLM.from_pretrained loads it)")


if __name__ == "__main__":
    with errors.plain_errors():
        sys.exit(main(tyro.cli(Config, description=__doc__)))
