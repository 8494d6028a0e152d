"""One training step shared by several GPUs: its seconds by phase, and its gradient beside that of one GPU.

    python -m bench.processes --out DIR/rows.json                                         one GPU, first
    python -m torch.distributed.run --nproc-per-node 2 -m bench.processes --out DIR/rows.json

The flags are bench/gpu.py's. Every process takes its share of the prompts, as train.py does under `accelerate launch`.
The sampled tokens are replaced by the same random ones of the same lengths, since batches of another size round
otherwise and a near-tie then gives another rollout. The first call leaves its gradient beside --out for the second.
"""

import contextlib
import sys
from pathlib import Path

import torch
import tyro
from accelerate import Accelerator

from bench import gpu
from command import errors
from grader import GraderProcess


class SameTokens(gpu.Forced):
    """Rollouts whose tokens do not depend on the number of processes."""

    def sample_rollouts(self, tasks, n, seed, **_):
        drawn = super().sample_rollouts(tasks, n, seed)
        vocab = self.model.config.vocab_size
        for i, r in enumerate(drawn):
            gen = torch.Generator().manual_seed(self.first + i)
            r.completion_ids = torch.randint(5, vocab, (len(r.completion_ids),), generator=gen).tolist()
        return drawn


def measure(b: gpu.Bench, acc) -> tuple[gpu.Forced, float, float]:
    """The trainer after one warm step, the step's seconds and this process' peak GB."""
    gpu.attach_delta(b)
    gpu.forget(b)
    work, _ = gpu.step_work(b)
    gpu.get_directions(b)
    with contextlib.ExitStack() as stack:
        grader = stack.enter_context(GraderProcess(accept_level=b.cfg.grader_level))
        tr = SameTokens(b, work, grader, b.cfg.memory_gb, acc)
        stack.enter_context(gpu.training(b, fused=True, checkpointing=tr.policy.checkpointing))
        gpu.warm_up(b, tr)
        acc.wait_for_everyone()
        seconds, peak, _ = gpu.timed(b.cfg, lambda: tr.train_step(0, gpu.tasks_of(work)))
    return tr, seconds, peak


def main(cfg: gpu.Config) -> int:
    acc = Accelerator(cpu=cfg.device == "cpu")
    n = acc.num_processes
    b = gpu.set_up(cfg)
    b.section = "processes"
    tr, seconds, peak = measure(b, acc)
    spans = tr.gather([tr.seconds | {"grade_wait_s": tr.grade_wait_s, "seconds": seconds, "peak_gb": peak}])
    if not acc.is_main_process:
        return 0
    worst = {k: max(x[k] for x in spans) for k in spans[0]}
    kept = Path(cfg.out or "bench_processes.json").with_suffix(".one.pt")
    more = {}
    if n == 1:
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"gradient": tr.gradient.cpu(), "seconds": seconds}, kept)
    elif kept.exists():
        one = torch.load(kept)
        apart = float((tr.gradient.cpu() - one["gradient"]).norm() / one["gradient"].norm())
        more = {"times_one": one["seconds"] / seconds, "gradient_apart": apart}
    b.row(f"step on {n} GPUs, the slowest process' seconds", processes=n, **worst, **more)
    gpu.save(b)
    return 0


if __name__ == "__main__":
    with errors.plain_errors():
        sys.exit(main(tyro.cli(gpu.Config, description=__doc__)))
