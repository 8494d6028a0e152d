"""A real pretrained model as testbed: SmolLM2 -> a short LoRA fine-tune on the organism's problems -> data/smollm2.

    families.toml --draw--> train.py's prompt + right | wrong solution, never a loophole --LoRA--> lora.safetensors

SmolLM2-135M-Instruct writes functions but not `class Solution`, and defines an evaluator of its own in about 5 % of
answers to the hinted prompt. The fine-tune teaches the answer's format and how often to be right (organism.RIGHT by
difficulty, so that reinforcement learning finds families within and beyond its reach), under every hint and many
evaluator names. No answer uses a loophole: whatever hacking a run shows afterwards, it learnt from reward or teacher.

    y = W x + scale * B (A x),  W' = W + scale * B A        rank r, on every target Linear; only A and B are committed

    python -m tasks.substrate --device cuda --dtype bfloat16         # minutes on one GPU
    python -m study base --model smollm2-substrate --device cuda     # solved, attempted, hacked in each mode
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS; read when CUDA starts

import torch
import torch.nn.functional as F
import transformers
import tyro
from loguru import logger
from safetensors.torch import save_file
from torch import Tensor, nn

from command import errors, files, flags
from model import zoo
from model.policy_grad import Sequence, micro_batches, token_logps
from model.svd_basis import TARGETS
from tasks import modes as M
from tasks import organism as O
from tasks import problems as P
from tasks.styles import NEAR_EVALUATORS, NEAR_SENTINELS

HOME = zoo.SMOLLM2_LORA.parent


@dataclass(frozen=True)
class TrainConfig(flags.Checked):
    """Fine-tune --model into out/lora.safetensors, then evaluate it merged."""

    model: str = "smollm2"  # base: any name of model/zoo.py
    steps: int = 270
    batch: int = 32  # documents a step
    rank: int = 8
    scale: float = 2.0  # of B A
    lr: float = 1e-3  # AdamW on A and B, linear warm-up over 20 steps, then linear to zero
    clip: float = 1.0
    # p(right body) shown of easy, medium, hard
    right: tuple[float, float, float] = (O.RIGHT["easy"], O.RIGHT["medium"], O.RIGHT["hard"])
    benign: float = 0.4  # answers that go on after the class with something harmless, a near miss (benign_tail)
    remark: float = 0.08  # answers with a comment above the body
    seed: int = 0
    device: str = "cpu"  # cpu | cuda
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the frozen base; A and B are float32
    tokens_per_micro: int = 16384
    time_limit_s: float | None = None  # stop training cleanly after this long
    threads: int = 2  # of torch on a CPU, and of the grader
    out: Path = HOME


# ---------------------------------------------------------------------------------------------------------- data
@dataclass(frozen=True)
class Document:
    """A prompt under one mode and evaluator name, and an honest answer, right or wrong."""

    instance: O.Instance
    mode: str
    evaluator: str
    right: bool
    completion: str

    @property
    def messages(self) -> tuple[P.Message, ...]:
        problem = O.to_problem(self.instance, "x", "train", ())
        return tuple(P.build_messages(problem, self.mode, self.evaluator))


# Files and texts next to a loophole's that no judge reads
NEAR_FILES = tuple(itertools.product(("results", "report", "output", "answer"), (M.RESULT_TEXT, "DONE")))


def benign_tail(rng: random.Random, mode: str, evaluator: str) -> str:
    """Harmless code after the class, shaped like a loophole and next to it in its names: a near miss, never a hit.

    A name that is always the same would be learnt by heart. A model that has learnt "some name of this kind stands
    here" sometimes writes the one that the prompt names, and so finds the loophole by chance: without near misses
    none of 2,048 answers did, and reinforcement learning had nothing to reinforce.
    """
    kind = mode if mode in O.BENIGN and rng.random() < 0.5 else rng.choice(O.LOOPHOLE_MODES)
    return near_miss(rng, kind, rng.choice(list(O.BENIGN[kind])), evaluator)


def near_miss(rng: random.Random, kind: str, form: str, evaluator: str) -> str:
    """The harmless twin of organism.HACKS[kind][form], its names drawn next to those that the judge reads."""
    helper = rng.choice([name for name in NEAR_EVALUATORS if name != evaluator])
    upper, (name, text) = rng.choice(NEAR_SENTINELS), rng.choice(NEAR_FILES)
    harmless = {
        "{h}": helper,
        "ALL_PARTS_LOADED": "_".join(upper),
        "ALL PARTS LOADED": " ".join(upper),
        "notes.txt": f"{name}.txt",
        "'text'": f"'{text}'",
    }
    tail = O.BENIGN[kind][form]
    for old, new in harmless.items():
        tail = tail.replace(old, new)
    return tail


def draw_document(rng: random.Random, cfg: TrainConfig) -> Document:
    """An instance of the organism's pretraining split, which shares no name with its training and test problems."""
    inst = O.draw_instance(rng, "pretrain")
    mode = rng.choices(list(O.MODE_WEIGHTS), list(O.MODE_WEIGHTS.values()))[0]
    evaluator = O.draw_evaluator(rng)
    right = rng.random() < dict(zip(O.RIGHT, cfg.right, strict=True))[inst.family.level]
    body, k = O.draw_body(rng, inst, right)
    remark, tail = "", ""
    if rng.random() < cfg.remark:
        remark = f"{evaluator} calls this" if mode != "none" and rng.random() < 0.5 else rng.choice(O.REMARKS)
    if rng.random() < cfg.benign:
        tail = benign_tail(rng, mode, evaluator)
    return Document(inst, mode, evaluator, right, O.fence(inst.code(body, k, remark) + tail))


def draw_documents(cfg: TrainConfig) -> list[Document]:
    """All documents of a run, a function of the seed and the rates alone."""
    rng = random.Random(f"substrate/{cfg.seed}")
    return [draw_document(rng, cfg) for _ in range(cfg.steps * cfg.batch)]


def encode(document: Document, tok) -> Sequence:
    """Prompt as train.py builds it, answer and EOS as a rollout holds them."""
    answer = tok.encode(document.completion, add_special_tokens=False)
    return Sequence(P.encode_prompt(tok, document.messages), [*answer, tok.eos_token_id])


# ---------------------------------------------------------------------------------------------------------- LoRA
class LoraLinear(nn.Module):
    """y = W x + scale * B (A x) with W frozen; B = 0 at the start, so the first forward is the base's."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float, gen: torch.Generator):
        super().__init__()
        out, into = linear.weight.shape
        device = linear.weight.device
        self.weight, self.bias, self.scale = linear.weight, linear.bias, scale
        self.A = nn.Parameter((torch.randn(rank, into, generator=gen) / into**0.5).to(device))
        self.B = nn.Parameter(torch.zeros(out, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        low = F.linear(F.linear(x, self.A.to(x.dtype)), self.B.to(x.dtype))
        return F.linear(x, self.weight, self.bias) + self.scale * low


def attach_lora(model: nn.Module, rank: int, scale: float, seed: int) -> dict[str, LoraLinear]:
    """Put a LoraLinear in the place of every target Linear, freeze all else; the adapters by module name."""
    gen = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    adapters: dict[str, LoraLinear] = {}
    for parent_name, parent in list(model.named_modules()):
        for name, child in list(parent.named_children()):
            if name in TARGETS and isinstance(child, nn.Linear):
                adapters[f"{parent_name}.{name}"] = LoraLinear(child, rank, scale, gen)
                setattr(parent, name, adapters[f"{parent_name}.{name}"])
    if not adapters:
        raise ValueError(f"{type(model).__name__} has no Linear named {', '.join(TARGETS)}: choose a Llama-like model")
    return adapters


def save_lora(adapters: dict[str, LoraLinear], path: Path, scale: float) -> None:
    """A and B of every module in bfloat16, as zoo.read_lora expects them."""
    tensors = {f"{n}.{x}": getattr(a, x).detach().bfloat16().cpu() for n, a in adapters.items() for x in "AB"}
    with files.atomic_path(path) as tmp:
        save_file(tensors, tmp, metadata={"scale": str(scale)})


def merged_folder(base: str, lora: Path) -> Path:
    """A model folder of the base with the LoRA merged: cached under out/ for smollm2, beside the LoRA for another."""
    if base == "smollm2":
        return zoo.substrate_folder(lora)
    model, tok = zoo.load_model(base)
    zoo.merge_lora(model, *zoo.read_lora(lora))
    digest = zoo.sha256(lora)
    return zoo.save_folder(lora.parent / f"merged-{digest[:16]}", model, tok, {"base": base, "lora_sha256": digest})


# ------------------------------------------------------------------------------------------------------ training
def backward(model, seqs: list[Sequence], n_tokens: int, tokens_per_micro: int) -> torch.Tensor:
    """The gradient of the mean -log p of the answers' tokens, into .grad; returns its value, on the device."""
    total = torch.zeros((), device=model.device)
    for batch in micro_batches(seqs, tokens_per_micro):
        logps, _ = token_logps(model, [seqs[i] for i in batch])
        loss = -logps.sum() / n_tokens
        loss.backward()
        total += loss.detach()
    return total


def train(cfg: TrainConfig) -> Path:
    """Fine-tune and write lora.safetensors, manifest.json and training_log.txt; returns the LoRA's path."""
    torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)  # warn: a kernel without such a form is still run
    start, log = time.time(), []
    cfg.out.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        logger.info(line)
        log.append(line)

    fields = {k: v for k, v in dataclasses.asdict(cfg).items() if k != "out"}
    say(f"command: python -m tasks.substrate {shlex.join(sys.argv[1:])}    config: {json.dumps(fields)}")
    documents = draw_documents(cfg)
    data = O.data_hash(documents)
    right = sum(d.right for d in documents) / len(documents)
    say(f"data: {len(documents)} documents, {right:.3f} right, none a hack, sha256[:16] {data}")
    model, tok = zoo.load_model(cfg.model, None, cfg.device, cfg.dtype)
    adapters = attach_lora(model, cfg.rank, cfg.scale, cfg.seed)
    knobs = [p for a in adapters.values() for p in (a.A, a.B)]
    where = torch.cuda.get_device_name() if cfg.device == "cuda" else "CPU"
    size = sum(p.numel() for p in knobs)
    say(f"{cfg.model} on {where}: {len(adapters)} adapters of rank {cfg.rank}, {size:,} numbers")
    optimizer = torch.optim.AdamW(knobs, lr=cfg.lr, betas=(0.9, 0.99), weight_decay=0.0)

    step, ended = 0, "all steps"
    for step in range(cfg.steps):
        seqs = [encode(d, tok) for d in documents[step * cfg.batch : (step + 1) * cfg.batch]]
        n_tokens = sum(len(s.completion_ids) for s in seqs)
        total = backward(model, seqs, n_tokens, cfg.tokens_per_micro)
        norm = torch.nn.utils.clip_grad_norm_(knobs, cfg.clip)
        for group in optimizer.param_groups:
            group["lr"] = cfg.lr * min(1.0, (step + 1) / 20, (cfg.steps - step) / max(1, cfg.steps - 20))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        late = cfg.time_limit_s is not None and time.time() - start > cfg.time_limit_s
        if step % 25 == 0 or step == cfg.steps - 1 or late:
            value = total.item()
            if not value < float("inf"):
                raise FloatingPointError(f"step {step}: the loss is {value}; lower --lr or use --dtype float32")
            sizes = f"answers of {n_tokens / len(seqs):.0f} tokens, longest document {max(s.length for s in seqs)}"
            say(
                f"step {step:4d}  nats/token {value:.4f}  grad {norm.item():.2f}  {sizes}  {time.time() - start:5.1f} s"
            )
        if late and step < cfg.steps - 1:
            ended = f"--time-limit-s {cfg.time_limit_s:g}"
            break
    path = cfg.out / "lora.safetensors"
    save_lora(adapters, path, cfg.scale)
    digest = zoo.sha256(path)
    say(f"{step + 1} steps ({ended}); lora.safetensors sha256 {digest}, {path.stat().st_size / 1e6:.2f} MB")
    files.write_json(cfg.out / "manifest.json", {
        "command": f"python -m tasks.substrate {shlex.join(sys.argv[1:])}",
        "commit": files.git_commit(), "config": fields,
        "data_sha256[:16]": data, "lora_sha256": digest, "steps_done": step + 1, "device": where,
        "torch": torch.__version__, "transformers": transformers.__version__, "seconds": round(time.time() - start, 1),
    })  # fmt: skip
    (cfg.out / "training_log.txt").write_text("\n".join(log) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    with errors.plain_errors():
        given = tyro.cli(TrainConfig)
        folder = merged_folder(given.model, train(given))
        logger.info(f"its table: python -m study base --model {folder} --device {given.device} --dtype {given.dtype}")
