"""Model and tokenizer by name: `load_model` is the one place where weights enter.

tiny             random Qwen3 (2 layers, width 64) with the tokenizer made here from the project's own problems;
                 with --tokenizer DIR the vocabulary is that tokenizer's (the true Qwen3 vocabulary on CPU)
organism         the trained model organism in data/organism
qwen3-4b-random  Qwen3-4B's true dimensions with random weights (speed and memory only)
anything else    a Hugging Face hub name or a local folder, e.g. Qwen/Qwen3-4B
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

ROOT = Path(__file__).resolve().parent
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Qwen3-4B's published config (Qwen/Qwen3-4B config.json): 4.02 B parameters, tied embedding
QWEN3_4B = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rope_theta": 1_000_000,
    "tie_word_embeddings": True,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}


def local_tokenizer(vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained in a second on the project's own problems: any text round-trips, no network needed."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    text = (ROOT / "data" / "problems.jsonl").read_text(encoding="utf-8").splitlines()
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tok.train_from_iterator(
        text,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=special,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


def load_tokenizer(name: str, tokenizer: str | None = None):
    """The tokenizer of a model name, or the folder / hub name given by --tokenizer."""
    if tokenizer:
        if Path(tokenizer).exists() or "/" in tokenizer and not tokenizer.startswith((".", "/")):
            return AutoTokenizer.from_pretrained(tokenizer)
        raise FileNotFoundError(
            f"--tokenizer {tokenizer}: no such folder; give a folder with tokenizer.json or a hub name"
        )
    if name == "tiny":
        return local_tokenizer()
    if name == "organism":
        return AutoTokenizer.from_pretrained(ROOT / "data" / "organism")
    if name == "qwen3-4b-random":
        return AutoTokenizer.from_pretrained("Qwen/Qwen3-4B")
    return AutoTokenizer.from_pretrained(name)


def random_qwen3(dims: dict, dtype: torch.dtype, device: str, seed: int = 0) -> Qwen3ForCausalLM:
    """A Qwen3 with transformers' own initialisation, built on the device in its final dtype (no float32 copy)."""
    default = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return Qwen3ForCausalLM(Qwen3Config(**dims))
    finally:
        torch.set_default_dtype(default)


def load_model(name: str, tokenizer: str | None = None, device: str = "cpu", dtype: str = "float32"):
    """(model in eval mode, tokenizer) for a model name; raises with the name and the mend where it cannot be had."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine shows no CUDA device; use --device cpu or mend the driver")
    dt = DTYPES[dtype]
    tok = load_tokenizer(name, tokenizer)
    if name == "tiny":
        eos = tok.eos_token_id
        model = random_qwen3(
            TINY | {"vocab_size": len(tok), "eos_token_id": eos, "pad_token_id": tok.pad_token_id}, dt, device
        )
    elif name == "qwen3-4b-random":
        model = random_qwen3(QWEN3_4B, dt, device)
    else:
        where = ROOT / "data" / "organism" if name == "organism" else name
        try:
            model = AutoModelForCausalLM.from_pretrained(where, dtype=dt).to(device)
        except OSError as e:
            raise FileNotFoundError(
                f"--model {name}: neither a known name nor loadable from disk or hub ({str(e).splitlines()[0]}); "
                "run `just download-model` on a machine with network, or give a local folder"
            ) from e
    model.eval()
    if hasattr(model, "generation_config"):
        model.generation_config.eos_token_id = model.generation_config.eos_token_id or tok.eos_token_id
    return model, tok


def eos_ids(model, tok) -> tuple[int, ...]:
    """Every id that ends a completion: the tokenizer's EOS and the generation config's."""
    ids = model.generation_config.eos_token_id if hasattr(model, "generation_config") else None
    ids = list(ids) if isinstance(ids, list | tuple) else [ids]
    return tuple(sorted({i for i in [*ids, tok.eos_token_id] if i is not None}))
