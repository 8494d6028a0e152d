"""The CUDA paths, at the dtypes and shapes that `full` uses; skipped where there is no GPU."""

import pytest
import torch

from extract_vhack import cosines, top_directions
from model import zoo
from model.policy_grad import Sequence, nll_loss, rollout_grads
from model.svd_basis import attach, thin_svd

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")

MID = {
    "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 4096, "max_position_embeddings": 4096,
    "tie_word_embeddings": True, "eos_token_id": 1,
}  # fmt: skip


def sequences(n=12, seed=0):
    gen = torch.Generator().manual_seed(seed)
    ids = lambda k: torch.randint(2, 4096, (k,), generator=gen).tolist()  # noqa: E731
    return [Sequence(ids(20 + i), [*ids(30 + 9 * i), 1]) for i in range(n)]


def relative(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.mark.parametrize("shape", [(9728, 2560), (2560, 9728), (4096, 2560), (1024, 2560), (2560, 4096)])
def test_gram_svd_at_qwen3_4b_shapes_rebuilds_the_weight(shape):
    w = torch.randn(*shape, device="cuda") * 0.02
    u, s, vh = thin_svd(w)
    eye = torch.eye(min(shape), device="cuda")
    assert relative((u * s) @ vh, w) < 1e-4
    assert (u.T @ u - eye).abs().max() < 1e-4 and (vh @ vh.T - eye).abs().max() < 1e-4


def test_a_spectrum_too_wide_for_the_gram_matrix_falls_back():
    q = torch.linalg.qr(torch.randn(200, 64, device="cuda", dtype=torch.float64))[0]
    s = torch.logspace(0, -9, 64, device="cuda", dtype=torch.float64)
    v = torch.linalg.qr(torch.randn(64, 64, device="cuda", dtype=torch.float64))[0]
    w = ((q * s) @ v.T).double()
    u, got, vh = thin_svd(w)
    eye = torch.eye(64, device="cuda")
    assert (u.T @ u - eye).abs().max() < 1e-4 and (vh @ vh.T - eye).abs().max() < 1e-4
    assert relative((u * got) @ vh, w) < 1e-4


@pytest.mark.parametrize("train", ["delta_s", "full"])
def test_bf16_per_rollout_gradients_agree_with_float32(train):
    """bf16 with layer recomputation against float32 of the same (bf16) weights: coordinates within bf16 error."""
    seqs = sequences()
    got = {}
    for dtype in ("float32", "bfloat16"):
        model = zoo.random_qwen3(MID, torch.bfloat16, "cuda", seed=3).to(zoo.DTYPES[dtype]).eval()
        basis = attach(model, train, core_rank=16)
        if dtype == "bfloat16":
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
        got[dtype], logp, _ = rollout_grads(model, basis, seqs, nll_loss(), tokens_per_micro=2048)
        assert torch.isfinite(logp).all()
    cos = torch.cosine_similarity(got["bfloat16"], got["float32"], dim=1)
    assert cos.min() > 0.98, f"cosine {cos.min():.4f}, relative {relative(got['bfloat16'], got['float32']):.3f}"


def test_gpu_and_cpu_give_the_same_gradient_and_directions():
    seqs, out = sequences(8), {}
    for device in ("cpu", "cuda"):
        model = zoo.random_qwen3(MID, torch.float32, "cpu", seed=5).to(device).eval()
        basis = attach(model)
        grads, *_ = rollout_grads(model, basis, seqs, nll_loss())
        d = top_directions(basis, grads[:4] - grads[4:], 2, 0.25, 0.05)
        out[device] = grads.cpu(), d.mean.cpu()
    assert relative(out["cuda"][0], out["cpu"][0]) < 1e-2
    assert float(cosines(out["cuda"][1][None], out["cpu"][1])) > 0.99
