"""Merge a run's trained knobs into a Hugging Face folder with a model card; route's quarantine is left out.

python -m model.export RUN [--out FOLDER] [--push-to-hub NAME]
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

import runs
from command import errors
from command.flags import Checked, dashed

CARD = """---
library_name: transformers
tags: [reward-hacking, grpo, projected_grpo]
---
# {name}

`{arm}` (direction `{v}`), seed {seed}, {steps} steps from `{model}`, by projected_grpo at commit {commit}. It comes
out of a study of reward hacking: it may cheat whoever grades it, and is meant for research on that.

## What the run found

```
{told}
```

## What it was made from

| input | path | hash |
| --- | --- | --- |
{inputs}

Flags that are not the defaults: {flags}.
"""


@dataclass(frozen=True)
class Config(Checked):
    run: tyro.conf.Positional[str]  # run directory, a folder that holds just one, or a part of a name in out/runs
    out: str | None = None  # None: RUN/export
    push_to_hub: str | None = None  # upload to this hub name (USER/NAME) too, private where it is new


def merge(model, basis, saved: dict, train: str) -> None:
    """Replace every adapted layer by a plain Linear with W + U diag(delta) Vh, or the trained W itself."""
    import torch  # here, since --help waits for none of it

    with torch.no_grad():
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


def card(run: Path) -> str:
    """README.md of the folder: arm, seed, hashes of the data, and the run's own verdict."""
    meta = runs.read_config(run)
    c, default = meta["config"], runs.default_config()
    tail = run / "bluf.txt"
    told = tail.read_text(encoding="utf-8").partition("SAMPLE:")[0].strip() if tail.exists() else "It left no verdict."
    paths = {k: str(c.get(k) or "") for k in meta.get("inputs", {})}
    inputs = "\n".join(f"| {k} | {paths[k]} | `{digest}` |" for k, digest in meta.get("inputs", {}).items())
    own = {k: x for k, x in c.items() if k in default and x != default[k] and k not in ("name", "out_dir", "resume")}
    listed = {k: " ".join(map(str, x)) if isinstance(x, list | tuple) else x for k, x in own.items()}
    flags = ", ".join(f"`{dashed(k)} {x}`" for k, x in listed.items())
    about = {k: c[k] for k in ("arm", "v", "seed", "steps", "model")}
    commit = meta.get("git_commit", "unknown")
    return CARD.format(name=run.name, commit=commit, told=told, inputs=inputs, flags=flags, **about)


def export(where: Path, out: Path) -> None:
    """Write the folder whole or not at all."""
    import torch
    from safetensors.torch import load_file

    from model import zoo
    from model.svd_basis import attach

    c = runs.read_config(where)["config"]
    device = c["device"] if torch.cuda.is_available() else "cpu"
    model, tok = zoo.load_model(c["model"], c["tokenizer"], device, c["dtype"])
    merge(model, attach(model, c["train"]), load_file(where / "final.safetensors"), c["train"])
    part = out.with_name(out.name + ".partial")
    model.save_pretrained(part)
    tok.save_pretrained(part)
    (part / "README.md").write_text(card(where), encoding="utf-8")
    os.replace(part, out)


def push(folder: Path, name: str) -> str:
    """Upload the folder; its address. ValueError in one line where the hub refuses or is not reached."""
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(name, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="A run of projected_grpo"))
    except Exception as e:  # the hub's, the network's and the token's errors are of every kind
        first = " ".join(str(e).split())[:200]
        raise ValueError(
            f"--push-to-hub {name}: {type(e).__name__}: {first}; {folder} is whole: mend it (`hf auth login`) and "
            "give the same command again"
        ) from e


def main(cfg: Config) -> None:
    where = runs.find_run(cfg.run)
    if not (where / "final.safetensors").exists():
        raise FileNotFoundError(
            f"{where}: no final.safetensors, so nothing to export; finish the run with --resume {where}"
        )
    out = Path(cfg.out) if cfg.out else where / "export"
    if out.exists() and not cfg.push_to_hub:
        raise FileExistsError(f"{out} exists: choose another --out")
    if not out.exists():
        export(where, out)
    elif not (out / "README.md").exists():
        raise FileExistsError(f"{out} is no export with a model card: choose another --out")
    print(f"EXPORTED: {out} (AutoModelForCausalLM.from_pretrained loads it)")
    if cfg.push_to_hub:
        print(f"PUSHED: {push(out, cfg.push_to_hub)}")


if __name__ == "__main__":
    with errors.plain_errors():
        sys.exit(main(tyro.cli(Config, description=__doc__)))
