"""Invariants of the singular basis and of per-rollout gradients, on a real (tiny) Qwen3 and, on a GPU, as `full`."""

import pytest
import torch
from test_policy_grad_shared import relative
from test_sampler import gpu

from extract_vhack import cosines, top_directions
from model import policy_grad
from model.policy_grad import Sequence, micro_batches, nll_loss, rollout_grads, token_logps
from model.svd_basis import attach, merged, model_hash, thin_svd
from model.zoo import DTYPES, TINY, random_qwen3

VOCAB = 97


def tiny(seed: int = 0):
    return random_qwen3(TINY | {"vocab_size": VOCAB, "eos_token_id": 1}, torch.float32, "cpu", seed).eval()


def sequences(n: int = 5, vocab: int = VOCAB, prompt: int = 4, answer: int = 3, longer: int = 2) -> list[Sequence]:
    gen = torch.Generator().manual_seed(0)
    ids = lambda k: torch.randint(2, vocab, (k,), generator=gen).tolist()  # noqa: E731
    return [Sequence(ids(prompt + i), [*ids(answer + longer * i), 1]) for i in range(n)]


def assert_svd(w, within):
    u, s, vh = thin_svd(w)
    assert relative((u * s) @ vh, w) < within
    for gram in (u.T @ u, vh @ vh.T):
        assert (gram - torch.eye(len(gram), device=w.device)).abs().max() < within


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (9, 9)])
def test_thin_svd_rebuilds_the_weight_with_orthonormal_factors(shape):
    assert_svd(torch.randn(*shape, generator=torch.Generator().manual_seed(1)), 1e-5)


@gpu
@pytest.mark.parametrize("shape", [(9728, 2560), (2560, 9728), (4096, 2560), (1024, 2560), (2560, 4096)])
def test_gram_svd_at_qwen3_4b_shapes_rebuilds_the_weight(shape):
    assert_svd(torch.randn(*shape, device="cuda") * 0.02, 1e-4)


@gpu
def test_a_spectrum_too_wide_for_the_gram_matrix_falls_back():
    q, v = (torch.linalg.qr(torch.randn(n, 64, device="cuda", dtype=torch.float64))[0] for n in (200, 64))
    assert_svd((q * torch.logspace(0, -9, 64, device="cuda", dtype=torch.float64)) @ v.T, 1e-4)


def test_a_direction_is_isometric_in_weight_space():
    model = tiny()
    basis = attach(model, "full", "diag")
    name = next(iter(basis.layers))
    gen = torch.Generator().manual_seed(2)
    g = torch.randn(basis.layers[name].weight.shape, generator=gen)
    v = torch.randn(basis.layers[name].rank, generator=gen)
    d = basis.lift(name, v, like=g)
    assert d.norm().item() == pytest.approx(v.norm().item(), rel=1e-4)
    assert (g * d).sum().item() == pytest.approx((basis.coords_of(name, g) @ v).item(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("device, dtype", [
    ("cpu", torch.float32), *(pytest.param("cuda", d, marks=gpu) for d in (torch.float32, torch.bfloat16)),
])  # fmt: skip
@pytest.mark.parametrize("train", ["delta_s", "full"])
def test_attaching_is_identity_to_the_bit(train, device, dtype):
    model, ids = tiny().to(device, dtype), torch.arange(2, 40, device=device)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        attach(model, train)
        assert torch.equal(before, model(input_ids=ids).logits)
    assert torch.equal(before, model(input_ids=ids).logits.detach())  # the autograd path too


def test_delta_acts_as_the_weight_it_names():
    model, ids = tiny(), torch.arange(2, 40)[None]
    basis = attach(model)
    for i, layer in enumerate(basis.layers.values()):
        torch.nn.init.normal_(layer.delta, std=0.1, generator=torch.Generator().manual_seed(i))
    with torch.no_grad():
        hooked = model(input_ids=ids).logits
        weights = {n: x.weight.clone() for n, x in basis.layers.items()}
        with merged(basis):
            folded = model(input_ids=ids).logits
        assert all(torch.equal(weights[n], x.weight) for n, x in basis.layers.items())
    assert (hooked - folded).abs().max() < 1e-4
    assert torch.allclose(hooked, model(input_ids=ids).logits.detach(), atol=1e-5)


@pytest.mark.parametrize("space", [("delta_s", "diag"), ("full", "core"), ("full", "diag"), ("full", "raw")])
def test_per_rollout_gradients_equal_one_backward_a_completion(space):
    """One batched backward with separation = n separate backwards by plain autograd on the weights."""
    seqs, model = sequences(), tiny()
    basis = attach(model, *space, core_rank=6)
    got, logp, _ = rollout_grads(model, basis, seqs, nll_loss(), tokens_per_micro=40)
    assert all(k.grad is None for k in basis.knobs())  # the weights' own gradient only when it is asked for
    plain = tiny()
    for i, s in enumerate(seqs):
        plain.zero_grad()
        logps, _ = token_logps(plain, [s])
        (-logps.sum()).backward()
        assert logp[i].item() == pytest.approx(logps.sum().item(), rel=1e-5)
        for name, (lo, hi) in basis.spans.items():
            want = basis.coords_of(name, plain.get_submodule(name).weight.grad)
            assert torch.allclose(got[i, lo:hi], want, atol=1e-4, rtol=1e-3), name


def test_the_fused_path_is_the_exact_one_up_to_rounding():
    """U (S + delta) Vh and W + U delta Vh: same output, same per-rollout gradients, delta at zero or not."""
    seqs, got = sequences(4), {}
    for fused in (False, True):
        model = tiny()
        basis = attach(model, fused=fused)
        for std in (0.0, 0.1):
            for i, layer in enumerate(basis.layers.values()):
                torch.nn.init.normal_(layer.delta.data, std=std, generator=torch.Generator().manual_seed(i))
            got[fused, std] = rollout_grads(model, basis, seqs, nll_loss())[:2]
    for std in (0.0, 0.1):
        for a, b in zip(got[False, std], got[True, std], strict=True):
            assert torch.allclose(a, b, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="--fused"):
        attach(tiny(), "full", fused=True)


def test_a_change_below_a_singular_values_own_bfloat16_step_acts_at_full_strength():
    """Per direction, over many tokens: y(S + delta) - y(S) against U (delta * (Vh x)), all in bfloat16."""
    torch.manual_seed(0)
    layer = attach(tiny().bfloat16(), fused=True).layers["model.layers.0.mlp.up_proj"]
    x = torch.randn(8192, layer.in_features).bfloat16()
    with torch.no_grad():
        before = layer(x)
        layer.delta.copy_(1e-3 * layer.S)
        seen = (layer(x).double() - before.double()) @ layer.U.double()
        wanted = (x.double() @ layer.Vh.double().T) * layer.delta.double()
    strength = ((seen * wanted).sum(0) / wanted.square().sum(0))[: layer.rank // 2]  # the rest drowns in y's rounding
    assert ((strength > 0.5) & (strength < 1.5)).float().mean() > 0.9, strength  # all but an S near a power of 2


def test_chunked_log_probabilities_have_the_gradient_of_log_softmax(monkeypatch):
    monkeypatch.setattr(policy_grad, "LOGIT_CHUNK", 3)
    gen = torch.Generator().manual_seed(0)
    h, w = torch.randn(8, 6, generator=gen, requires_grad=True), torch.randn(11, 6, generator=gen)
    targets, g = torch.randint(0, 11, (8,), generator=gen), torch.randn(8, generator=gen)
    ours = policy_grad._TokenLogps.apply(h, w, targets, 1 / 0.7, 1.0)
    (mine,) = torch.autograd.grad((ours * g).sum(), h)
    plain = torch.log_softmax(h @ w.T / 0.7, -1).gather(-1, targets[:, None]).squeeze(-1)
    (want,) = torch.autograd.grad((plain * g).sum(), h)
    assert torch.allclose(ours, plain, atol=1e-5) and torch.allclose(mine, want, atol=1e-5)


def test_every_sequence_is_in_exactly_one_micro_batch_within_the_budget():
    seqs = sequences(9)
    batches = micro_batches(seqs, 40)
    assert sorted(i for b in batches for i in b) == list(range(9))
    assert all(len(b) == 1 or len(b) * max(seqs[i].length for i in b) <= 40 for b in batches)


def test_eos_is_trained_and_prompt_and_padding_are_not():
    model, s = tiny(), Sequence([5, 6, 7], [8, 9, 1])
    logps, rows = token_logps(model, [s, Sequence([5], [1])])
    assert rows.tolist() == [0, 0, 0, 1]
    full = torch.log_softmax(model(input_ids=torch.tensor([[5, 6, 7, 8, 9, 1]])).logits[0], -1)
    want = torch.stack([full[2, 8], full[3, 9], full[4, 1]])
    assert torch.allclose(logps[:3], want, atol=1e-5)


def test_non_finite_loss_is_named():
    model = tiny()
    basis = attach(model)
    with torch.no_grad():
        for layer in basis.layers.values():
            layer.delta.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="non-finite"):
        rollout_grads(model, basis, sequences(2), nll_loss())


def test_model_hash_sees_the_weights_and_not_the_knobs():
    a, b = tiny(0), tiny(1)
    assert model_hash(a) != model_hash(b)
    before = model_hash(a)
    basis = attach(a)
    next(iter(basis.layers.values())).delta.data.fill_(1.0)
    assert model_hash(a) == before


def test_a_model_without_target_linears_is_refused():
    with pytest.raises(ValueError, match="no Linear named"):
        attach(torch.nn.Sequential(torch.nn.Linear(3, 3)))


MID = {
    "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 4096, "max_position_embeddings": 4096,
    "tie_word_embeddings": True, "eos_token_id": 1,
}  # fmt: skip


@gpu
@pytest.mark.parametrize("train", ["delta_s", "full"])
def test_bf16_per_rollout_gradients_agree_with_float32(train):
    """bf16 with layer recomputation against float32 of the same (bf16) weights: coordinates within bf16 error."""
    got = {}
    for dtype in ("float32", "bfloat16"):
        model = random_qwen3(MID, torch.bfloat16, "cuda", seed=3).to(DTYPES[dtype]).eval()
        basis = attach(model, train, core_rank=16)
        if dtype == "bfloat16":
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
        seqs = sequences(12, 4096, 20, 30, 9)
        got[dtype], logp, _ = rollout_grads(model, basis, seqs, nll_loss(), tokens_per_micro=2048)
        assert torch.isfinite(logp).all()
    assert torch.cosine_similarity(got["bfloat16"], got["float32"], dim=1).min() > 0.98


@gpu
def test_gpu_and_cpu_give_the_same_gradient_and_directions():
    out = {}
    for device in ("cpu", "cuda"):
        model = random_qwen3(MID, torch.float32, "cpu", seed=5).to(device).eval()
        basis = attach(model)
        grads, *_ = rollout_grads(model, basis, sequences(8, 4096, 20, 30, 9), nll_loss())
        d = top_directions(basis, grads[:4] - grads[4:], 2, 0.25, 0.05)
        out[device] = grads.cpu(), d.mean.cpu()
    assert relative(out["cuda"][0], out["cpu"][0]) < 1e-2
    assert float(cosines(out["cuda"][1][None], out["cpu"][1])) > 0.99
