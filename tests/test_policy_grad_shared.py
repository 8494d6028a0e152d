"""Prompts run once a group: the same log-probabilities and the same summed gradient as one sequence a rollout."""

import contextlib

import pytest
import torch
from test_sampler import gpu, make, with_delta

from model import packed
from model.packed import Packed, Unit, _SharedAttention, cut_units, hidden_states, micro_batches
from model.policy_grad import KL, Sequence, Softmax, recompute_layers, rollout_grads, shared_grads, token_logps
from model.svd_basis import attach, times


def units_of(seed=0, lengths=((7, (3, 1, 12)), (1, (5,)), (19, (2, 2, 9, 30)), (4, (1, 6)))):
    g = torch.Generator().manual_seed(seed)
    ids = lambda k: torch.randint(3, 97, (k,), generator=g).tolist()  # noqa: E731
    units, n = [], 0
    for plen, done in lengths:
        units.append(Unit(ids(plen), [ids(k) for k in done], list(range(n, n + len(done)))))
        n += len(done)
    return units, n


def sequences(units):
    return [Sequence(u.prompt_ids, c) for u in units for c in u.completions]


def weighted(scale):
    return lambda lp, rows, batch: -(lp * scale[torch.tensor(batch, device=lp.device)][rows]).sum()


def relative(a, b) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def both_attentions(lay, q, k, v, do, scale, *dtypes):
    """(output, gradients of q, k, v) of the packed attention and of masked attention, each in its dtype."""
    for packed_one, kind in zip((True, False), dtypes, strict=True):
        ins = [x.clone().to(kind).requires_grad_() for x in (q, k, v)]
        if packed_one:
            o = _SharedAttention.apply(*ins, lay, scale)
        else:
            heads = (x.transpose(0, 1)[None] for x in ins)
            masked = {"attn_mask": lay.mask(), "scale": scale, "enable_gqa": True}
            o = torch.nn.functional.scaled_dot_product_attention(*heads, **masked)[0].transpose(0, 1)
        (o * do).sum().backward()
        yield [o.detach(), *(x.grad for x in ins)]


@pytest.mark.parametrize("most", [None, 1 << 28, 2_000])  # scores of a padded block; None: segment by segment
def test_packed_attention_and_its_backward_equal_masked_attention_in_float64(most, monkeypatch):
    monkeypatch.setattr(packed, "_padded", lambda q: most is not None)
    monkeypatch.setattr(packed._Padded, "MOST", most)
    lay, g = Packed(units_of()[0], torch.device("cpu")), torch.Generator().manual_seed(1)
    n = len(lay.ids)
    shapes = ((n, 6, 8), (n, 2, 8), (n, 2, 8), (n, 6, 8))
    q, k, v, do = (torch.randn(s, generator=g, dtype=torch.float64) for s in shapes)
    for a, b in zip(*both_attentions(lay, q, k, v, do, 0.3, torch.float64, torch.float64), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)
    blocks = [len(x) for x in lay.pads.values()]
    assert blocks == [] if most is None else blocks == [1, 1] if most > 2_000 else min(blocks) > 1


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_packed_hidden_states_equal_the_models_own_forward(kind, device):
    model, (units, _) = make(kind, device=device), units_of()
    lay = Packed(units, model.device)
    with torch.no_grad():
        got = hidden_states(model, lay)[lay.before]
        want = []
        for s in sequences(units):
            h = model.model(torch.tensor([s.prompt_ids + s.completion_ids], device=device)).last_hidden_state[0]
            want.append(h[len(s.prompt_ids) - 1 : -1])
    assert torch.allclose(got, torch.cat(want), atol=2e-5 if device == "cpu" else 2e-3)
    assert lay.targets.tolist() == [t for u in units for c in u.completions for t in c]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("tokens", [10_000, 45, 8])
def test_shared_gradient_is_the_sum_of_the_unshared_rows_of_each_unit(tokens, fused, recompute, device):
    model, (units, n) = make(device=device), units_of()
    basis = with_delta(model, fused)
    if recompute:
        recompute_layers(model)
    weights = torch.randn(n, generator=torch.Generator().manual_seed(2)).to(device)
    how = {"softmax": Softmax(0.7)}
    own, prompt, logp = shared_grads(model, basis, units, weights, tokens_per_micro=tokens, **how)
    rows, want_logp, _ = rollout_grads(model, basis, sequences(units), weighted(weights), **how)
    close = 2e-5 if device == "cpu" else 1e-3  # attention kernels of float32 differ in their inner precision there
    assert torch.allclose(logp, want_logp, rtol=close, atol=10 * close)
    for at, u in enumerate(units):  # units stand for sources and groups: each one's gradient is exact by itself
        want = rows[u.rollouts].sum(0)
        assert relative(own[u.rollouts].sum(0) + prompt[at], want) < close
    assert relative(own.sum(0) + prompt.sum(0), rows.sum(0)) < close
    assert all(k.grad is None for k in basis.knobs())


def test_a_rollouts_own_part_is_its_gradient_at_its_completion_positions():
    """The log's cosine in shared mode: what autograd gives when the coordinates of prompt positions are left out."""
    model, (units, _) = make(), units_of(lengths=((7, (3, 6)),))
    basis = with_delta(model)
    weights = torch.tensor([1.0, -2.0])
    own, prompt, _ = shared_grads(model, basis, units, weights)
    one = Unit(units[0].prompt_ids, units[0].completions[:1], [0])
    alone, alone_prompt, _ = shared_grads(model, basis, [one], weights[:1])
    assert relative(own[0], alone[0]) < 1e-5  # company does not change it
    rows, *_ = rollout_grads(model, basis, sequences([one]), weighted(weights[:1]))
    assert relative(alone[0] + alone_prompt[0], rows[0]) < 1e-5 and float(alone_prompt.norm()) > 0


def test_rollouts_outside_every_unit_keep_zero_rows():
    model, (units, n) = make(), units_of()
    own, prompt, logp = shared_grads(model, with_delta(model), units[1:], torch.ones(n))
    assert not own[:3].any() and not logp[:3].any() and float(logp[3:].max()) < 0 and len(prompt) == 3
    assert float(prompt.abs().sum(1).min()) > 0


def test_micro_batches_hold_every_rollout_once_within_the_budget():
    units, n = units_of()
    for tokens in (1, 20, 45, 100, 10_000):
        batches = micro_batches(units, tokens)
        assert [i for b in batches for u in b for i in u.rollouts] == list(range(n))
        for b in batches:
            assert sum(u.length for u in b) <= tokens or (len(b) == 1 and len(b[0].completions) == 1)
    assert cut_units(units, 10_000) == units


@pytest.mark.parametrize("coords", ["core", "diag", "raw"])
def test_full_weights_get_the_gradient_of_unshared_prompts(coords):
    units, n = units_of()
    weights = torch.randn(n, generator=torch.Generator().manual_seed(3))
    model = make()
    basis = attach(model, "full", coords, core_rank=4)
    own, prompts, _ = shared_grads(model, basis, units, weights, tokens_per_micro=60, weight_grads=True)
    got = [k.grad.clone() for k in basis.knobs()]
    model.zero_grad()
    rows, *_ = rollout_grads(model, basis, sequences(units), weighted(weights), weight_grads=True)
    for a, k in zip(got, basis.knobs(), strict=True):
        assert float(k.grad.abs().max()) > 0 and torch.allclose(a, k.grad, atol=1e-5 * float(k.grad.abs().max()))
    assert torch.allclose(own.sum(0) + prompts.sum(0), rows.sum(0), atol=1e-5 * float(rows.abs().max()))
    # and the coordinates are those of the gradient itself
    assert torch.allclose(basis.flat(got), rows.sum(0), atol=1e-5 * float(rows.abs().max()))


@pytest.mark.parametrize("train", ["delta_s", "full"])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_kl_term_on_packed_prompts_is_that_of_one_sequence_a_rollout(train, top_p):
    """Autograd of the K3 formula on padded sequences against a fixed reference; a rollout of weight 0 has one, too."""
    model, (units, n) = make(), units_of()
    basis = attach(model, train, core_rank=4)
    start = [k.detach().clone() for k in basis.knobs()]
    gen = torch.Generator().manual_seed(4)
    moved = [k + 0.1 * k.abs().mean().clamp_min(0.3) * torch.randn(k.shape, generator=gen) for k in start]
    swap = lambda to: [k.data.copy_(x) for k, x in zip(basis.knobs(), to, strict=True)]  # noqa: E731

    @contextlib.contextmanager
    def reference():
        swap(start)
        yield
        swap(moved)

    swap(moved)
    weights, beta = torch.randn(n, generator=gen), torch.rand(n, generator=gen)
    weights[2] = 0.0
    how = {"softmax": Softmax(0.7, top_p), "weight_grads": train == "full"}

    def loss(logps, rows, batch):
        with torch.no_grad(), reference():
            ref, _ = token_logps(model, [sequences(units)[i] for i in batch], how["softmax"])
        index, r = torch.tensor(batch)[rows], ref - logps
        return (-weights[index] * logps + beta[index] * (r.exp() - r - 1)).sum()

    want, *_ = rollout_grads(model, basis, sequences(units), loss, **how)
    theirs = [k.grad for k in basis.knobs()]
    for k in basis.knobs():
        k.grad = None
    kl = KL(beta, torch.zeros(n), reference)
    own, prompts, _ = shared_grads(model, basis, units, weights, tokens_per_micro=60, kl=kl, **how)
    for at, u in enumerate(units):
        assert relative(own[u.rollouts].sum(0) + prompts[at], want[u.rollouts].sum(0)) < 1e-4
    for k, g in zip(basis.knobs(), theirs, strict=True):
        assert g is None and k.grad is None or relative(k.grad, g) < 1e-4
    assert float(kl.out.min()) > 0 and float(own[2].norm()) > 0


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="empty"):
        Packed([Unit([], [[1]], [0])], torch.device("cpu"))


def rms(x, w):
    return w * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def rms_rope(x, w, cos, sin):
    x = rms(x, w)
    return x * cos[:, None] + x.roll(x.shape[-1] // 2, -1) * sin[:, None]


def kernels_equal_the_chains_they_stand_for(device, dtype, n, hidden, heads, d, tolerance):
    from model import kernels

    gen = torch.Generator().manual_seed(0)
    new = lambda *s: torch.randn(*s, generator=gen).to(device, dtype)  # noqa: E731
    cases = [
        (lambda x, w: kernels.norm(x, w, 1e-6), rms, [(n, hidden)], [(hidden,)]),
        (lambda x, *c: kernels.norm_rope(x, *c, 1e-6), rms_rope, [(n, heads, d)], [(d,), (n, d), (n, d)]),
        (kernels.silu_mul, lambda g, u: torch.nn.functional.silu(g) * u, [(n, hidden)] * 2, []),
    ]
    for fast, chain, shapes, frozen in cases:
        xs, constants, dy = [new(*s) for s in shapes], [new(*s) for s in frozen], new(*shapes[0])
        got = []
        for way, kind in ((fast, dtype), (chain, torch.float64)):
            ins = [x.detach().to(kind).requires_grad_() for x in xs]
            y = way(*ins, *(c.to(kind) for c in constants))
            y.backward(dy.to(kind))
            got.append([y.detach(), *(x.grad for x in ins)])
        for a, b in zip(*got, strict=True):
            assert relative(a, b) < tolerance, (chain, relative(a, b))
    r = 2 * d + 3
    a, b, s = new(n, r), new(n, r), torch.rand(r, generator=gen).to(device) + 0.5
    ends = torch.tensor([0, 3, 4, n // 2, n], dtype=torch.int32, device=device)
    to = torch.tensor([2, 0, 2, 1], device=device)  # two segments of one row
    for scale in (None, s):
        out = torch.zeros(4, r + 10, device=device)
        scaled = kernels.add_segment_dots(a, b, ends, to, out, 5, scale)
        want = torch.zeros_like(out, dtype=torch.float64)
        for i in range(4):
            lo, hi = int(ends[i]), int(ends[i + 1])
            want[to[i], 5 : 5 + r] += (a[lo:hi].double() * b[lo:hi].double()).sum(0)
        assert relative(out, want) < 1e-5
        assert scaled is None if scale is None else torch.equal(scaled, times(a, s))


@gpu
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 6e-3)])
def test_training_kernels_equal_the_chains_they_stand_for(dtype, tolerance):
    kernels_equal_the_chains_they_stand_for("cuda", dtype, 700, 2560, 8, 128, tolerance)


@gpu
def test_flash_parts_equal_masked_attention_and_its_backward():
    g = torch.Generator().manual_seed(1)
    units, _ = units_of(lengths=((300, (70, 1, 200)), (9, (130,)), (64, (64, 65))))
    lay = Packed(units, torch.device("cuda"))
    n = len(lay.ids)
    q, k, v, do = (torch.randn((n, heads, 128), generator=g).cuda().bfloat16() for heads in (8, 2, 2, 8))
    got, want = both_attentions(lay, q, k, v, do, 0.09, torch.bfloat16, torch.float32)
    for name, a, b in zip(("o", "dq", "dk", "dv"), got, want, strict=True):
        assert relative(a, b) < 0.01, (name, relative(a, b))


@gpu
@pytest.mark.parametrize("fused", [False, True])
def test_bf16_shared_gradient_is_as_close_to_float32_as_the_unshared_one(fused):
    """Same bf16 weights: packed kernels and padded sequences in bf16, both against float32, unit by unit."""
    units, n = units_of(lengths=((120, (70, 10, 200, 33)), (40, (130, 90)), (64, (64, 65, 300))))
    weights = torch.randn(n, generator=torch.Generator().manual_seed(2)).cuda()
    got = {}
    for name, dtype in (("float32", torch.float32), ("padded", torch.bfloat16), ("packed", torch.bfloat16)):
        model = make(
            device="cuda", dtype=torch.bfloat16, hidden_size=512, intermediate_size=1536, num_attention_heads=8,
            num_hidden_layers=4, head_dim=64, max_position_embeddings=2048, initializer_range=0.03,
        ).to(dtype)  # fmt: skip
        basis = with_delta(model, fused and name != "float32", size=0.02)
        if name == "packed":
            recompute_layers(model)
            own, prompt, logp = shared_grads(model, basis, units, weights, tokens_per_micro=700)
            got[name] = torch.stack([own[u.rollouts].sum(0) + prompt[i] for i, u in enumerate(units)])
        else:
            rows, logp, _ = rollout_grads(model, basis, sequences(units), weighted(weights))
            got[name] = torch.stack([rows[u.rollouts].sum(0) for u in units])
        assert torch.isfinite(logp).all()
    error = {k: relative(x, got["float32"]) for k, x in got.items()}
    assert error["packed"] < 1.3 * error["padded"] + 0.005, error
    assert torch.cosine_similarity(got["packed"], got["float32"], dim=1).min() > 0.97
