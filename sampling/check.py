"""Whether sampler and training compute the model that its own code computes: asked once, before a run."""

from __future__ import annotations

import torch
from loguru import logger

from model import packed
from model.packed import Packed, Unit
from model.policy_grad import Sequence, head_logps, token_logps
from model.svd_basis import Basis, merged
from sampling.sampler import Sampling, engine_of, sample

# Allowed difference of log-probabilities, as a share of the spread of the model's own logits. float32 agrees to 1e-6 on
# a CPU; attention kernels of a GPU sum with fewer bits. bfloat16 rounds each product by 0.4%, which adds up over the
# layers to a few percent; a wrong rotation, norm or factor gives a difference of the spread's own size.
TOLERANCE = {("cpu", torch.float32): 1e-3, ("cuda", torch.float32): 1e-2}
TOLERANCE_LOW = 0.15


@torch.no_grad()
def check_forward(model, basis: Basis | None, prompts: list[list[int]], *, memory_gb: float | None):
    """Compare sampler, packed and padded log-probabilities with the model's own forward, at its dtype, on prompts.

    A delta_s model is compared with a small random delta, put back to zero after. Raises ValueError naming the
    architecture, the path and the difference; a FloatingPointError where the model's own logits are not finite.
    """
    if model.device.type == "cuda" and engine_of(model) == "eager":
        logger.warning("{}: sampled without CUDA graphs, several times slower", type(model).__name__)
    knobs = [x for x in basis.layers.values() if x.delta is not None] if basis else []
    gen = torch.Generator().manual_seed(0)
    for layer in knobs:
        layer.delta.copy_(0.05 * layer.S.mean().cpu() * torch.randn(layer.rank, generator=gen))
    try:
        with merged(basis):
            how = Sampling(max_new_tokens=8, eos_ids=(), seed=0)
            done = sample(model, prompts, 2, how, max_rows=4, memory_gb=memory_gb)
        seqs = [Sequence(prompts[i // 2], s.ids) for i, s in enumerate(done)]
        own, spread = [], []
        for s in seqs:
            ids = torch.tensor([s.prompt_ids + s.completion_ids], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, len(s.prompt_ids) - 1 : -1].float()
            spread.append(logits.std(-1))
            own.append(logits.log_softmax(-1).gather(1, ids[0, len(s.prompt_ids) :, None])[:, 0])
        own, spread = torch.cat(own), float(torch.cat(spread).mean())
        units = [Unit(p, [x.completion_ids for x in seqs[2 * i : 2 * i + 2]], [0, 1]) for i, p in enumerate(prompts)]
        lay = Packed(units, model.device)
        h = packed.hidden_states(model, lay)[lay.before]
        paths = {
            "sampler": torch.tensor([x for s in done for x in s.logps], device=own.device),
            "packed forward": head_logps(model, h, lay.targets),
            "padded forward": token_logps(model, seqs)[0],
        }
    finally:
        for layer in knobs:
            layer.delta.zero_()
        if model.device.type == "cuda":
            from sampling import graph

            graph.release(model)  # this engine was made for four rows
    kind = f"{type(model).__name__} in {str(model.dtype).removeprefix('torch.')}"
    if not bool(torch.isfinite(own).all()):
        raise FloatingPointError(f"{kind}: the model's own log-probabilities are not finite; are its weights whole?")
    allowed = TOLERANCE.get((model.device.type, model.dtype), TOLERANCE_LOW) * spread + 1e-5
    for name, logps in paths.items():
        off = float((logps - own).square().mean().sqrt())
        if not off <= allowed:
            raise ValueError(
                f"{kind}: the {name}'s log-probabilities differ from the model's own by {off:.2g} (root mean square, "
                f"{allowed:.2g} is rounding): this architecture is not computed exactly, choose another --model"
            )
