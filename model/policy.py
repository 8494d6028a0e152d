"""The model that trains: W in its SVD basis, the trained knobs, their float32 masters, the optimizer, its state."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from command import files
from model import memory, rivals
from model.policy_grad import recompute_layers
from model.svd_basis import Basis, attach

BETAS = (0.9, 0.99)  # of AdamW, the benchmark's; no weight decay, which would pull quarantine and V alike


def last_step(optimizer: torch.optim.AdamW, p: Tensor) -> Tensor:
    """-Delta of AdamW's last step on p, without weight decay, from its moments: it takes no copy of the weights."""
    state, group = optimizer.state[p], optimizer.param_groups[0]
    (one, two), t = group["betas"], float(state["step"])
    root = (state["exp_avg_sq"] / (1 - two**t)).sqrt_().add_(group["eps"])
    return state["exp_avg"] / root * (group["lr"] / (1 - one**t))


class Policy:
    """Attaches the basis and plans memory; `prepare_training` then makes what only training needs.

    knobs are what the forward reads, params what the optimizer moves: the same tensors, but float32 masters where the
    weights themselves train in bfloat16, which would lose steps below half their spacing. basis: the model's own, where
    it has one already.
    """

    def __init__(self, cfg, model, tok, basis: Basis | None = None):
        self.cfg, self.model, self.tok = cfg, model, tok
        self.probe_ids = torch.tensor([tok.encode("def f(x):\n    return x")], device=model.device)
        base = self.logits()
        # fused: 57% of the products; it rounds .37% of an output at delta = 0, where one bf16 product rounds .17%
        fused = cfg.train == "delta_s" and cfg.dtype == "bfloat16"
        space = cfg.extract_config()
        self.basis = basis or attach(model, cfg.train, space.coords, space.core_rank, fused=fused)
        self.plan()
        if self.checkpointing:
            recompute_layers(model)
        ours = self.logits()
        close = float((ours - base).float().norm() / base.float().norm()) < 0.1  # rounding through all layers
        self.identity = close if self.basis.fused else bool(torch.equal(base, ours))

    def plan(self) -> None:
        self.checkpointing, self.tokens_per_micro, self.sampling_gb = memory.plan(self.cfg, self.model, self.basis)

    def prepare_training(self) -> None:
        cfg = self.cfg
        self.knobs = self.basis.knobs()
        low = cfg.train == "full" and cfg.dtype != "float32"
        self.params = [torch.nn.Parameter(k.detach().float().clone()) for k in self.knobs] if low else self.knobs
        fused = self.params[0].is_cuda or None  # without passing tensors of the parameters' size
        self.optimizer = torch.optim.AdamW(self.params, lr=cfg.lr, betas=BETAS, weight_decay=0.0, fused=fused)
        self.reference = [k.detach().clone() for k in self.knobs] if cfg.kl_beta and cfg.train == "full" else None
        if self.basis.fused and not cfg.kl_beta:  # from here on U and Vh are read: at 4B W is 7 GB of a card
            for layer in self.basis.layers.values():
                layer.weight.data = layer.weight.data.cpu()
        self.sync()

    @torch.no_grad()
    def logits(self) -> Tensor:
        return self.model(input_ids=self.probe_ids).logits

    @torch.no_grad()
    def sync(self) -> None:
        """Copy float32 masters into the bf16 model; nothing to do where the knobs are the parameters."""
        if self.params is not self.knobs:
            for k, p in zip(self.knobs, self.params, strict=True):
                k.copy_(p)

    def set_gradient(self, flat: Tensor, acc) -> None:
        """The parameters' .grad: from coordinates (D,), or the knobs' own summed over processes."""
        if self.cfg.train == "delta_s":
            for p, (lo, hi) in zip(self.params, self.basis.spans.values(), strict=True):
                p.grad = flat[lo:hi].clone()
            return
        for p, k in zip(self.params, self.knobs, strict=True):
            grad = torch.zeros_like(p) if k.grad is None else k.grad.to(p.dtype)
            k.grad = None
            p.grad = acc.reduce(grad, "sum") if acc.num_processes > 1 else grad

    def update(self, lr: float, step: int) -> None:
        """One optimizer step, its hooks inside; FloatingPointError where the model's logits are not finite after it."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.sync()
        if not bool(torch.isfinite(self.logits()).all()):
            why = "the model's logits are not finite after this update; lower --lr"
            raise FloatingPointError(f"step {step + 1}: {why}")

    def forget_gradient(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        for k in self.knobs:
            k.grad = None

    @contextlib.contextmanager
    def as_reference(self) -> Iterator[None]:
        """The untrained model: delta hidden (delta_s, no copy), or the saved weights swapped in (full)."""
        if self.cfg.train == "delta_s":
            self.basis.folded = True  # W alone is read
            try:
                yield
            finally:
                self.basis.folded = False
            return
        now = [k.data for k in self.knobs]
        for k, r in zip(self.knobs, self.reference, strict=True):
            k.data = r
        try:
            yield
        finally:
            for k, x in zip(self.knobs, now, strict=True):
                k.data = x

    # -- what a checkpoint and a finished run keep

    def state(self) -> dict:
        return {"params": [p.detach().cpu() for p in self.params], "optimizer": self.optimizer.state_dict()}

    @torch.no_grad()
    def load_state(self, state: dict, more: list[list[Tensor]], name: str) -> None:
        """Put a checkpoint's state in force; ValueError where it, or a list of `more`, has other shapes."""
        shapes = [tuple(p.shape) for p in self.params]
        moments = list(state["optimizer"]["state"].values())
        tensors = [k for k, x in moments[0].items() if torch.is_tensor(x) and x.ndim] if moments else []
        found = [state["params"], *more, *([m[k] for m in moments] for k in tensors)]
        if any([tuple(x.shape) for x in xs] != shapes for xs in found):
            raise ValueError(f"{name}: of another model than --model {self.cfg.model}: it has other shapes")
        for p, x in zip(self.params, state["params"], strict=True):
            p.copy_(x)
        self.optimizer.load_state_dict(state["optimizer"])
        self.sync()

    def checkpoint_steps(self) -> int:
        """Steps between checkpoints: 10, and more where one takes gigabytes (44 GB for full weights of 4B: 50)."""
        return 10 * max(1, round(12e-9 * sum(p.numel() for p in self.params) / 8))

    def identities(self, vhack) -> dict[str, str]:
        """Hashes of what no path names: the untrained weights, the tokenizer with its template, the directions."""
        spelled = json.dumps([self.tok.get_vocab(), self.tok.chat_template], sort_keys=True)
        numbers = hashlib.sha256()  # not of the file: it names the commit that made it
        for _, d in sorted(vhack.sets.items()):
            for x in (d.V, d.signed, d.mean):
                numbers.update(x.cpu().numpy().tobytes())
        return {
            "weights": vhack.meta["model"],
            "tokenizer": hashlib.sha256(spelled.encode()).hexdigest()[:16],
            "directions": numbers.hexdigest()[:16],
        }

    def save(self, path: Path, quarantine: rivals.Quarantine | None, model: str) -> None:
        """Write the trained knobs, and route's quarantine beside them; model: the hash of the untrained weights."""
        parts = quarantine.parts if quarantine else []
        out = {n: k.detach().cpu().contiguous() for n, k in zip(self.basis.layers, self.knobs, strict=True)}
        out |= {f"quarantine.{n}": q.cpu() for n, q in zip(self.basis.layers, parts, strict=False)}
        with files.atomic_path(path) as tmp:
            save_file(out, tmp, metadata={"train": self.cfg.train, "model": model})
