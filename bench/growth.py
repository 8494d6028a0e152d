"""How the cost of a step grows with rollouts, length, model, k and pairs: rows on a GPU, then one figure and one table.

    python -m bench.growth --out rows.json                        about 3 minutes of one GPU of 80 GB
    python -m bench.growth --draw rows.json --png docs/growth.png        anywhere; prints the table

One thing varies at a time, the rest is Qwen3-4B's dimensions, prompts of 400 tokens shared by 16 rollouts, delta_s. The
weights are random and so are U and Vh, since no time depends on their values; the SVD is timed weight by weight.
"""

import gc
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
import tyro

import extract_vhack
from bench import gpu
from command import errors
from model import svd_basis, zoo
from model.policy_grad import nll_loss, rollout_grads, shared_grads

MODELS = {  # Qwen3's published dimensions
    "0.6B": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
    "1.7B": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16},
    "4B": {},
    "8B": {"hidden_size": 4096, "intermediate_size": 12288, "tie_word_embeddings": False},
}
AXES = {
    "model": ("0.6B", "1.7B", "4B", "8B"),
    "rollouts": (64, 256, 1024),
    "length": (256, 1024, 4096),
    "k": (5, 20, 80),
    "pairs": (20, 80, 320),
}
TITLES = {
    "model": "parameters, billions (256 rollouts of 128 tokens)",
    "rollouts": "rollouts (of 256 tokens)",
    "length": "tokens of each of 32 rollouts",
    "k": "directions a weight",
    "pairs": "pairs (of 2 x 384 tokens)",
}
PHASES = {  # key of a row -> what the figure calls it
    "sampling_s": "sampling", "training_s": "gradient", "svd_s": "SVD, once", "update_s": "projection and update",
    "extract_s": "gradients of pairs", "directions_s": "directions",
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    out: str = "out/growth.json"  # where the rows go
    axes: tuple[str, ...] = tuple(AXES)  # what varies
    draw: str | None = None  # rows of an earlier call: draw them and print the table instead of measuring
    png: str = "docs/growth.png"
    device: str = "cuda"  # cpu: a tiny model and the smallest value of each axis, to try this script


def random_factors(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r = min(w.shape)
    new = lambda *shape: torch.randn(shape, device=w.device) / r**0.5  # noqa: E731
    return new(w.shape[0], r), torch.ones(r, device=w.device), new(r, w.shape[1])


def built(cfg: Config, name: str) -> gpu.Bench:
    """A random model of these dimensions with delta_s attached."""
    small = cfg.device == "cpu"
    dims = zoo.TINY | {"vocab_size": 512} if small else zoo.QWEN3_4B | MODELS[name]
    dims = dims | {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
    settings = gpu.Config(device=cfg.device, prompt=24 if small else 400, out=cfg.out, k=2 if small else 12)
    b = gpu.Bench(settings, zoo.random_qwen3(dims, torch.bfloat16, cfg.device).eval(), section="growth")
    with mock.patch.object(svd_basis, "thin_svd", random_factors):
        b.basis = svd_basis.attach(b.model, fused=True)
    with torch.no_grad():
        for layer in b.basis.layers.values():
            layer.delta.normal_(0, 1e-3)
    return b


def svd_seconds(b: gpu.Bench) -> float:
    """Of all target Linears: one weight of each shape is timed."""
    layers = list(b.basis.layers.values())
    counts = Counter(tuple(x.weight.shape) for x in layers)
    one = {tuple(x.weight.shape): x.weight for x in layers}
    svd_basis.thin_svd(layers[0].weight)  # opens the library
    return sum(n * gpu.timed(b.cfg, lambda w=one[s]: svd_basis.thin_svd(w))[0] for s, n in counts.items())


def step_costs(b: gpu.Bench, rollouts: int, length: int) -> dict[str, float]:
    """Seconds and peak GB of sampling `rollouts` of `length` forced tokens, and of their gradient."""
    group = min(16, rollouts)
    prompts = b.prompts(rollouts // group)
    gpu.run_ours(b, prompts, group, [min(8, length)] * rollouts, "graph")  # captures
    sampling, peak = gpu.run_ours(b, prompts, group, [length] * rollouts, "graph")
    gpu.forget(b)
    seqs = gpu.sequences(b, [p for p in prompts for _ in range(group)], [length] * rollouts)
    units = gpu.units_of(b, seqs)
    micro = 3072 if b.model.config.hidden_size > 2560 else 8192
    shared_grads(b.model, b.basis, gpu.units_of(b, seqs[:2]), torch.ones(2), tokens_per_micro=micro)  # compiles
    work = lambda: shared_grads(b.model, b.basis, units, torch.ones(rollouts), tokens_per_micro=micro)[2]  # noqa: E731
    training, peak_training, _ = gpu.timed(b.cfg, work)
    return {"sampling_s": sampling, "sampling_gb": peak, "training_s": training, "training_gb": peak_training}


def pair_costs(b: gpu.Bench, pairs: int, length: int = 384) -> dict[str, float]:
    seqs = gpu.sequences(b, b.prompts(2 * pairs, length // 2), [length // 2] * 2 * pairs)
    with gpu.training(b, fused=True, checkpointing=True):
        rollout_grads(b.model, b.basis, seqs[:4], nll_loss())
        extract, peak, (grads, *_) = gpu.timed(b.cfg, lambda: rollout_grads(b.model, b.basis, seqs, nll_loss()))
    diff = grads[::2] - grads[1::2]
    find = lambda: extract_vhack.top_directions(b.basis, diff, b.cfg.k, 0.25, 0.05)  # noqa: E731
    find()
    return {"extract_s": extract, "extract_gb": peak, "directions_s": gpu.timed(b.cfg, find)[0]}


def cost(b: gpu.Bench, axis: str, value) -> dict[str, float]:
    few = b.cfg.device == "cpu"
    if axis == "model":
        return {"svd_s": svd_seconds(b)} | step_costs(b, 4 if few else 256, 8 if few else 128)
    if axis == "k":
        return {"update_s": gpu.update_seconds(b, "update", gpu.random_directions(b, value))}
    if axis == "pairs":
        return pair_costs(b, value)
    return step_costs(b, value, 8 if few else 256) if axis == "rollouts" else step_costs(b, 4 if few else 32, value)


def measure(cfg: Config) -> list[dict]:
    """One row a value of each axis, written as they come."""
    start, rows, b = time.perf_counter(), [], None
    card = torch.cuda.get_device_name() if cfg.device == "cuda" else "cpu"
    for axis in cfg.axes:
        for value in AXES[axis] if cfg.device == "cuda" else AXES[axis][:1]:
            if b is None or axis == "model":
                if b is not None:
                    gpu.forget(b)
                b = None  # the last model's memory first
                gc.collect()
                b = built(cfg, value if axis == "model" else "4B")
            try:
                rows.append(b.row(axis, value=value, card=card, **cost(b, axis, value)))
            except torch.OutOfMemoryError:  # the other values still have their rows
                print(f"{axis} {value}: does not fit {card}", flush=True)
            Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
            Path(cfg.out).write_text(json.dumps(rows, indent=1))
        if axis == "model":
            gpu.forget(b)
            b = None
    print(f"{len(rows)} rows in {time.perf_counter() - start:.0f} s -> {cfg.out}")
    return rows


def draw(rows: list[dict], png: str) -> None:
    """A panel an axis, seconds by phase, both scales logarithmic."""
    from matplotlib.ticker import LogLocator

    from study.plots import BLUE, GREEN, ORANGE, PINK, RED, SKY, subplots

    colours = dict(zip(PHASES, (BLUE, RED, GREEN, ORANGE, PINK, SKY), strict=True))
    axes = [a for a in AXES if any(r["what"] == a for r in rows)]
    fig, panels = subplots(2, 3, figsize=(11, 6.5))
    for panel in panels.flat[len(axes) :]:
        panel.set_axis_off()
    for panel, axis in zip(panels.flat, axes, strict=False):
        mine = [r for r in rows if r["what"] == axis]
        at = [float(str(r["value"]).rstrip("B")) for r in mine]
        for key in (k for k in PHASES if k in mine[0]):
            panel.plot(at, [r[key] for r in mine], "o-", color=colours[key], label=PHASES[key])
        panel.set(xscale="log", yscale="log", xlabel=TITLES[axis], ylabel="seconds")
        panel.set_xticks(at, [f"{x:g}" for x in at])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(lambda x, _: f"{x:g}")
        panel.minorticks_off()
        panel.legend(frameon=False, fontsize=9)
    fig.suptitle(f"Cost of one step on one {rows[0]['card']}, Qwen3-4B's dimensions where nothing else is said")
    fig.tight_layout()
    fig.savefig(png)


def table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    keys = [k for k in (*PHASES, "sampling_gb", "training_gb", "extract_gb") if any(k in r for r in rows)]
    names = [PHASES.get(k, k.replace("_gb", ", GB")) for k in keys]
    lines = [["varied", "value", *names], ["---"] * (2 + len(keys))]
    lines += [[r["what"], str(r["value"]), *(f"{r[k]:.3g}" if k in r else "" for k in keys)] for r in rows]
    return "\n".join(f"| {' | '.join(x)} |" for x in lines)


def main(cfg: Config) -> int:
    if unknown := set(cfg.axes) - set(AXES):
        raise ValueError(f"--axes {min(unknown)}: unknown; choose from {', '.join(AXES)}")
    rows = json.loads(Path(cfg.draw).read_text()) if cfg.draw else measure(cfg)
    print(table(rows))
    if cfg.draw:
        draw(rows, cfg.png)
    return 0


if __name__ == "__main__":
    with errors.plain_errors():
        sys.exit(main(tyro.cli(Config, description=__doc__)))
