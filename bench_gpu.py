"""Speed of the sampler (and of whatever SECTIONS holds) on one GPU: peers and floors in the same run, one table.

    python bench_gpu.py                                  every section, Qwen3-4B's true dimensions, random weights
    python bench_gpu.py --sections rollouts replay --teacher-pool-dir ../shared/data/teacher_pool
    python bench_gpu.py --dims organism --sections check rollouts profile

A section is a function (Bench) -> None that calls bench.row(...) as it measures; one that fails prints its traceback,
leaves a FAILED row, and the others still run. All rows also go to --out (JSON). Lengths are forced (EOS off), so that
every engine does the same work. Floor: weights + KV read once a step at --tb-s, or the matrix work at --tflops.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

import models
from sampler import Geometry, sample

ORGANISM = {
    "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 6, "head_dim": 32, "vocab_size": 992, "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}  # fmt: skip
DIMS = {"qwen3-4b": models.QWEN3_4B, "organism": ORGANISM, "tiny": models.TINY | {"vocab_size": 512}}


@dataclass(frozen=True)
class Config:
    sections: tuple[str, ...] = ()  # names from SECTIONS; none: all of them
    dims: Literal["qwen3-4b", "organism", "tiny"] = "qwen3-4b"  # random weights of these dimensions
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    device: str = "cuda"
    batches: tuple[int, ...] = (32, 256)  # rollouts decoded together
    prompt: int = 400  # tokens
    new: int = 512  # forced new tokens of our graph engine
    slow_new: int = 96  # forced new tokens of the slow paths (eager, generate): their step time hardly depends on it
    group: int = 16  # rollouts a prompt where prompts are shared
    peer: bool = True  # run transformers' generate beside
    delta: bool = True  # also with delta_s attached (the SVD of every weight takes a while)
    teacher_pool_dir: str | None = None  # replay: prompts and lengths of a real pool
    replay_rows: int = 256
    cap: int = 1024  # replay: longest completion
    memory_gb: float | None = None  # the sampler's budget
    tb_s: float = 4.3  # measured copy bandwidth of the GPU, TB/s
    tflops: float = 790.0  # measured dense bf16 rate
    out: str | None = None  # JSON file; default $OUT/bench_gpu.json when OUT is set
    seed: int = 0


@dataclass
class Bench:
    """The model under test and the rows measured so far."""

    cfg: Config
    model: Any
    rows: list[dict] = field(default_factory=list)
    section: str = ""
    basis: Any = None

    def row(self, what: str, **numbers) -> dict:
        """Add a row and print it at once, so that a run cut short still tells what it had."""
        r = {"section": self.section, "what": what, **numbers}
        self.rows.append(r)
        print("@@ROW " + json.dumps(r), flush=True)
        return r

    def prompts(self, count: int, length: int | None = None, seed: int = 0) -> list[list[int]]:
        g = torch.Generator().manual_seed(self.cfg.seed + seed)
        v = self.model.config.vocab_size
        return torch.randint(5, v, (count, length or self.cfg.prompt), generator=g).tolist()

    def floor_s(self, rows: int, prompt: int, lengths: list[int], groups: int) -> float:
        """Seconds of the decode if weights, completion KV and each prompt's KV (once a group) were read once a step."""
        g = Geometry(self.model)
        body = sum(p.numel() for n, p in self.model.named_parameters() if "embed_tokens" not in n and ".delta" not in n)
        head = 0 if any("lm_head" in n for n, _ in self.model.named_parameters()) else g.vocab * g.hidden
        size = g.dtype.itemsize
        kv = 2 * g.n_layers * g.K * g.D * size
        total = 0.0
        for t in range(1, max(lengths)):
            live = sum(n > t for n in lengths)
            read = (body + head) * size / (self.cfg.tb_s * 1e12)
            work = 2 * live * (body + head) / (self.cfg.tflops * 1e12)
            total += max(read, work) + kv * (live * t + min(groups, live) * prompt) / (self.cfg.tb_s * 1e12)
        return total


def sync(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(cfg: Config, fn: Callable[[], Any]) -> tuple[float, float, Any]:
    """(seconds, peak GB, result) of one call after the device is idle."""
    gc.collect()
    sync(cfg.device)
    if cfg.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    out = fn()
    sync(cfg.device)
    peak = torch.cuda.max_memory_allocated() / 1e9 if cfg.device.startswith("cuda") else float("nan")
    return time.perf_counter() - start, peak, out


def run_ours(b: Bench, prompts, n: int, lengths: list[int], engine: str) -> tuple[float, float]:
    """Seconds and peak GB of one call of our sampler."""

    if b.cfg.device == "cpu":  # only to try this script out: there is no graph engine
        engine = "eager"

    def call():
        return sample(
            b.model, prompts, n, max_new_tokens=max(lengths), eos_ids=(1,), seed=b.cfg.seed, engine=engine,
            force_lengths=lengths, memory_gb=b.cfg.memory_gb,
        )  # fmt: skip

    s, peak, out = timed(b.cfg, call)
    assert [len(x.ids) for x in out] == lengths, "forced lengths were not kept"
    return s, peak


def run_generate(b: Bench, prompts, new: int, **kwargs) -> tuple[float, float]:
    """Seconds and peak GB of transformers' generate on equal-length prompts (its best case: no padding)."""
    ids = torch.tensor(prompts, device=b.cfg.device)
    mask = torch.ones_like(ids)

    def call():
        with torch.no_grad():
            return b.model.generate(
                input_ids=ids, attention_mask=mask, min_new_tokens=new, max_new_tokens=new, do_sample=True, top_k=0,
                top_p=1.0, temperature=1.0, eos_token_id=1, pad_token_id=0, **kwargs,
            )  # fmt: skip

    s, peak, out = timed(b.cfg, call)
    assert out.shape[1] == ids.shape[1] + new
    return s, peak


def gpu_stats(b: Bench) -> dict[str, int]:
    if b.cfg.device == "cpu":
        return {}
    import sampler_gpu

    return dict(sampler_gpu.last_stats)


def forget(b: Bench) -> None:
    if b.cfg.device != "cpu":
        import sampler_gpu

        sampler_gpu.release(b.model)


def report(b: Bench, what: str, rows: int, lengths: list[int], prompt: int, groups: int, s: float, peak: float, **more):
    floor = b.floor_s(rows, prompt, lengths, groups)
    b.row(
        what, batch=rows, new=max(lengths), seconds=s, tok_s=sum(lengths) / s, step_ms=1000 * s / max(lengths),
        floor_tok_s=sum(lengths) / floor, of_floor=floor / s, peak_gb=peak, **more,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ sections


def check(b: Bench) -> None:
    """Graph against eager: same greedy tokens until a near-tie, log p of the graph's tokens under the plain forward."""
    cfg = b.cfg
    prompts = [p[: 20 + 7 * i] for i, p in enumerate(b.prompts(6, 80, seed=1))]
    runs = {}
    for engine in ("eager", "graph"):
        for temperature in (0.0, 1.0):
            runs[engine, temperature] = sample(
                b.model, prompts, 3, max_new_tokens=40, temperature=temperature, eos_ids=(1,), seed=7,
                engine="eager" if cfg.device == "cpu" else engine,
                memory_gb=cfg.memory_gb,
            )  # fmt: skip
    for temperature in (0.0, 1.0):
        one, two = runs["eager", temperature], runs["graph", temperature]
        same = sum(x.ids == y.ids for x, y in zip(one, two, strict=True))
        prefix = [
            next((i for i, (p, q) in enumerate(zip(x.ids, y.ids, strict=False)) if p != q), len(x.ids))
            for x, y in zip(one, two, strict=True)
        ]
        err = {}
        for name, got in (("eager", one), ("graph", two)):
            worst = []
            for i, x in enumerate(got):
                full = torch.tensor([prompts[i // 3] + x.ids], device=cfg.device)
                with torch.no_grad():
                    lp = b.model(full).logits[0, len(prompts[i // 3]) - 1 : -1].float().log_softmax(-1)
                ref = lp.gather(1, torch.tensor(x.ids, device=cfg.device)[:, None])[:, 0]
                worst.append((ref - torch.tensor(x.logps, device=cfg.device)).abs())
            worst = torch.cat(worst)
            err[name] = (worst.mean().item(), worst.max().item())
        b.row(
            f"temperature {temperature:g}: graph vs eager", same_rollouts=f"{same}/{len(one)}",
            mean_agreeing_prefix=statistics.mean(prefix), logp_err_graph_mean=err["graph"][0],
            logp_err_graph_max=err["graph"][1], logp_err_eager_mean=err["eager"][0], logp_err_eager_max=err["eager"][1],
        )  # fmt: skip


def rollouts(b: Bench) -> None:
    """Forced equal lengths: ours (graph, eager) and generate, prompts all different and shared in groups."""
    cfg = b.cfg
    for rows in cfg.batches:
        distinct = b.prompts(rows)
        shared = b.prompts(max(1, rows // cfg.group), seed=2)
        n = rows // len(shared)
        cases = [("graph, prompts distinct", distinct, 1), (f"graph, {n} a prompt", shared, n)]
        for what, prompts, k in cases:
            warm, _ = run_ours(b, prompts, k, [min(cfg.new, 8)] * rows, "graph")  # compiles and captures
            s, peak = run_ours(b, prompts, k, [cfg.new] * rows, "graph")
            report(b, what, rows, [cfg.new] * rows, cfg.prompt, len(prompts), s, peak, warm_s=warm, **gpu_stats(b))
        forget(b)  # so that the others' peak memory is their own
        new = min(cfg.slow_new, cfg.new)
        run_ours(b, distinct, 1, [4] * rows, "eager")
        s, peak = run_ours(b, distinct, 1, [new] * rows, "eager")
        report(b, "eager, prompts distinct", rows, [new] * rows, cfg.prompt, rows, s, peak)
        if cfg.peer:
            run_generate(b, distinct, 4)
            s, peak = run_generate(b, distinct, new)
            report(b, "generate, dynamic cache", rows, [new] * rows, cfg.prompt, rows, s, peak)


def static_peer(b: Bench) -> None:
    """transformers' compiled static cache (slow to compile, so a section of its own)."""
    cfg = b.cfg
    for rows in cfg.batches:
        prompts = b.prompts(rows)
        kw = dict(cache_implementation="static", max_cache_len=cfg.prompt + cfg.slow_new)
        run_generate(b, prompts, 8, **kw)
        s, peak = run_generate(b, prompts, cfg.slow_new, **kw)
        report(b, "generate, static cache + compile", rows, [cfg.slow_new] * rows, cfg.prompt, rows, s, peak)


def pool_lengths(folder: str, rows: int, cap: int) -> tuple[list[list[int]], int, list[int]]:
    """(prompts, rollouts a prompt, completion lengths) of a teacher pool, the first prompts that make up `rows`."""
    prompts, lengths, n = [], [], 0
    for path in sorted(Path(folder).glob("prompt_*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as f:
            group = [json.loads(line) for line in f]
        n = n or len(group)
        if len(group) < n or len(lengths) >= rows:
            continue
        prompts.append(group[0]["prompt_ids"][: group[0]["plen"]])
        lengths += [min(cap, max(1, r["comp_len"])) for r in group[:n]]
    if not prompts:
        raise FileNotFoundError(f"--teacher-pool-dir {folder}: no prompt_*.jsonl.gz in it")
    return prompts, n, lengths


def replay(b: Bench) -> None:
    """The real pool's prompts and completion lengths (ragged), or an exponential stand-in where no pool is given."""
    cfg, v = b.cfg, b.model.config.vocab_size
    if cfg.teacher_pool_dir:
        prompts, n, lengths = pool_lengths(cfg.teacher_pool_dir, cfg.replay_rows, cfg.cap)
        prompts = [[t % v for t in p] for p in prompts]
        what = "replay of the pool"
    else:
        n = cfg.group
        prompts = b.prompts(cfg.replay_rows // n, seed=3)
        u = torch.rand(len(prompts) * n, generator=torch.Generator().manual_seed(cfg.seed))
        lengths = [min(cfg.cap, 1 + int(x)) for x in (-300 * (1 - u).log()).tolist()]
        what = "replay of exponential lengths (mean 300)"
    mean = sum(map(len, prompts)) // len(prompts)
    run_ours(b, prompts, n, lengths, "graph")  # captures every live-batch size that the run passes through
    s, peak = run_ours(b, prompts, n, lengths, "graph")
    more = {"mean_len": statistics.mean(lengths), "prompts": len(prompts), **gpu_stats(b)}
    report(b, what, len(lengths), lengths, mean, len(prompts), s, peak, **more)


def delta(b: Bench) -> None:
    """The same with delta_s on every target Linear (side matrices), and replay with it."""
    attach_delta(b)
    b.section = "delta"
    cfg = b.cfg
    for rows in cfg.batches:
        shared = b.prompts(max(1, rows // cfg.group), seed=2)
        n = rows // len(shared)
        run_ours(b, shared, n, [min(cfg.new, 8)] * rows, "graph")
        s, peak = run_ours(b, shared, n, [cfg.new] * rows, "graph")
        report(
            b,
            f"graph + delta_s, {n} a prompt",
            rows,
            [cfg.new] * rows,
            cfg.prompt,
            len(shared),
            s,
            peak,
            **gpu_stats(b),
        )
    replay(b)
    check(b)
    if cfg.device != "cpu":
        import sampler_gpu

        s, _, _ = timed(cfg, sampler_gpu._engines[b.model].refresh)
        b.row("refresh of joined weights and side matrices, each call", seconds=s)


def attach_delta(b: Bench) -> None:
    import svd_basis

    if b.basis is None:
        forget(b)
        s, peak, b.basis = timed(b.cfg, lambda: svd_basis.attach(b.model, train="delta_s"))
        torch.manual_seed(0)
        with torch.no_grad():
            for layer in b.basis.layers.values():
                layer.delta.normal_(0, 1e-3)
        b.row("SVD of every target Linear", seconds=s, peak_gb=peak)


def prefill(b: Bench) -> None:
    """Prefill alone: one new token, so prompts + first token."""
    for count in (16, 256):
        prompts = b.prompts(count, seed=4)
        run_ours(b, prompts, 1, [1] * count, "graph")
        s, peak = run_ours(b, prompts, 1, [1] * count, "graph")
        b.row(f"prefill of {count} x {b.cfg.prompt}", seconds=s, tok_s=count * b.cfg.prompt / s, peak_gb=peak)


def profile(b: Bench) -> None:
    """Where a decode step's time goes: kernels by total time over a short run."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    cfg = b.cfg
    for rows in cfg.batches:
        shared = b.prompts(max(1, rows // cfg.group), seed=2)
        n = rows // len(shared)
        lengths = [33] * rows
        run_ours(b, shared, n, lengths, "graph")
        with profiler(activities=[ProfilerActivity.CPU if cfg.device == "cpu" else ProfilerActivity.CUDA]) as p:
            run_ours(b, shared, n, lengths, "graph")
        events = sorted(p.key_averages(), key=lambda e: -e.self_device_time_total)
        for e in events[:14]:
            b.row(e.key[:70], batch=rows, calls=e.count, total_ms=e.self_device_time_total / 1000,
                  us_each=e.self_device_time_total / max(1, e.count))  # fmt: skip


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "check": check,
    "rollouts": rollouts,
    "replay": replay,
    "prefill": prefill,
    "profile": profile,
    "delta": delta,  # attaches delta_s to the model: keep it after the sections without
    "static_peer": static_peer,
}
OPTIONAL = ("static_peer",)  # only when named


def print_table(rows: list[dict]) -> None:
    """Every row, sections apart, only the columns that a section fills."""
    for section in dict.fromkeys(r["section"] for r in rows):
        part = [r for r in rows if r["section"] == section]
        keys = list(dict.fromkeys(k for r in part for k in r if k != "section"))

        def cell(x) -> str:
            if isinstance(x, float):
                return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}"
            return "" if x is None else str(x)

        body = [[cell(r.get(k)) for k in keys] for r in part]
        widths = [max(len(k), *(len(line[i]) for line in body)) for i, k in enumerate(keys)]
        print(f"\n== {section}")
        print("  ".join(k.ljust(w) for k, w in zip(keys, widths, strict=True)))
        for line in body:
            print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)))
    sys.stdout.flush()


def main(cfg: Config) -> int:
    names = cfg.sections or tuple(n for n in SECTIONS if n not in OPTIONAL and (cfg.delta or n != "delta"))
    unknown = [n for n in names if n not in SECTIONS]
    if unknown:
        raise SystemExit(f"--sections {unknown[0]}: unknown; choose from {', '.join(SECTIONS)}")
    if cfg.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit(
            "--device cuda: this machine shows no CUDA device; the benchmark needs one (or --device cpu --dims tiny)"
        )
    start = time.perf_counter()
    dtype = models.DTYPES[cfg.dtype]
    dims = dict(DIMS[cfg.dims]) | {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
    model = models.random_qwen3(dims, dtype, cfg.device, cfg.seed).eval()
    b = Bench(cfg, model)
    b.section = "environment"
    b.row(
        torch.cuda.get_device_name() if cfg.device.startswith("cuda") else "cpu", torch=torch.__version__,
        transformers=__import__("transformers").__version__, dims=cfg.dims, load_s=time.perf_counter() - start,
    )  # fmt: skip
    failed = 0
    for name in names:
        b.section = name
        begin = time.perf_counter()
        try:
            SECTIONS[name](b)
        except Exception as e:  # the other sections' numbers are worth having: this one is marked FAILED, loudly
            failed += 1
            traceback.print_exc()
            b.section = name
            b.row(f"FAILED: {type(e).__name__}: {' '.join(str(e).split())[:200]}")
        b.section = name
        b.row("section took", seconds=time.perf_counter() - begin)
        save(b)
    print_table(b.rows)
    return 1 if failed else 0


def save(b: Bench) -> None:
    out = b.cfg.out or (os.path.join(os.environ["OUT"], "bench_gpu.json") if os.environ.get("OUT") else None)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps({"config": asdict(b.cfg), "rows": b.rows}, indent=1))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
