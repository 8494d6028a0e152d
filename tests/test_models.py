"""Loading by name, and what a reader is told when something is missing."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from adversarial import SPOILT_MODELS, UNLIKE, UNLIKE_CONFIGS
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from command import errors
from model import packed, zoo
from model.net import ARCHITECTURES, refuse_unknown
from model.packed import Unit
from model.policy_grad import Sequence, Softmax, nll_loss, rollout_grads, shared_grads, token_logps
from model.svd_basis import attach
from sampling.check import check_forward
from sampling.draw import filter_logits
from sampling.sampler import Sampling, sample

DIMS = dict(
    hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=97, max_position_embeddings=512, eos_token_id=1, bos_token_id=0, pad_token_id=0,
)  # fmt: skip
OWN = {
    "qwen3": {"head_dim": 24}, "seed_oss": {"head_dim": 16}, "mistral": {"sliding_window": None},
    "granite": {
        "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.06, "logits_scaling": 0.5,
    },
}  # fmt: skip


def random_model(kind: str, **more):
    """A model of four layers whose weights are so large that a wrong norm, factor or rotation shows."""
    config = AutoConfig.for_model(kind, **DIMS | more)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    gen = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=gen) * p.shape[-1] ** -0.5)
            else:
                p.copy_(("norm" in name) + 0.3 * torch.randn(p.shape, generator=gen))
    return model


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_sampler_and_gradients_of_each_architecture_are_its_own_forwards(kind):
    """Also under the temperature and nucleus that `full` samples with: the gradient is of what was drawn from."""
    model, temperature, top_p = random_model(kind, **OWN.get(kind, {})), 0.7, 0.9
    prompts = [list(range(5, 40)), [9, 4, 7]]
    softmax = Softmax(temperature, top_p)
    done = sample(model, prompts, 2, Sampling(12, (), 0, temperature, top_p))
    seqs = [Sequence(prompts[i // 2], s.ids) for i, s in enumerate(done)]

    def own(s: Sequence) -> tuple[torch.Tensor, torch.Tensor]:
        """(log p of the whole softmax, of the nucleus) of each completion token."""
        ids = torch.tensor([s.prompt_ids + s.completion_ids])
        logits = model(input_ids=ids).logits[0, len(s.prompt_ids) - 1 : -1].float() / temperature
        at = torch.tensor(s.completion_ids)[:, None]
        return logits.log_softmax(-1).gather(1, at)[:, 0], filter_logits(logits, top_p).log_softmax(-1).gather(1, at)

    basis, weights = attach(model, "full", core_rank=4), torch.tensor([1.0, -0.5, 2.0, 0.7])
    for s, d in zip(seqs, done, strict=True):
        whole, kept = own(s)
        torch.testing.assert_close(torch.tensor(d.logps), whole.detach(), atol=1e-4, rtol=0)
        torch.testing.assert_close(token_logps(model, [s], softmax)[0], kept[:, 0], atol=1e-4, rtol=0)
        assert float((kept[:, 0] - whole).detach().max()) > 0.01  # the nucleus left something out
    sum(-w * own(s)[1].sum() for w, s in zip(weights, seqs, strict=True)).backward()
    want = [k.grad.clone() for k in basis.knobs()]
    units = [
        Unit(p, [s.completion_ids for s in seqs[2 * i : 2 * i + 2]], [2 * i, 2 * i + 1]) for i, p in enumerate(prompts)
    ]
    scaled = nll_loss(weights)
    for grads_of in (
        lambda **kw: shared_grads(model, basis, units, weights, **kw),
        lambda **kw: rollout_grads(model, basis, seqs, scaled, **kw),
    ):
        for k in basis.knobs():
            k.grad = None
        grads_of(weight_grads=True, softmax=softmax)
        for k, g in zip(basis.knobs(), want, strict=True):
            assert float((k.grad - g).norm() / g.norm()) < 1e-4


def test_a_teachers_token_outside_the_nucleus_keeps_a_finite_gradient():
    model = random_model("qwen3")
    seq = Sequence([5, 6, 7], list(range(8, 90)))  # most of these are improbable
    basis = attach(model)
    grads, logp, _ = rollout_grads(model, basis, [seq], nll_loss(), softmax=Softmax(top_p=0.5))
    assert bool(torch.isfinite(grads).all()) and float(grads.norm()) > 0
    assert float(token_logps(model, [seq], Softmax(top_p=0.5))[0].max()) <= 0


def test_other_architectures_windows_and_quantised_weights_are_refused_in_one_line_that_names_them():
    def refused(config) -> str:
        with pytest.raises(ValueError) as e:
            refuse_unknown(config, "--model X")
        assert "\n" not in str(e.value) and str(e.value).startswith("--model X: ")
        return str(e.value)

    for kind in UNLIKE:
        assert f"architecture {kind} " in refused(AutoConfig.for_model(kind))
    for kind, more, said in UNLIKE_CONFIGS:
        assert said in refused(AutoConfig.for_model(kind, **DIMS | more))
    for kind in ("ernie4_5", "mistral"):  # the sampler itself refuses them, too
        with pytest.raises(ValueError, match="ForCausalLM: "):
            sample(random_model(kind), [[5]], 1, Sampling(max_new_tokens=1, eos_ids=(1,), seed=0))


def test_a_forward_unlike_the_models_own_is_refused_by_path_and_size(monkeypatch):
    """What a config does not tell: every place where a later transformers may differ from this code."""
    prompts = [list(range(5, 25)), [9, 4, 7]]
    how = {"memory_gb": None}
    for dtype in (torch.float32, torch.bfloat16):
        model = random_model("llama").to(dtype)
        basis = attach(model)
        check_forward(model, basis, prompts, **how)
        assert not any(bool(k.any()) for k in basis.knobs())  # the delta that it was checked with is gone
        own = model.model.norm.forward
        monkeypatch.setattr(model.model.norm, "forward", lambda x, own=own: 1.5 * own(x))
        with pytest.raises(ValueError, match=r"^LlamaForCausalLM in \w+: the sampler's .* by \d\.\d+ ") as e:
            check_forward(model, basis, prompts, **how)
        assert "\n" not in str(e.value) and not any(bool(k.any()) for k in basis.knobs())
        monkeypatch.undo()
        real = packed.hidden_states
        monkeypatch.setattr(packed, "hidden_states", lambda *a, real=real: real(*a).roll(1, -1))
        with pytest.raises(ValueError, match=r"the packed forward's .* differ"):
            check_forward(model, basis, prompts, **how)
        monkeypatch.undo()


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("m") / "good"
    for part in zoo.load_model("tiny"):
        part.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", SPOILT_MODELS)
def test_a_folder_that_is_no_whole_model_is_refused_by_what_is_wrong_in_it(name, good, tmp_path):
    config, change, changed, said = SPOILT_MODELS[name]
    folder = Path(shutil.copytree(good, tmp_path / name))
    tensors = load_file(good / "model.safetensors")
    if change:
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(json.loads((good / "config.json").read_text()) | config))
    for pattern, make in changed.items():
        for file in list(folder.glob(pattern)) or [folder / pattern]:
            file.write_bytes(make(file.read_bytes() if file.exists() else b"")) if make else file.unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=said) as e:
        zoo.load_model(str(folder))
    assert str(e.value).startswith(f"--model {folder}: ") and errors.is_plain(e.value) and "\n" not in str(e.value)


def test_a_name_of_no_model_or_tokenizer_is_one_line_with_the_mend(good, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name, tokenizer, said in (
        ("organims", None, "--model organims: .* did you mean organism[?]"),
        ("Nobody/Nothing-4B", None, "--model Nobody/Nothing-4B: neither a known name .* download-model"),
        ("nowhere.safetensors", None, "nowhere.safetensors"),
        (str(tmp_path), None, "no tokenizer in that folder"),
        ("README.md", None, "--model README.md: a file"),
        ("tiny", str(tmp_path / "none"), "--tokenizer .*none: no such folder"),
        ("tiny", str(tmp_path), "--tokenizer .*: no tokenizer in that folder"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=said) as refused:
            zoo.load_model(name, tokenizer)
        assert errors.is_plain(refused.value) and "\n" not in str(refused.value)
