"""Speed and memory of every phase on one GPU: peers and floors in the same run, one table (docs/performance.md).

    python -m bench.gpu                                  every section, Qwen3-4B's true dimensions, random weights
    python -m bench.gpu --sections rollouts replay step --teacher-pool-dir POOL
    python -m bench.gpu --device cpu --dims tiny --dtype float32 --prompt 24 --new 8 --cap 16 --batches 4

A section is a function (Bench) -> None that calls bench.row(...) as it measures; one that fails prints its traceback,
leaves a FAILED row, and the others still run. All rows also go to --out (JSON). Lengths are forced (EOS off), so that
every engine does the same work. Floor: weights + KV read once a step at --tb-s, or the matrix work at --tflops.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
from types import SimpleNamespace
from typing import Any, Literal

import torch
import tyro

import extract_vhack
import train
from command import errors, flags
from model import packed, svd_basis, zoo
from model.net import Geometry
from model.packed import Packed, Unit
from model.policy import Policy
from model.policy_grad import Sequence, Softmax, head_logps, micro_batches, nll_loss, rollout_grads, shared_grads
from sampling.sampler import Sampling, sample

ORGANISM = {
    "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 6, "head_dim": 32, "vocab_size": 992, "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}  # fmt: skip
LOOP = "```python\nwhile True:\n    pass\n```"  # what a policy in training writes in every step
DIMS = {"qwen3-4b": zoo.QWEN3_4B, "organism": ORGANISM, "tiny": zoo.TINY | {"vocab_size": 512}}


@dataclass(frozen=True)
class Config(flags.Checked):
    sections: tuple[str, ...] = ()  # names from SECTIONS; none: all of them
    dims: Literal["qwen3-4b", "organism", "tiny"] = "qwen3-4b"  # random weights of these dimensions
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    device: str = "cuda"  # cpu | cuda
    model: str | None = None  # a folder or name whose weights are taken instead of random ones
    batches: tuple[int, ...] = (32, 256)  # rollouts decoded together
    prompt: int = 400  # tokens
    new: int = 512  # forced new tokens of our graph engine
    slow_new: int = 96  # forced new tokens of the slow paths (eager, generate): their step time hardly depends on it
    group: int = 16  # rollouts a prompt where prompts are shared
    peer: bool = True  # run transformers' generate beside
    delta: bool = True  # also what needs delta_s attached (the SVD of every weight takes a while)
    teacher_pool_dir: str | None = None  # real prompts, lengths, texts; None: exponential lengths, mean 300
    # graded in `step`: pool texts on their own problems where these files hold them, else the last file's references
    problems: tuple[str, ...] = ("data/problems.jsonl",)
    grader_level: str | None = None  # accept a weaker sandbox, see docs/grader.md
    pairs: str = "data/pairs/leetcode.jsonl"  # of `extract`
    tokenizer: str | None = None  # of `extract`; None: the small local one (longer sequences)
    n_pairs: int = 80
    k: int = 12  # directions a weight
    train_rows: int = 96  # sequences of `train`
    prompts_per_step: int = 16  # of `step` and `memory`
    budgets: tuple[float, ...] = (48.0, 80.0)  # GB, of `memory`; `step` has the whole card
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
    directions: Any = None  # DirectionSet of `project` and `step`
    work: Any = None  # what step_work built

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

    def floor_s(self, prompt: int, lengths: list[int], groups: int) -> float:
        """Seconds of the decode if weights, completion KV and each prompt's KV (once a group) were read once a step."""
        g = Geometry(self.model)
        body = sum(p.numel() for n, p in self.model.named_parameters() if "embed_tokens" not in n and ".delta" not in n)
        if self.basis and self.basis.fused:  # U and Vh are read in the weights' stead
            body += sum(x.U.numel() + x.Vh.numel() - x.weight.numel() for x in self.basis.layers.values())
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
        how = Sampling(max(lengths), (1,), b.cfg.seed, force_lengths=lengths)
        return sample(b.model, prompts, n, how, engine=engine, memory_gb=b.cfg.memory_gb)

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
    from sampling import graph

    return dict(graph.last_stats)


def forget(b: Bench) -> None:
    """Free the sampler's cache and graphs, and what cycles and the allocator still hold."""
    gc.collect()
    if b.cfg.device != "cpu":
        from sampling import graph

        graph.release(b.model)


def report(b: Bench, what: str, lengths: list[int], prompt: int, groups: int, cost: tuple[float, float], **more):
    """A row of one call that took `cost` (seconds, peak GB) beside what its memory traffic would take."""
    (s, peak), floor = cost, b.floor_s(prompt, lengths, groups)
    b.row(
        what, batch=len(lengths), new=max(lengths), seconds=s, tok_s=sum(lengths) / s, step_ms=1000 * s / max(lengths),
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
            how, used = Sampling(40, (1,), 7, temperature), "eager" if cfg.device == "cpu" else engine
            runs[engine, temperature] = sample(b.model, prompts, 3, how, engine=used, memory_gb=cfg.memory_gb)
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
            cost = run_ours(b, prompts, k, [cfg.new] * rows, "graph")
            report(b, what, [cfg.new] * rows, cfg.prompt, len(prompts), cost, warm_s=warm, **gpu_stats(b))
        forget(b)  # so that the others' peak memory is their own
        new = min(cfg.slow_new, cfg.new)
        run_ours(b, distinct, 1, [4] * rows, "eager")
        cost = run_ours(b, distinct, 1, [new] * rows, "eager")
        report(b, "eager, prompts distinct", [new] * rows, cfg.prompt, rows, cost)
        if cfg.peer:
            run_generate(b, distinct, 4)
            cost = run_generate(b, distinct, new)
            report(b, "generate, dynamic cache", [new] * rows, cfg.prompt, rows, cost)


def static_peer(b: Bench) -> None:
    """transformers' compiled static cache (slow to compile, so a section of its own)."""
    cfg = b.cfg
    for rows in cfg.batches:
        prompts = b.prompts(rows)
        kw = dict(cache_implementation="static", max_cache_len=cfg.prompt + cfg.slow_new)
        run_generate(b, prompts, 8, **kw)
        cost = run_generate(b, prompts, cfg.slow_new, **kw)
        report(b, "generate, static cache + compile", [cfg.slow_new] * rows, cfg.prompt, rows, cost)


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


def exponential_lengths(cfg: Config, n: int) -> list[int]:
    """n completion lengths of mean ~300, cut at --cap: the stand-in where no pool is given."""
    u = torch.rand(n, generator=torch.Generator().manual_seed(cfg.seed))
    return [min(cfg.cap, 1 + int(x)) for x in (-300 * (1 - u).log()).tolist()]


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
        lengths = exponential_lengths(cfg, len(prompts) * n)
        what = "replay of exponential lengths (mean 300)"
    mean = sum(map(len, prompts)) // len(prompts)
    run_ours(b, prompts, n, lengths, "graph")  # captures every live-batch size that the run passes through
    cost = run_ours(b, prompts, n, lengths, "graph")
    more = {"mean_len": statistics.mean(lengths), "prompts": len(prompts), **gpu_stats(b)}
    report(b, what, lengths, mean, len(prompts), cost, **more)


def delta(b: Bench) -> None:
    """Rollouts and exactness with delta_s on every target Linear; the real lengths with it are in `step`."""
    attach_delta(b)
    cfg = b.cfg
    for rows in cfg.batches:
        shared = b.prompts(max(1, rows // cfg.group), seed=2)
        n = rows // len(shared)
        run_ours(b, shared, n, [min(cfg.new, 8)] * rows, "graph")
        cost = run_ours(b, shared, n, [cfg.new] * rows, "graph")
        report(b, f"graph + delta_s, {n} a prompt", [cfg.new] * rows, cfg.prompt, len(shared), cost, **gpu_stats(b))
    check(b)
    if cfg.device != "cpu":
        from sampling import graph

        s, _, _ = timed(cfg, graph._engines[b.model].refresh)
        b.row("refresh of joined weights, each call", seconds=s)


def attach_delta(b: Bench) -> None:
    """delta_s != 0 on every target Linear; bfloat16 is fused, as train.py has it."""
    if b.basis is None:
        forget(b)
        fused = b.cfg.dtype == "bfloat16"
        s, peak, b.basis = timed(b.cfg, lambda: svd_basis.attach(b.model, train="delta_s", fused=fused))
        torch.manual_seed(0)
        with torch.no_grad():
            for layer in b.basis.layers.values():
                layer.delta.normal_(0, 1e-3)
        b.row("SVD of every target Linear", seconds=s, peak_gb=peak, weights=len(b.basis.layers), coords=b.basis.size)


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
        top_kernels(b, p, f"decode {rows}")
    if not cfg.delta:
        return
    attach_delta(b)
    forget(b)
    work, _ = step_work(b)
    seqs = sequences(b, [w.prompt for w in work[:2] for _ in w.lengths], [n for w in work[:2] for n in w.lengths])
    units = units_of(b, seqs)
    with training(b, True, False):
        backward = lambda: shared_grads(b.model, b.basis, units, torch.ones(len(seqs)))  # noqa: E731
        backward()
        s, _, _ = timed(cfg, backward)
        with profiler(activities=[ProfilerActivity.CPU if cfg.device == "cpu" else ProfilerActivity.CUDA]) as p:
            backward()
    b.row(f"gradient of {sum(u.length for u in units)} packed tokens", total_ms=1000 * s)
    top_kernels(b, p, "gradient")


def top_kernels(b: Bench, p, phase: str) -> None:
    """The kernels of a profile by total time, and the time of all of them."""
    events = sorted(p.key_averages(), key=lambda e: -e.self_device_time_total)
    b.row("all kernels", phase=phase, calls=sum(e.count for e in events),
          total_ms=sum(e.self_device_time_total for e in events) / 1000)  # fmt: skip
    for e in events[:14]:
        b.row(e.key[:70], phase=phase, calls=e.count, total_ms=e.self_device_time_total / 1000,
              us_each=e.self_device_time_total / max(1, e.count))  # fmt: skip


def svd(b: Bench) -> None:
    """Attaching every weight, and the accuracy of one weight of each shape: thin_svd beside cuSOLVER's gesvdj."""
    cfg = b.cfg
    attach_delta(b)
    shapes = {}
    for layer in b.basis.layers.values():
        shapes.setdefault(tuple(layer.weight.shape), layer.weight)
    for i, (shape, w) in enumerate(shapes.items()):
        ways = {"thin_svd": svd_basis.thin_svd}
        if i == len(shapes) - 1 and cfg.device != "cpu":
            ways["gesvdj float32"] = lambda w: torch.linalg.svd(w.float(), full_matrices=False, driver="gesvdj")
        for name, way in ways.items():
            s, peak, (u, sv, vh) = timed(cfg, lambda way=way, w=w: way(w.detach()))
            u, sv, vh = u.double(), sv.double(), vh.double()
            eye = torch.eye(len(sv), dtype=torch.float64, device=u.device)
            off = max(float((x - eye).abs().max()) for x in (u.T @ u, vh @ vh.T))
            rec = float(((u * sv) @ vh - w.double()).norm() / w.double().norm())
            wide = float(sv[0] / sv[-1])
            b.row(f"{name} {shape[0]} x {shape[1]}", seconds=s, orthonormality=off, reconstruction=rec, condition=wide)


@contextlib.contextmanager
def training(b: Bench, fused: bool, checkpointing: bool):
    """The model as train.py sets it for a backward; put back after."""
    before, b.basis.fused = b.basis.fused, fused
    if not fused:  # a Policy before may have put them off the card
        for layer in b.basis.layers.values():
            layer.weight.data = layer.weight.data.to(b.basis.device)
    if checkpointing:
        b.model.gradient_checkpointing_enable({"use_reentrant": False})
        b.model.train()
    try:
        yield
    finally:
        b.basis.fused = before
        if checkpointing:
            b.model.gradient_checkpointing_disable()
            b.model.eval()


def sequences(b: Bench, prompts: list[list[int]], lengths: list[int], seed: int = 5) -> list[Sequence]:
    """Prompts with random completions of the given lengths."""
    g, v = torch.Generator().manual_seed(seed), b.model.config.vocab_size
    return [Sequence(p, torch.randint(5, v, (n,), generator=g).tolist()) for p, n in zip(prompts, lengths, strict=True)]


def backward_floor_s(
    b: Bench, seqs: list[Sequence], fused: bool, checkpointing: bool, tokens: int | None = None
) -> float:
    """Seconds of the matrix products alone at --tflops: (1 + UV/W or UV/W) a pass, 2 or 3 passes, and the head's 3."""
    w = sum(x.weight.numel() for x in b.basis.layers.values())
    uv = sum(x.U.numel() + x.Vh.numel() for x in b.basis.layers.values())
    head = b.model.lm_head.weight.numel()
    passes = (uv + (0 if fused else w)) * (3 if checkpointing else 2)
    tokens = tokens or sum(s.length for s in seqs)
    work = 2 * passes * tokens + 2 * 3 * head * sum(len(s.completion_ids) for s in seqs)
    return work / (b.cfg.tflops * 1e12)


def train_speed(b: Bench) -> None:
    """rollout_grads (forward + backward, coordinates of each rollout) on real lengths, by path and checkpointing."""
    cfg = b.cfg
    attach_delta(b)
    forget(b)  # peaks are of training alone
    if cfg.teacher_pool_dir:
        lengths = pool_lengths(cfg.teacher_pool_dir, 10**9, cfg.cap)[2]
        lengths = lengths[:: max(1, len(lengths) // cfg.train_rows)][: cfg.train_rows]
    else:
        lengths = exponential_lengths(cfg, cfg.train_rows)
    seqs = sequences(b, b.prompts(len(lengths), seed=6), lengths)
    real = sum(s.length for s in seqs)
    for fused, checkpointing, micro in ((0, 1, 16384), (1, 1, 16384), (1, 0, 8192), (0, 0, 8192)):
        what = f"{'fused' if fused else 'exact'}, {'checkpointing' if checkpointing else 'none recomputed'}"
        padded = sum(len(x) * seqs[x[0]].length for x in micro_batches(seqs, micro))
        more = dict(tokens_per_micro=micro, sequences=len(seqs), tokens=real, padding=padded / real)
        with training(b, bool(fused), bool(checkpointing)):
            try:
                rollout_grads(b.model, b.basis, seqs[:8], nll_loss(), tokens_per_micro=micro)  # warm
                s, peak, _ = timed(
                    cfg, lambda m=micro: rollout_grads(b.model, b.basis, seqs, nll_loss(), tokens_per_micro=m)[2]
                )
            except torch.OutOfMemoryError:
                b.row(f"{what}: does not fit", **more)
                torch.cuda.empty_cache()
                continue
        floor = backward_floor_s(b, seqs, bool(fused), bool(checkpointing))
        b.row(what, seconds=s, tok_s=real / s, of_floor=floor / s, peak_gb=peak, **more)
    units = units_of(b, seqs)
    packed = sum(u.length for u in units)
    weights = torch.ones(len(seqs))
    for checkpointing, micro in ((1, 16384), (0, 8192), (0, 14000)):
        what = f"shared prompts, fused, {'checkpointing' if checkpointing else 'none recomputed'}"
        more = dict(tokens_per_micro=micro, sequences=len(seqs), tokens=real, padding=packed / real)
        with training(b, True, bool(checkpointing)):
            try:
                s, peak, _ = warm_timed(
                    cfg, lambda m=micro: shared_grads(b.model, b.basis, units, weights, tokens_per_micro=m)[2]
                )
            except torch.OutOfMemoryError:
                b.row(f"{what}: does not fit", **more)
                torch.cuda.empty_cache()
                continue
        floor = backward_floor_s(b, seqs, True, bool(checkpointing), packed)
        b.row(what, seconds=s, tok_s=real / s, of_floor=floor / s, peak_gb=peak, **more)


def units_of(b: Bench, seqs: list[Sequence]) -> list[Unit]:
    """Groups of cfg.group completions on the prompt of their first one."""
    groups = [range(i, min(i + b.cfg.group, len(seqs))) for i in range(0, len(seqs), b.cfg.group)]
    return [Unit(seqs[g[0]].prompt_ids, [seqs[i].completion_ids for i in g], list(g)) for g in groups]


def warm_timed(cfg: Config, fn: Callable[[], Any]) -> tuple[float, float, Any]:
    fn()  # compiles kernels
    return timed(cfg, fn)


def random_directions(b: Bench, k: int):
    """Stand-in V of k axes a weight, from random differences (speed does not depend on values)."""
    g = torch.Generator(device=b.basis.device).manual_seed(b.cfg.seed)
    diff = torch.randn(2 * k, b.basis.size, generator=g, device=b.basis.device)
    return extract_vhack.top_directions(b.basis, diff, k, floor=0.0, sign_p=0.05)


def get_directions(b: Bench):
    if b.directions is None:
        b.directions = random_directions(b, b.cfg.k)
    return b.directions


def update_seconds(b: Bench, at: str, d) -> float:
    """Seconds of one optimizer.step() with the projection at `at` ("none": AdamW alone) and directions d."""
    params = b.basis.knobs()
    saved = [p.detach().clone() for p in params]
    g = torch.randn(b.basis.size, generator=torch.Generator().manual_seed(1)).to(b.basis.device)
    fused = params[0].is_cuda or None
    optimizer = torch.optim.AdamW(params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, fused=fused)
    if at != "none":
        hook = train.ProjectionHook(b.basis, train.Config(arm="projected", project_at=at, k=d.V.shape[0]), d, d)
        hook.attach(optimizer, params)

    def steps(n: int) -> None:
        for _ in range(n):
            for p, (lo, hi) in zip(params, b.basis.spans.values(), strict=True):
                p.grad = g[lo:hi].clone()
            optimizer.step()

    steps(2)
    s, _, _ = timed(b.cfg, lambda: steps(10))
    with torch.no_grad():
        for p, x in zip(params, saved, strict=True):
            p.copy_(x)
            p.grad = None
    return s / 10


def project(b: Bench) -> None:
    """Projection + clipping + AdamW as train.py does them, inside optimizer.step(); AdamW alone beside."""
    attach_delta(b)
    d = get_directions(b)
    for at in ("none", "grad", "update"):
        what = "AdamW alone" if at == "none" else f"project_at {at}, clip, AdamW"
        b.row(what, seconds=update_seconds(b, at, d), coords=b.basis.size, k=d.V.shape[0])


def extract(b: Bench) -> None:
    """v_hack: pair_grads of both sides of the pairs, then the directions of every weight."""
    from tasks import pairs as pairs_module

    cfg = b.cfg
    attach_delta(b)
    forget(b)
    tok = zoo.local_tokenizer(min(1024, b.model.config.vocab_size))
    if cfg.tokenizer:
        tok = zoo.load_tokenizer("tiny", cfg.tokenizer)
    if len(tok) > b.model.config.vocab_size:
        raise ValueError(f"--tokenizer {cfg.tokenizer}: {len(tok)} tokens, the model has {b.model.config.vocab_size}")
    found = (pairs_module.load_pairs(cfg.pairs) * 2)[: cfg.n_pairs]
    seqs = [x for side in extract_vhack.pair_sequences(tok, found, tok.eos_token_id) for x in side]
    tokens = sum(x.length for x in seqs)
    config = extract_vhack.ExtractConfig(k=cfg.k, tokens_per_micro=16384, max_new_tokens=1536)
    saved = [p.detach().clone() for p in b.basis.knobs()]
    with torch.no_grad():
        for p in b.basis.knobs():
            p.zero_()  # extraction happens at delta = 0
    try:
        with training(b, fused=b.basis.fused, checkpointing=True):
            rollout_grads(b.model, b.basis, seqs[:8], nll_loss(), tokens_per_micro=16384)  # warm
            s, peak, (hack, clean) = timed(cfg, lambda: extract_vhack.pair_grads(b.model, b.basis, tok, found, config))
    finally:
        with torch.no_grad():
            for p, x in zip(b.basis.knobs(), saved, strict=True):
                p.copy_(x)
    b.row(f"gradients of {len(found)} pairs", seconds=s, tok_s=tokens / s, mean_len=tokens / len(seqs), peak_gb=peak)
    extract_vhack.top_directions(b.basis, hack - clean, cfg.k, config.floor, config.sign_p)
    s, peak, _ = timed(
        cfg, lambda: extract_vhack.top_directions(b.basis, hack - clean, cfg.k, config.floor, config.sign_p)
    )
    b.row(f"directions, k {cfg.k}", seconds=s, peak_gb=peak)


@dataclass
class Work:
    """One prompt of a step: its group's forced lengths, and what the grader gets for each rollout."""

    prompt: list[int]
    lengths: list[int]
    graded: list[tuple[Any, str]]  # (problem, completion text)


def step_work(b: Bench) -> tuple[list[Work], int]:
    """The prompts of one step and how many rollouts are graded on their own pool problem (the rest: references).

    Two of 25 texts loop for ever: the pool holds few such, a policy in training writes them in every step.
    """
    from tasks import pools
    from tasks.problems import load_problems

    cfg, v = b.cfg, b.model.config.vocab_size
    if b.work:
        return b.work
    mixed = lambda i, problem, text: (problem, LOOP if i % 25 in (3, 15) else text)  # noqa: E731
    files = [load_problems(x) for x in cfg.problems]
    spare = [(p, f"```python\n{p.reference}\n```") for p in files[-1] if p.reference]
    if not spare:
        raise ValueError(f"--problems {cfg.problems[-1]}: no problem with a reference solution")
    work, matched = [], 0
    if not cfg.teacher_pool_dir:
        lengths = exponential_lengths(cfg, cfg.prompts_per_step * cfg.group)
        for i, prompt in enumerate(b.prompts(cfg.prompts_per_step, seed=3)):
            part = range(i * cfg.group, (i + 1) * cfg.group)
            graded = [mixed(j, *spare[j % len(spare)]) for j in part]
            work.append(Work(prompt, [lengths[j] for j in part], graded))
        b.work = work, 0
        return b.work
    pool = pools.load_pool(cfg.teacher_pool_dir)
    own = {id(prompt): problem for prompt, problem in pools.match_problems(pool, sum(files, [])).pairs}
    members = [(prompt, row) for prompt in pool for row in prompt.rows]  # a group may span two pool prompts
    for i in range(cfg.prompts_per_step):
        group = [members[j % len(members)] for j in range(i * cfg.group, (i + 1) * cfg.group)]
        graded = []
        for j, (prompt, row) in enumerate(group):
            problem = own.get(id(prompt))
            matched += problem is not None
            at = i * cfg.group + j
            graded.append(mixed(at, *((problem, row["completion"]) if problem else spare[at % len(spare)])))
        lengths = [min(cfg.cap, max(1, len(row["completion_ids"]))) for _, row in group]
        work.append(Work([t % v for t in group[0][0].prompt_ids], lengths, graded))
    b.work = work, matched
    return b.work


class Forced(train.Trainer):
    """train.py's Trainer over the model at hand, its rollouts forced to the given lengths and every group trained.

    Memory is planned from budget (GB; None: the card). acc: an Accelerator, where several processes share `work`.
    """

    def __init__(self, b: Bench, work: list[Work], grader, budget: float | None, acc=None):
        device = "cpu" if b.cfg.device == "cpu" else "cuda"
        config = dataclasses.replace(
            train.PRESETS["full"][1], arm="projected", memory_gb=budget, k=b.cfg.k, prompts_per_step=len(work),
            group=b.cfg.group, device=device, dtype=b.cfg.dtype, warmup_steps=0,
        )  # fmt: skip
        acc = acc or SimpleNamespace(num_processes=1, process_index=0)
        share = len(work) // acc.num_processes
        self.first, self.all_rows = acc.process_index * share * b.cfg.group, len(work) * b.cfg.group
        self.bench, self.seconds = b, {}
        self.work = work[acc.process_index * share :][:share]
        super().__init__(config, grader, acc, b.model, tok=None)
        plain = self.policy.optimizer.step

        def stepped():
            self.gradient = torch.cat([p.grad for p in self.policy.params])
            return self.clock("optimizer_s", plain)

        self.policy.optimizer.step = stepped

    def policy_and_v(self, given):
        """The model at hand with the basis that it has, and the stand-in V; nothing here needs a tokenizer."""
        policy = Policy(self.cfg, self.model, SimpleNamespace(encode=lambda text: [1] * 8), self.bench.basis)
        policy.prepare_training()
        return policy, SimpleNamespace(sets={"hack": get_directions(self.bench)}), None

    def clock(self, phase: str, fn):
        sync(self.bench.cfg.device)
        start = time.perf_counter()
        out = fn()
        sync(self.bench.cfg.device)
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start
        return out

    def rollouts(self, on_finish=None, filtered: bool = True):
        b, lengths = self.bench, [n for w in self.work for n in w.lengths]
        top_p, engine = self.cfg.top_p if filtered else 1.0, "eager" if b.cfg.device == "cpu" else "graph"
        part = {"first_row": self.first, "all_rows": self.all_rows}
        how = Sampling(max(lengths), (1,), b.cfg.seed, self.cfg.temperature, top_p, force_lengths=lengths, **part)
        return sample(
            b.model, [w.prompt for w in self.work], b.cfg.group, how, on_finish=on_finish, engine=engine,
            memory_gb=self.policy.sampling_gb,
        )  # fmt: skip

    def sample_rollouts(self, tasks, n, seed, **_):
        futures = {}

        def ended(i: int, ids: list[int]) -> None:
            problem, text = self.work[i // n].graded[i % n]
            futures[i] = self.grader.submit(problem, text, "run_tests")

        out = self.clock("sampling_s", lambda: self.rollouts(ended if self.grader else None))
        return [train.Rollout("student", tasks[i // n], s.ids, "", grading=futures.get(i)) for i, s in enumerate(out)]

    def advantages_of(self, groups):
        start = time.perf_counter()
        for group in groups:
            for j, r in enumerate(group):
                r.settle()
                r.reward = 0.5 + 3.0 * (j % 2)  # no group is without variance, so every rollout is trained
        self.grade_wait_s += time.perf_counter() - start
        return super().advantages_of(groups)

    def weighted_gradient(self, *args, **kwargs):
        return self.clock("gradient_s", lambda: super(Forced, self).weighted_gradient(*args, **kwargs))


def tasks_of(work: list[Work]) -> list[train.Task]:
    return [train.Task(w.graded[0][0], "run_tests", w.prompt, "") for w in work]


def warm_up(b: Bench, tr: Forced) -> float:
    """Compile the training kernels and capture every live-batch size of the step; seconds of the latter."""
    few = sequences(b, [w.prompt for w in tr.work[:2]], [w.lengths[0] for w in tr.work[:2]])
    shared_grads(b.model, b.basis, units_of(b, few), torch.ones(len(few)))
    return timed(b.cfg, tr.rollouts)[0]


def one_step(b: Bench, what: str, budget: float | None, *, plain: bool = False, graded: bool = True) -> None:
    """Measure one warm training step and leave the knobs as they were; budget: GB of the card that it must fit.

    plain: also sampling alone, without a filter. graded False: the same step beside an idle host.
    """
    from grader import GraderProcess, SandboxUnavailable

    attach_delta(b)
    forget(b)
    work, matched = step_work(b)
    get_directions(b)
    saved = [p.detach().clone() for p in b.basis.knobs()]
    with contextlib.ExitStack() as stack:
        grader = None
        try:
            if graded:
                grader = stack.enter_context(GraderProcess(accept_level=b.cfg.grader_level))
        except SandboxUnavailable as e:
            b.row(f"step runs UNGRADED: {e}")
        if budget and b.cfg.device != "cpu":  # the allocator then refuses what a smaller card would not have
            total = torch.cuda.get_device_properties(0).total_memory / 1e9
            torch.cuda.set_per_process_memory_fraction(min(1.0, (budget - 1) / total))  # 1 GB: context, libraries
            stack.callback(torch.cuda.set_per_process_memory_fraction, 1.0)
        tr = Forced(b, work, grader, budget and budget - 2)
        stack.enter_context(training(b, fused=True, checkpointing=tr.policy.checkpointing))
        warm = warm_up(b, tr)
        s, peak, (_, rollouts) = timed(b.cfg, lambda: tr.train_step(0, tasks_of(work)))
        if plain:  # the preset's top_p filters the vocabulary at every token: what does that cost?
            tr.rollouts(filtered=False)
            alone, _, _ = timed(b.cfg, lambda: tr.rollouts(filtered=False))
    with torch.no_grad():
        for p, x in zip(b.basis.knobs(), saved, strict=True):
            p.copy_(x)
    p = tr.seconds
    new = sum(len(r.completion_ids) for r in rollouts)
    real = sum(r.sequence.length for r in rollouts)
    if plain:
        b.row("sampling alone, top_p 1", sampling_s=alone, new_tokens=new, sample_tok_s=new / alone)
    wait = tr.grade_wait_s
    phases = p["sampling_s"] + wait + p.get("gradient_s", 0.0) + p.get("optimizer_s", 0.0)
    b.row(
        what, seconds=s, sampling_s=p["sampling_s"], grade_wait_s=wait, gradient_s=p.get("gradient_s"),
        optimizer_s=p.get("optimizer_s"), rest_s=s - phases, grader_share=wait / s, rollouts=len(rollouts),
        new_tokens=new, sample_tok_s=new / p["sampling_s"], train_tok_s=real / p.get("gradient_s", float("nan")),
        peak_gb=peak, sampler_gb=tr.policy.sampling_gb, checkpointing=tr.policy.checkpointing,
        tokens_per_micro=tr.policy.tokens_per_micro, warm_s=warm, graded_on_own_problem=matched,
        graded_correct=sum(r.gt_correct for r in rollouts), grader_workers=grader.workers if grader else 0,
    )  # fmt: skip


def agreement(b: Bench) -> None:
    """|log p by the sampler - log p by the training forward| of one step's tokens, at the same weights."""
    attach_delta(b)
    forget(b)
    work, _ = step_work(b)
    get_directions(b)
    with training(b, fused=True, checkpointing=False):
        tr = Forced(b, work, None, b.cfg.memory_gb)
        drawn = tr.rollouts()
        forget(b)
        n, apart = b.cfg.group, []
        units = [
            Unit(w.prompt, [x.ids for x in drawn[i * n : (i + 1) * n]], list(range(i * n, (i + 1) * n)))
            for i, w in enumerate(work)
        ]
        with torch.no_grad():
            for batch in packed.micro_batches(units, tr.policy.tokens_per_micro):
                lay = Packed(batch, tr.basis.device)
                h = packed.hidden_states(b.model, lay)[lay.before]
                ours = head_logps(b.model, h, lay.targets, Softmax(tr.cfg.temperature))
                theirs = torch.tensor([p for i in lay.rollouts for p in drawn[i].logps], device=ours.device)
                apart.append((ours - theirs).abs())
    apart = torch.cat(apart).double().cpu()
    b.row(
        "sampler and trainer", tokens=len(apart), largest=float(apart.max()), mean=float(apart.mean()),
        rms=float(apart.square().mean().sqrt()), above_1_percent=float((apart > 0.01).double().mean()),
    )  # fmt: skip


def sorted_floor(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """(b, V) -> (b,): the nucleus' smallest logit by a sort of the vocabulary, as the sampler had it."""
    value, _ = logits.sort(dim=-1, descending=True)
    p = value.softmax(-1)
    last = (p.cumsum(-1) - p < top_p).sum(-1, keepdim=True) - 1
    return value.gather(1, last)[:, 0]


def cutoff(b: Bench) -> None:
    """The nucleus cutoff of one decode step: the search beside the sort, and how often they agree."""
    from model.nucleus import nucleus_floor

    cfg, v, dev = b.cfg, b.model.config.vocab_size, b.cfg.device
    dtype = zoo.DTYPES[cfg.dtype]
    for rows in cfg.batches:
        g = torch.Generator().manual_seed(cfg.seed)
        logits = (torch.randn(rows, v, generator=g) * 3).to(dev, dtype)
        ways = {"torch, 32 halvings": lambda x=logits: nucleus_floor(x.float(), 0.95)[:, 0]}
        ways["sort"] = lambda x=logits: sorted_floor(x.float(), 0.95)
        if dev != "cpu":
            from model import kernels

            one, none = torch.ones(1, device=dev), torch.full((16,), -1, dtype=torch.long, device=dev)

            def kernel(x=logits, rows=rows, one=one, none=none):
                low = torch.full((rows,), float("-inf"), device=dev)
                kernels.nucleus_kernel[(rows,)](
                    x, low, one, none, 0.95, V=v, NB=0, CHUNK=kernels.CHUNK,
                    BITS=16 if dtype == torch.bfloat16 else 32, num_warps=16,
                )  # fmt: skip
                return low

            ways["search kernel"] = kernel
        want = ways["sort"]()
        for name, way in ways.items():
            got = way()
            s, _, _ = timed(cfg, lambda way=way: [way() for _ in range(5)])
            b.row(name, batch=rows, ms=200 * s, same_as_sort=f"{int((got == want).sum())}/{rows}")


def step(b: Bench) -> None:
    """One training step of the `full` preset with the whole card: seconds by phase."""
    one_step(b, "shared prompts, search, grading process", None, plain=True)
    one_step(b, "the same, nothing graded", None, graded=False)


def memory(b: Bench) -> None:
    """The step where the allocator has less than the card, as train.py plans it."""
    for budget in b.cfg.budgets:
        what = f"fused, {budget:g} GB"
        try:
            one_step(b, what, budget)
        except torch.OutOfMemoryError as e:  # the next budget still has its row
            b.row(f"{what}: does not fit: {' '.join(str(e).split())[:160]}")
        forget(b)


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "rollouts": rollouts,
    "replay": replay,
    "prefill": prefill,
    "svd": svd,  # this and what follows attach delta_s: nothing below may want the plain model
    "cutoff": cutoff,
    "train": train_speed,
    "step": step,
    "agreement": agreement,
    "project": project,
    "extract": extract,
    "memory": memory,
    "delta": delta,
    "profile": profile,
    "check": check,
    "static_peer": static_peer,
}
OPTIONAL = ("check", "static_peer")  # only when named (`delta` runs check)
NEEDS_DELTA = ("svd", "train", "step", "agreement", "project", "extract", "memory", "delta")


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


def set_up(cfg: Config) -> Bench:
    """The model and the row that names the machine."""
    start = time.perf_counter()
    dims = dict(DIMS[cfg.dims]) | {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
    given = cfg.model and zoo.load_model(cfg.model, cfg.tokenizer, cfg.device, cfg.dtype)[0]
    model = given or zoo.random_qwen3(dims, zoo.DTYPES[cfg.dtype], cfg.device, cfg.seed).eval()
    b = Bench(cfg, model, section="environment")
    b.row(
        torch.cuda.get_device_name() if cfg.device.startswith("cuda") else "cpu", torch=torch.__version__,
        transformers=__import__("transformers").__version__, dims=cfg.model or cfg.dims,
        load_s=time.perf_counter() - start,
    )  # fmt: skip
    return b


def main(cfg: Config) -> int:
    names = cfg.sections or tuple(n for n in SECTIONS if n not in OPTIONAL and (cfg.delta or n not in NEEDS_DELTA))
    unknown = [n for n in names if n not in SECTIONS]
    if unknown:
        raise SystemExit(f"--sections {unknown[0]}: unknown; choose from {', '.join(SECTIONS)}")
    if cfg.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit(
            "--device cuda: this machine shows no CUDA device; the benchmark needs one (or --device cpu --dims tiny)"
        )
    b = set_up(cfg)
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
    with errors.plain_errors():
        sys.exit(main(tyro.cli(Config, description=__doc__)))
