"""Invariants of the projection, its hook on a real AdamW, the loss, and the directions it uses."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import extract_vhack
import train as T
from extract_vhack import auroc, haar_directions, subspace_overlap, top_directions, within_class
from model import rivals
from model.policy import BETAS, last_step
from model.svd_basis import attach
from model.zoo import TINY, random_qwen3

K, M, D = 3, 4, 16


def orthonormal(seed: int = 0) -> torch.Tensor:
    q = torch.linalg.qr(torch.randn(M, D, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]
    return q.permute(2, 0, 1).float()  # (k, m, d)


def case(seed: int = 0):
    g = torch.randn(M, D, generator=torch.Generator().manual_seed(seed + 100))
    V = orthonormal(seed)
    return g, V, torch.ones(K, M, dtype=torch.bool), V[0], torch.einsum("kmd,md->km", V, g)


@pytest.mark.parametrize("overshoot", [0.5, 1.0, 1.3])
def test_gates_leave_exactly_the_promised_overlap(overshoot):
    g, V, signed, mean, c = case()
    after = {}
    for gate in ("one_sided", "half_space", "no_gate", "reverse"):
        kept, removed = T.project(g, V, signed, mean, gate, overshoot)
        inside = torch.einsum("kmd,km->md", V, torch.einsum("kmd,md->km", V, removed))
        assert torch.allclose(kept + removed, g, atol=1e-6)
        assert torch.allclose(removed, inside, atol=1e-6) and removed.norm() > 0  # it lies in the span of V
        after[gate] = torch.einsum("kmd,md->km", V, kept)
    close = lambda a, b: torch.allclose(a, b, atol=1e-5)  # noqa: E731
    assert close(after["no_gate"], (1 - overshoot) * c)
    assert close(after["reverse"], (1 - 2 * overshoot) * c)
    assert close(after["one_sided"], torch.where(c > 0, (1 - overshoot) * c, c))
    fires = (g * mean).sum(-1) > 0
    assert fires.any() and not fires.all()
    assert close(after["half_space"], torch.where(fires, (1 - overshoot) * c, c))


def test_an_axis_without_a_supported_sign_is_never_gated_one_sided():
    g, V, signed, mean, c = case()
    signed = signed.clone()
    signed[1] = False
    kept, _ = T.project(g, V, signed, mean, "one_sided")
    left = torch.einsum("kmd,md->km", V, kept)
    assert torch.allclose(left[1], torch.zeros(M), atol=1e-5)  # both signs removed
    assert torch.allclose(left[0], c[0].clamp_max(0), atol=1e-5)


def test_empty_v_is_bit_identical():
    g, V, signed, mean, _ = case()
    for gate in ("one_sided", "half_space", "no_gate", "reverse"):
        kept, removed = T.project(g, torch.zeros_like(V), signed, mean, gate)
        assert torch.equal(kept, g) and not removed.any()


def setup(arm: str, at: str, train: str = "delta_s", seed: int = 0, **more):
    model = random_qwen3(TINY | {"vocab_size": 61, "eos_token_id": 1}, torch.float32, "cpu")
    basis = attach(model, train, core_rank=5)
    gen = torch.Generator().manual_seed(seed)
    d = top_directions(basis, torch.randn(12, basis.size, generator=gen) + 0.5, 3, 0.25, 0.05)
    cfg = T.Config(arm=arm, project_at=at, train=train, lr=1e-2, **more)
    params = basis.knobs()
    opt = torch.optim.AdamW(params, lr=cfg.lr, betas=BETAS, weight_decay=0.0)
    hook = T.ProjectionHook(basis, cfg, d, None if arm == "vanilla" else d)
    hook.attach(opt, params)
    return basis, params, opt, hook, d


def run_steps(basis, params, opt, n: int = 4, seed: int = 5):
    """n AdamW steps on fixed random gradients; yields the applied -Delta of each step."""
    gen = torch.Generator().manual_seed(seed)
    for _ in range(n):
        before = [p.detach().clone() for p in params]
        for p in params:
            p.grad = torch.randn(p.shape, generator=gen) + 0.3
        opt.step()
        yield basis.flat([b - p.detach() for b, p in zip(before, params, strict=True)])


@pytest.mark.parametrize("train", ["delta_s", "full"])
def test_projected_update_has_no_component_along_v_where_a_projected_gradient_alone_leaks_through_adam(train):
    """project_at=update: neither momentum nor the preconditioner carries a hack-ward part into the weights."""
    basis, params, opt, hook, d = setup("projected", "update", train, gate="no_gate")
    for u in run_steps(basis, params, opt):
        for V, x in zip(basis.split(d.V), basis.split(u), strict=True):
            assert torch.einsum("kmd,md->km", V, x).abs().max() < 1e-4 * u.norm()
        assert hook.metrics["cupd"] < 1e-3 < hook.metrics["cupd_raw"]
        assert hook.metrics["residual"] < 1e-4
    basis, params, opt, leaky, _ = setup("projected", "grad", train, gate="no_gate")
    list(run_steps(basis, params, opt))
    assert leaky.metrics["cupd"] > 1e-3  # why update is the default


def test_vanilla_only_measures():
    basis, params, opt, hook, d = setup("vanilla", "update")
    along = d.V.sum(0)
    assert [basis.overlap(d.V, x) for x in (along, -along)] == pytest.approx([1.0, 0.0], abs=1e-4)
    plain = [torch.nn.Parameter(p.detach().clone()) for p in params]
    reference = torch.optim.AdamW(plain, lr=1e-2, betas=(0.9, 0.99), weight_decay=0.0)
    gen = torch.Generator().manual_seed(5)
    for u in run_steps(basis, params, opt):
        assert torch.allclose(basis.flat([last_step(opt, p) for p in params]), u, rtol=1e-4, atol=1e-7)
        for p in plain:
            p.grad = torch.randn(p.shape, generator=gen) + 0.3
        torch.nn.utils.clip_grad_norm_(plain, 1.0)
        reference.step()
    assert all(torch.equal(p, q) for p, q in zip(params, plain, strict=True))
    assert hook.metrics["cupd"] > 0


def test_shrink_keeps_the_direction_and_the_projected_norm():
    basis, _, _, hook, d = setup("shrink", "update", gate="no_gate")
    g = torch.randn(basis.size, generator=torch.Generator().manual_seed(3))
    kept, removed = hook.split_off(g)
    assert torch.allclose(kept + removed, g, atol=1e-6)
    _, _, _, projecting, _ = setup("projected", "update", gate="no_gate")
    want, _ = projecting.split_off(g)
    for a, b, x in zip(basis.split(kept), basis.split(want), basis.split(g), strict=True):
        assert torch.allclose(a.norm(dim=-1), b.norm(dim=-1), rtol=1e-4)
        assert torch.allclose(torch.cosine_similarity(a, x, dim=-1), torch.ones(len(a)), atol=1e-5)


@pytest.mark.parametrize("at", ["grad", "update"])
def test_route_trains_live_knobs_and_ships_without_the_quarantine(at):
    basis, params, opt, hook, d = setup("route", at, gate="no_gate")
    start = basis.flat([p.detach() for p in params])
    list(run_steps(basis, params, opt))
    live = basis.flat([p.detach() for p in params])
    with hook.quarantine.away(lambda: None):
        shipped = basis.flat([p.detach() for p in params])
    assert torch.equal(live, basis.flat([p.detach() for p in params]))  # restored bit for bit
    moved = lambda x: basis.energy(d.V, x - start)  # noqa: E731
    assert moved(live) > 100 * moved(shipped) if at == "update" else moved(live) > moved(shipped)


def test_clipping_follows_the_projection():
    basis, params, opt, hook, _ = setup("projected", "grad", gate="no_gate")
    list(run_steps(basis, params, opt, n=1))
    total = torch.cat([p.grad.flatten() for p in params]).norm()
    assert total == pytest.approx(1.0, rel=1e-3) and hook.metrics["gn"] > 1


@pytest.fixture(scope="module")
def basis():
    return attach(random_qwen3(TINY | {"vocab_size": 61, "eos_token_id": 1}, torch.float32, "cpu"))


def test_v_rows_are_orthonormal_and_point_hackward(basis):
    gen = torch.Generator().manual_seed(0)
    common = torch.randn(basis.size, generator=gen)
    diff = common + 0.2 * torch.randn(20, basis.size, generator=gen)
    d = top_directions(basis, diff, 4, 0.0, 0.05)
    signs = d.signed.split([m for _, m, _ in basis.groups], 1)
    for V, x, signed in zip(basis.split(d.V), basis.split(diff), signs, strict=True):
        gram = torch.einsum("kmd,lmd->mkl", V, V)
        assert torch.allclose(gram, torch.eye(4).expand_as(gram), atol=1e-5)
        assert (torch.einsum("md,nmd->nm", V[0], x) > 0).all()  # every pair projects positive on axis 1
        assert signed[0].all()


def test_only_the_shared_axis_earns_a_sign(basis):
    """Mean plus noise: axis 1 is shared by all pairs; later axes are noise whose sign is a coin flip."""
    gen = torch.Generator().manual_seed(1)
    diff = torch.randn(basis.size, generator=gen) + torch.randn(21, basis.size, generator=gen)
    d = top_directions(basis, diff, 5, 0.0, 0.05)
    assert d.signed[0].float().mean() > 0.95
    assert d.signed[1:].float().mean() < 0.2


def test_noise_floor_drops_the_weakest_share(basis):
    diff = torch.randn(12, basis.size, generator=torch.Generator().manual_seed(2))
    d = top_directions(basis, diff, 4, 0.25, 0.05)
    kept = torch.cat([V.norm(dim=-1).flatten() for V in basis.split(d.V)]) > 0.5
    assert 0.70 < kept.float().mean() < 0.80


def test_swapping_sides_keeps_the_span_and_flips_the_mean(basis):
    """So a shuffled-label V is no control for the projection; within-class pairs are."""
    diff = torch.randn(10, basis.size, generator=torch.Generator().manual_seed(3)) + 0.5
    signs = torch.where(torch.arange(10) % 2 == 0, 1.0, -1.0)[:, None]
    a, b = (top_directions(basis, x, 3, 0.0, 0.05) for x in (diff, diff * signs))
    assert subspace_overlap(basis, a.V, b.V) == pytest.approx(1.0, abs=1e-4)
    flipped = top_directions(basis, -diff, 3, 0.0, 0.05)
    assert torch.allclose(a.mean, -flipped.mean, atol=1e-6)


def test_within_class_pairs_cancel_the_class_difference():
    gen = torch.Generator().manual_seed(4)
    clean = torch.randn(40, 50, generator=gen)
    hack = clean + 10.0
    w = within_class(hack, clean, seed=0)
    assert w.shape == hack.shape
    assert w.mean(0).norm() < 0.2 * (hack - clean).mean(0).norm()


def test_a_mean_direction_without_clean_sees_no_honest_variation_and_keeps_the_hack():
    """clean = honest code in 3 dimensions; hack = another honest body + one new axis. Only that axis is to be left."""
    gen = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(50, 4, generator=gen))[0].T  # (4, 50)
    honest = lambda n: torch.randn(n, 3, generator=gen) @ axes[:3]  # noqa: E731
    clean, hack = honest(20), honest(20) + axes[0] + axes[3]
    diff = hack - clean
    mean = (diff / diff.norm(dim=1, keepdim=True)).mean(0)
    out = extract_vhack.without_clean(clean, 3)(mean)
    assert out.norm().item() == pytest.approx(1) and (out @ axes[3]).item() == pytest.approx(1, abs=1e-5)
    before, after = (extract_vhack.cosines(honest(30), v).abs().max() for v in (mean, out))
    assert before > 0.2 and after < 1e-5
    rest = torch.linalg.svd((clean / clean.norm(dim=1, keepdim=True)).double())[2][:2]
    assert (rest.float() @ extract_vhack.without_clean(clean, 2)(mean)).abs().max() < 1e-5
    twice = extract_vhack.without_clean(torch.cat([clean, clean]), 30)(mean)  # of 40 rows only 3 directions
    assert torch.allclose(twice, out, atol=1e-5)
    assert extract_vhack.without_clean(clean, 0)(mean) is mean
    for rank in (-1, 20):
        with pytest.raises(ValueError, match=f"clean_rank {rank}: choose 0 .off. to 19"):
            extract_vhack.without_clean(clean, rank)


def test_haar_matches_shape_and_is_seeded(basis):
    d = top_directions(basis, torch.randn(12, basis.size) + 1.0, 3, 0.25, 0.05)
    a, b, c = (haar_directions(basis, d, s) for s in (0, 0, 1))
    assert torch.equal(a.V, b.V) and not torch.equal(a.V, c.V)
    for V, W in zip(basis.split(a.V), basis.split(d.V), strict=True):
        assert torch.equal(V.norm(dim=-1) > 0.5, W.norm(dim=-1) > 0.5)
    assert a.mean.norm() == pytest.approx(1.0, abs=1e-4)
    assert subspace_overlap(basis, a.V, d.V) < 0.3


def test_auroc_is_the_probability_of_the_right_order():
    labels = torch.tensor([True, True, False, False])
    assert auroc(torch.tensor([3.0, 2.0, 1.0, 0.0]), labels) == 1.0
    assert auroc(torch.tensor([1.0, 1.0, 1.0, 1.0]), labels) == 0.5
    assert auroc(torch.tensor([0.0, 3.0, 1.0, 2.0]), labels) == 0.5


def test_advantages_are_centred_over_kept_rollouts_only():
    r = torch.tensor([[3.5, 0.5, 0.5, 3.5], [0.5, 0.5, 0.5, 0.5], [3.5, 0.0, 0.0, 0.0]])
    keep = torch.ones_like(r, dtype=torch.bool)
    keep[0, 3] = False
    keep[2, :3] = False
    a = T.group_advantages(r, keep)
    assert torch.allclose(a[0], torch.tensor([2.0, -1.0, -1.0, 0.0]))
    assert not a[1].any() and not a[2].any()  # flat group; a group of one has no baseline


def test_adv_mod_changes_nothing_where_a_groups_activations_are_equal():
    cfg = T.Config(arm="adv_mod")
    r = torch.tensor([[3.5, 0.5, 0.5], [0.0, 3.5, 0.5]])
    same = torch.tensor([2.0, 2.0, 2.0, -1.0, -1.0, -1.0])
    assert torch.equal(rivals.modified_rewards(cfg, r, [], same), r)
    differ = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0, -1.0])
    assert not torch.equal(rivals.modified_rewards(cfg, r, [], differ), r)


def share(basis, V, g):
    return basis.energy(V, g) / float(g.square().sum())


def test_an_oracle_holds_its_steps_gradient_or_the_earlier_ones_and_reads_the_labelled_attempts_alone(basis):
    gen = torch.Generator().manual_seed(6)
    nll = torch.randn(4, basis.size, generator=gen)
    task = SimpleNamespace()
    told = [("student", True, 2.0), ("student", True, -1.0), ("student", False, 3.0), ("teacher", True, 4.0)]
    rollouts = [T.Rollout(s, task, [1], "", attempted=at, advantage=a) for s, at, a in told]
    h = extract_vhack.hack_gradient(rollouts, nll)
    assert torch.allclose(h, 2 * nll[0])
    now = extract_vhack.Oracle(basis, "oracle_now", 5)
    assert now.directions(None) is None
    assert share(basis, now.directions(h).V, h) == pytest.approx(1, abs=1e-5)
    oracle = extract_vhack.Oracle(basis, "oracle", 2)
    assert oracle.directions(h) is None  # nothing is known before the first step with an attempt
    assert share(basis, oracle.directions(None).V, h) == pytest.approx(1, abs=1e-5)
    others = [torch.randn(basis.size, generator=gen) for _ in range(extract_vhack.Oracle.BANK)]
    assert share(basis, oracle.directions(others[0]).V, others[0]) < 0.5  # its own step is not in the bank yet
    for x in others[1:]:
        last = oracle.directions(x)
    assert len(last.V) == 2 and len(oracle.bank) == oracle.BANK  # top k; h has left
    whole = extract_vhack.Oracle(basis, "oracle", oracle.BANK)
    whole.bank = oracle.bank
    V = whole.directions(None).V
    assert all(share(basis, V, x) == pytest.approx(1, abs=1e-4) for x in others) and share(basis, V, h) < 0.99


def test_the_row_tells_what_v_holds_from_what_the_projected_space_holds():
    """An update that is the sum of V's first axis and of a control's, 3 and 4 long a weight: shares .36 and .64."""
    basis, params, opt, hook, d = setup("projected", "update", gate="no_gate")
    away = torch.randn(12, basis.size, generator=torch.Generator().manual_seed(8))
    for part, V in zip(basis.split(away), basis.split(d.V), strict=True):
        part -= torch.einsum("nmk,kmd->nmd", torch.einsum("nmd,kmd->nmk", part, V), V)
    other = top_directions(basis, away, 1, 0.0, 0.05)
    live = torch.cat([(V[0].norm(dim=-1) > 0.5).float().repeat_interleave(V.shape[-1]) for V in basis.split(d.V)])
    hook.direction, hook.measure = other, replace(d, V=d.V[:1])
    u = live * (3 * d.V[0] + 4 * other.V[0])
    hook.begin()
    hook.after_step(1e-3 * u[lo:hi] for lo, hi in basis.spans.values())
    want = {"upd_space": 1.0, "upd_v": 0.36, "upd_p": 0.64, "removed": 0.64}
    assert {k: hook.metrics[k] for k in want} == pytest.approx(want, abs=2e-3)
    assert hook.held(u, float(u.square().sum())) == pytest.approx(0.64, abs=1e-3)
    hook.direction = None  # an oracle's first step
    assert hook.held(u, 1.0) is None and hook.at is None


def test_lr_is_a_function_of_the_step_alone():
    cfg = T.Config(lr=1.0, steps=10, warmup_steps=2, schedule="cosine")
    assert cfg.lr_at(0) == 0.5 and cfg.lr_at(2) == 1.0 and cfg.lr_at(9) < 0.1
