"""What a GPU's memory admits: recomputed layers, the tokens of a micro-batch, the sampler's share."""

from __future__ import annotations

import ctypes

import torch

TOKENS_PER_MICRO = 16384  # of one forward and backward; less where a GPU's memory asks for it


def plan(cfg, model, basis) -> tuple[bool, int, float | None]:
    """(checkpointing, tokens of a micro-batch, GB for sampling) that keep a GPU run within --memory-gb.

    Per token of the training forward at Qwen3-4B: .4 MB with layers recomputed, 4.5 MB without.
    """
    if cfg.device != "cuda":
        return False, TOKENS_PER_MICRO, None
    total = cfg.memory_gb or 0.92 * torch.cuda.get_device_properties(0).total_memory / 1e9
    numbers = sum(k.numel() for k in basis.knobs())
    copies = 3 if cfg.train == "delta_s" else 4  # gradient and Adam's moments; full: masters, too
    held = torch.cuda.memory_allocated() / 1e9 + 4e-9 * copies * numbers
    held += 4e-9 * cfg.prompts_per_step * cfg.group * basis.size  # per-rollout coordinates
    free = total - held - 6.0  # chunks of logits, SVD and other passing needs
    size = model.config.hidden_size * model.config.num_hidden_layers / (2560 * 36)
    kept = 4.5e-3  # the packed forward keeps the inputs of fused kernels alone
    checkpointing = 0.6 * free < 8192 * kept * size
    token_gb = (4e-4 if checkpointing else kept) * size
    tokens = min(TOKENS_PER_MICRO, int(0.6 * max(free, 0) / token_gb))
    sampling = free - tokens * token_gb
    if tokens < 2048 or sampling < 1:
        raise ValueError(
            f"--memory-gb {total:.0f}: weights and optimizer hold {held:.1f} GB, no room is left to sample and "
            "train; raise it, or use --train delta_s"
        )
    return checkpointing, tokens, sampling


def share(device: torch.device, memory_gb: float | None) -> None:
    """Where --memory-gb takes less than a quarter of a GPU, others share it: waits for it then sleep instead of
    spinning, which takes a whole core from graders and the runs beside this one.

    The flag CU_CTX_SCHED_BLOCKING_SYNC of the driver's cuCtxSetFlags (CUDA >= 12.1), which torch does not reach.
    Raises ValueError where the driver refuses it.
    """
    if device.type != "cuda" or not memory_gb:
        return
    if memory_gb >= 0.25 * torch.cuda.get_device_properties(device).total_memory / 1e9:
        return
    torch.zeros(1, device=device)  # makes the context, current in this thread
    try:
        refused = ctypes.CDLL("libcuda.so.1").cuCtxSetFlags(4)
    except (OSError, AttributeError) as error:
        refused = error
    if refused:
        raise ValueError(f"the CUDA driver refuses to sleep while waiting ({refused}): leave --memory-gb out")
