"""The sampler against transformers itself: generate's greedy tokens, the plain forward's log-probabilities."""

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections import Counter

import pytest
import torch
from adversarial import BAD_SAMPLING
from scipy.stats import chisquare
from transformers import AutoConfig, AutoModelForCausalLM

from model import svd_basis
from model.net import Geometry, Net
from model.nucleus import nucleus_floor
from sampling.draw import draw, uniforms
from sampling.sampler import Sampling, sample

EOS = (1, 3, 7)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def make(kind="qwen3", tied=True, device="cpu", dtype=torch.float32, **over):
    torch.manual_seed(0)
    dims = dict(
        vocab_size=97, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512, tie_word_embeddings=tied, eos_token_id=1,
        pad_token_id=0, bos_token_id=None, initializer_range=0.2,
    ) | over  # fmt: skip
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **dims), attn_implementation="sdpa")
    for name, p in model.named_parameters():  # norms of 1 and biases of 0 would hide what is left out
        if "norm" in name:
            torch.nn.init.uniform_(p, 0.5, 1.5)
        elif name.endswith("bias"):
            torch.nn.init.normal_(p, 0, 0.5)
    return model.to(device, dtype).eval()


def with_delta(model, fused=True, size=0.1):
    basis = svd_basis.attach(model, fused=fused)
    torch.manual_seed(4)
    for layer in basis.layers.values():
        layer.delta.data.normal_(0, size)
    return basis


def prompts(lengths=(5, 9, 1, 9, 17), vocab=97):
    g = torch.Generator().manual_seed(1)
    return [torch.randint(8, vocab, (k,), generator=g).tolist() for k in lengths]


def forward_logps(model, prompt, ids, temperature=1.0):
    with torch.no_grad():
        full = torch.tensor([prompt + ids], device=model.device)
        logits = model(full).logits[0, len(prompt) - 1 : -1].float() / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(ids, device=model.device)[:, None])[:, 0].cpu()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_greedy_tokens_equal_generate_on_ragged_prompts(kind, tied, device):
    model, ps = make(kind, tied, device), prompts()
    got = sample(model, ps, 2, Sampling(max_new_tokens=40, temperature=0, eos_ids=(1,), seed=0))
    for i, p in enumerate(ps):
        ids = torch.tensor([p], device=device)
        ref = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False)
        assert got[2 * i].ids == got[2 * i + 1].ids == ref[0, len(p) :].tolist()


@pytest.mark.parametrize("how", [{}, {"temperature": 0.7}, {"top_p": 0.8}], ids=["plain", "0.7", "filtered"])
@pytest.mark.parametrize("kind, over", [
    ("qwen3", {}), ("llama", {}), ("llama", dict(attention_bias=True, mlp_bias=True)),
], ids=["qwen3", "llama", "biases"])  # fmt: skip
def test_logps_equal_the_full_forwards_at_the_temperature_whatever_the_filters(kind, over, how, device):
    model, ps, t = make(kind, device=device, **over), prompts(), how.get("temperature", 1.0)
    for i, s in enumerate(sample(model, ps, 4, Sampling(max_new_tokens=40, eos_ids=EOS, seed=3, **how))):
        assert torch.allclose(torch.tensor(s.logps), forward_logps(model, ps[i // 4], s.ids, t), atol=1e-4)


def test_first_and_second_tokens_follow_the_models_distribution(device):
    model, p = make(vocab_size=12, initializer_range=0.4, device=device), [5, 9, 2]
    n = 1000
    out = sample(model, [p], n, Sampling(max_new_tokens=2, eos_ids=(), seed=0))
    with torch.no_grad():
        p1 = model(torch.tensor([p], device=device)).logits[0, -1].double().softmax(-1).cpu()
        pairs = torch.tensor([[*p, a] for a in range(12)], device=device)
        p2 = (p1[:, None] * model(pairs).logits[:, -1].double().softmax(-1).cpu()).sum(0)
    for at, want in ((0, p1), (1, p2)):
        seen = Counter(s.ids[at] for s in out)
        big = [t for t in range(12) if want[t] * n >= 5]
        counts = [seen[t] for t in big] + [n - sum(seen[t] for t in big)]
        expect = [float(want[t]) * n for t in big]
        expect.append(n - sum(expect))
        if expect[-1] < 1e-6:
            counts, expect = counts[:-1], expect[:-1]
        assert chisquare(counts, expect, sum_check=False).pvalue > 1e-4 if len(counts) > 1 else True


def test_a_filter_draws_only_allowed_tokens(device):
    model, p = make(vocab_size=12, device=device), [5, 9, 2]
    with torch.no_grad():
        allowed = nucleus_by_sort(model(torch.tensor([p], device=device)).logits[:, -1].cpu(), 0.7)[0]
    got = {s.ids[0] for s in sample(model, [p], 300, Sampling(max_new_tokens=1, top_p=0.7, eos_ids=(), seed=0))}
    assert got == set(allowed.nonzero().flatten().tolist()) and 1 < len(got) < 12


def nucleus_by_sort(logits, top_p):
    """Mask of the smallest set of mass >= top_p by a sort of the whole row, in float64; ties in any order."""
    value, order = logits.double().sort(dim=-1, descending=True)
    p = value.softmax(-1)
    keep = p.cumsum(-1) - p < top_p
    return torch.zeros_like(keep).scatter(1, order, keep)


def hard_rows(kind, device="cpu", width=3001):
    g = torch.Generator().manual_seed(3)
    z = torch.randn(9, width, generator=g) * torch.tensor([0.0, 0.01, 0.5, 1, 2, 4, 10, 40, 1e4])[:, None]
    z[3, ::2] = float("-inf")
    z[4] -= 100.0  # negative logits order the other way round as bits
    return z.to(kind).float().to(device)


@pytest.mark.parametrize("top_p", [0.05, 0.6, 0.95, 0.999])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_nucleus_without_a_sort_is_the_sorted_one_with_all_ties_of_its_last_token(kind, top_p, device):
    logits = hard_rows(kind, device)
    kept, wanted = logits >= nucleus_floor(logits, top_p), nucleus_by_sort(logits, top_p)
    last = logits.masked_fill(~wanted, float("inf")).amin(1, keepdim=True)
    assert torch.equal(kept, logits >= last)
    assert bool((kept | ~wanted).all())
    if kind == torch.float32:  # rows 1.. have no ties to speak of
        assert torch.equal(kept[2:], wanted[2:])


def test_no_uniform_can_draw_a_token_of_probability_zero():
    class job:
        temperature, top_p, banned = 1.0, 1.0, (0, 6)

    u = torch.tensor([0.0, 0.5, float(uniforms(1, 1, 0).clamp(min=2).clamp(max=1 - 2.0**-23))])
    token, _ = draw(torch.zeros(3, 7), u, job)
    assert token.min() >= 1 and token.max() <= 5


def test_a_rollout_is_its_seeds_whatever_the_waves_company_and_memory_bound(device):
    model, ps = make(device=device), prompts()
    how = Sampling(max_new_tokens=40, eos_ids=EOS, seed=3)
    whole = [s.ids for s in sample(model, ps, 4, how)]
    assert [s.ids for s in sample(model, ps, 4, dataclasses.replace(how, seed=4))] != whole
    for rows in (None, 1, 3, 7):
        assert [s.ids for s in sample(model, ps, 4, how, max_rows=rows)] == whole
    geo = Geometry(model)
    one = 2 * geo.n_layers * geo.K * geo.D * (17 + 40) * 4 / 1e9
    if device == "cpu":
        assert [s.ids for s in sample(model, ps, 4, how, memory_gb=3.5 * one)] == whole
        with pytest.raises(ValueError, match="memory_gb"):
            sample(model, ps, 4, how, memory_gb=0.5 * one)


def test_eos_ends_a_rollout_and_is_part_of_it_and_each_end_is_told_once(device):
    seen, how = [], Sampling(max_new_tokens=30, eos_ids=EOS, seed=1)
    told = lambda i, ids: seen.append((i, list(ids)))  # noqa: E731
    out = sample(make(device=device), prompts(), 20, how, on_finish=told, max_rows=16)
    assert any(s.finished for s in out) and len({len(s.ids) for s in out}) > 3
    for s in out:
        assert not set(s.ids[:-1]) & set(EOS) and len(s.ids) == len(s.logps)
        assert s.finished == (s.ids[-1] in EOS) and (s.finished or len(s.ids) == 30)
    assert sorted(seen) == [(i, s.ids) for i, s in enumerate(out)]
    assert [i for i, _ in seen] != sorted(i for i, _ in seen)  # as they end, not in order at the end


def test_forced_lengths_are_kept_and_eos_never_comes(device):
    lengths = [1 + 7 * i % 31 for i in range(15)]
    out = sample(make(device=device), prompts(), 3, Sampling(1, EOS, seed=1, force_lengths=lengths))
    assert [len(s.ids) for s in out] == lengths
    assert not any(set(s.ids) & set(EOS) or s.finished for s in out)


@pytest.mark.parametrize("way", ["exact", "folded", "fused"])
def test_delta_s_acts_as_in_the_training_forward(way, device):
    model, ps = make(device=device), prompts()
    how = Sampling(max_new_tokens=20, eos_ids=EOS, seed=2)
    before = [s.ids for s in sample(model, ps, 3, how)]
    basis = svd_basis.attach(model, fused=way == "fused")
    assert [s.ids for s in sample(model, ps, 3, how)] == before  # delta = 0
    torch.manual_seed(4)
    for layer in basis.layers.values():
        layer.delta.data.normal_(0, 0.3)
        if way == "fused":
            layer.weight.data.fill_(float("nan"))  # never read: U and Vh are, in its stead
    with svd_basis.merged(basis) if way == "folded" else contextlib.nullcontext():
        out = sample(model, ps, 3, how)
    assert [s.ids for s in out] != before
    for i, s in enumerate(out):
        assert torch.allclose(torch.tensor(s.logps), forward_logps(model, ps[i // 3], s.ids), atol=1e-3)


def test_a_changed_weight_is_seen_by_the_next_call(device):
    model, ps = make(device=device), prompts()
    how = Sampling(max_new_tokens=10, eos_ids=EOS, seed=2)
    sample(model, ps, 2, how)
    for layer in model.model.layers:
        layer.mlp.up_proj.weight.data.mul_(-1)
        layer.self_attn.o_proj.weight.data.mul_(-1)
    for i, s in enumerate(sample(model, ps, 2, how)):
        assert torch.allclose(torch.tensor(s.logps), forward_logps(model, ps[i // 2], s.ids), atol=1e-4)


def test_prompts_are_prefilled_once_each(monkeypatch):
    ps, seen, prefill = prompts(), [], Net.prefill
    monkeypatch.setattr(Net, "prefill", lambda self, texts, *a: seen.extend(texts) or prefill(self, texts, *a))
    sample(make(), ps, 8, Sampling(max_new_tokens=3, eos_ids=EOS, seed=2))
    assert sorted(seen) == sorted(ps)


@pytest.mark.parametrize("change, message", BAD_SAMPLING)
def test_bad_arguments_are_named(change, message):
    how = dict(max_new_tokens=4, eos_ids=EOS, seed=0, temperature=1.0, top_p=1.0, force_lengths=None)
    where = dict(prompts=[[5], [6]], n=2, engine="auto")
    how, where = ({k: change.get(k, x) for k, x in part.items()} for part in (how, where))
    with pytest.raises(ValueError, match=message):
        sample(make(), how=Sampling(**how), **where)


INTERPRETED = """
import torch, test_sampler as T
from model import kernels
from sampling import graph, sampler
kernels.CHUNK = 32
dims = dict(vocab_size=80, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8)
still = dict(kind="smollm3", no_rope_layers=[0])  # a layer without rotation
qwen, smollm, ps = T.make(**dims), T.make(**dims, **still), T.prompts((5, 66), 80)
fused = T.make("qwen2", **dims)  # biases, too
for layer in T.with_delta(fused, size=0.3).layers.values():
    layer.weight.data.fill_(float("nan"))  # never read
cases = (qwen, 1.0, 1.0), (qwen, 0.7, 0.8), (qwen, 0.0, 1.0), (smollm, 0.0, 1.0), (fused, 1.0, 1.0)
for model, temperature, p in cases:
    ref = sampler.sample(model, ps, 2, sampler.Sampling(3, T.EOS, 3, temperature, p))
    job = sampler.Job(ps, 2, [3] * 4, temperature, p, T.EOS, (), sampler.uniforms(4, 3, 3), lambda i, ids: None)
    with torch.no_grad():
        got = graph.sample_graph(model, job, capture=False)
    assert [s.ids for s in got] == [s.ids for s in ref], (got, ref)
    for a, b in zip(got, ref):
        assert torch.allclose(torch.tensor(a.logps), torch.tensor(b.logps), atol=1e-5)
T.kernel_floor_is_the_eager_one("cpu", 301, 256, (1, 3, 4))
import test_policy_grad_shared as P
P.kernels_equal_the_chains_they_stand_for("cpu", torch.float32, 9, 24, 2, 16, 1e-5)
"""


def kernel_floor_is_the_eager_one(device, width, chunk, rows=range(9)):
    """The Triton search on float32 and bfloat16 rows, with banned tokens, a temperature and a floor."""
    from model import kernels

    for kind in (torch.float32, torch.bfloat16):
        logits = hard_rows(kind, device, width)[list(rows)].contiguous()
        banned = torch.tensor([5, 77], device=device)
        for top_p, t, low in ((0.9, 1 / 0.7, -1.0), (0.95, 1.0, float("-inf")))[: 2 if device == "cuda" else 1]:
            low = torch.full((len(logits),), low, device=device)
            allowed = logits.masked_fill(logits < low[:, None], float("-inf"))
            allowed[:, banned] = float("-inf")
            live = torch.isfinite(allowed).any(1)
            want = nucleus_floor(allowed[live] * t, top_p)[:, 0]
            kernels.nucleus_kernel[(len(logits),)](
                logits.to(kind), low, torch.tensor([t], device=device), banned, top_p, V=logits.shape[1], NB=2,
                CHUNK=chunk, BITS=16 if kind == torch.bfloat16 else 32, num_warps=4,
            )  # fmt: skip
            assert torch.equal(low[live] * t, want), (kind, top_p, low[live] * t, want)
        plain = kernels.nucleus_floors(logits.to(kind), 1 / 0.7, 0.9) * torch.tensor(1 / 0.7, device=device)
        assert torch.equal(plain, nucleus_floor(logits * torch.tensor(1 / 0.7, device=device), 0.9)), kind


@gpu
def test_the_cutoff_kernel_finds_the_eager_floor():
    kernel_floor_is_the_eager_one("cuda", 151_936, 4096)


def test_gpu_kernels_under_the_triton_interpreter_equal_what_they_stand_for():
    """Sampling and training kernels, in a process of its own: the interpreter is chosen before triton is imported."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("the CUDA tests run the compiled kernels")
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([here, os.path.dirname(here), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@gpu
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_graph_and_eager_draw_the_same_rollouts_in_float32(kind):
    model, ps = make(kind, device="cuda"), prompts((5, 70, 1, 130, 64))
    for kw in (dict(), dict(temperature=0.0), dict(top_p=0.9)):
        how = Sampling(max_new_tokens=150, eos_ids=(1,), seed=3, **kw)
        one, two = (sample(model, ps, 9, how, engine=e) for e in ("eager", "graph"))
        same = sum(a.ids == b.ids for a, b in zip(one, two))
        assert same >= 0.9 * len(one)  # rounding may tip a near-tie, nothing else
        for a, b in zip(one, two):
            if a.ids == b.ids:
                assert torch.allclose(torch.tensor(a.logps), torch.tensor(b.logps), atol=1e-3)


@gpu
@pytest.mark.parametrize("delta, kind", [(0, "qwen3"), (0.02, "qwen3"), (0.3, "qwen3"), (0.3, "qwen2")])
def test_graph_logps_are_within_bf16_error_of_the_forward(delta, kind):
    model = make(kind, hidden_size=256, intermediate_size=512, head_dim=64, device="cuda", dtype=torch.bfloat16,
                 initializer_range=0.05)  # fmt: skip
    if delta:
        with_delta(model, size=delta)
    ps = prompts((5, 70, 1, 130, 64))
    how = Sampling(max_new_tokens=100, eos_ids=(1,), seed=3)
    graph, eager = (enumerate(sample(model, ps, 6, how, engine=e)) for e in ("auto", "eager"))
    off = lambda i, s: (torch.tensor(s.logps) - forward_logps(model, ps[i // 6], s.ids)).abs()  # noqa: E731
    err, base = (float(torch.cat([off(i, s) for i, s in out]).mean()) for out in (graph, eager))
    assert err < 0.02 and err < 2 * base + 1e-3


@gpu
def test_pages_running_out_restart_rows_and_change_nothing():
    from sampling import graph

    model, ps = make(device="cuda"), prompts((5, 70, 9, 40))
    how = Sampling(max_new_tokens=300, eos_ids=(1,), seed=3)
    whole = [s.ids for s in sample(model, ps, 8, how)]
    geo = Geometry(model)
    page = 2 * geo.n_layers * geo.K * graph.PAGE * geo.D * 4 / 1e9
    copies = sum(p.numel() for p in model.parameters()) * 4 / 1e9
    seen = []
    tight = sample(model, ps, 8, how, memory_gb=24 * page + copies, on_finish=lambda i, ids: seen.append(i))
    assert sum(s.ids == w for s, w in zip(tight, whole)) >= 0.9 * len(whole)
    assert sorted(seen) == list(range(len(whole)))
    graph.release(model)
