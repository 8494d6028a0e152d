"""Model and tokenizer by name: `load_model` is the one place where weights enter.

tiny               random Qwen3 (2 layers, width 64) with the tokenizer made here from the project's own problems;
                   with --tokenizer DIR the vocabulary is that tokenizer's (the true Qwen3 vocabulary on CPU)
organism           the trained model organism in data/organism
organism-inside    the one in data/organism-inside, whose loopholes stand inside the class
qwen3-4b-random    Qwen3-4B's true dimensions with random weights (speed and memory only)
anything else      a Hugging Face hub name or a local folder, e.g. Qwen/Qwen3-4B
"""

from __future__ import annotations

import contextlib
import difflib
import sys
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.utils import logging as transformers_logging

from command import files
from model.net import refuse_unknown

if not sys.stderr.isatty():  # its bars are for terminals, and it draws them anywhere
    transformers_logging.disable_progress_bar()
ROOT = files.ROOT
ORGANISMS = ("organism", "organism-inside")  # folders of data/
NAMES = ("tiny", *ORGANISMS, "qwen3-4b-random")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
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


# ---------------------------------------------------------------- by name
def load_tokenizer(name: str, tokenizer: str | None = None):
    """The tokenizer of a model name, or the folder / hub name given by --tokenizer."""
    if tokenizer:
        if files.find(tokenizer).exists() or "/" in tokenizer and not tokenizer.startswith((".", "/")):
            return _tokenizer(tokenizer, "--tokenizer")
        raise FileNotFoundError(
            f"--tokenizer {tokenizer}: no such folder; give a folder with tokenizer.json or a hub name"
        )
    if name == "tiny":
        return local_tokenizer()
    if name in ORGANISMS:
        return AutoTokenizer.from_pretrained(ROOT / "data" / name)
    if name == "qwen3-4b-random":
        return _tokenizer("Qwen/Qwen3-4B", "the tokenizer of --model")
    return _tokenizer(name, "--model")


def _tokenizer(name: str, flag: str):
    """A tokenizer from a folder or the hub; FileNotFoundError or ValueError in one line where it is in neither."""
    where = files.find(name)
    if (where / "adapter_config.json").exists() and not (where / "config.json").exists():
        raise ValueError(f"{flag} {name}: an adapter, not a whole model; merge it into its base model and give that")
    if where.is_file():
        raise ValueError(f"{flag} {name}: a file; give the folder that it lies in")
    if where.is_dir() and not any((where / f).exists() for f in TOKENIZER_FILES):
        raise ValueError(f"{flag} {name}: no tokenizer in that folder; give one by --tokenizer, or save it there")
    try:
        return AutoTokenizer.from_pretrained(where if where.exists() else name)
    except Exception as e:  # tokenizers raises Exception itself for a torn tokenizer.json
        first = " ".join(str(e).split())[:200]
        if where.exists():
            raise ValueError(f"{flag} {name}: its tokenizer cannot be read ({first}); save or download it again") from e
        near = difflib.get_close_matches(name, NAMES, 1)
        raise FileNotFoundError(
            f"{flag} {name}: neither a known name nor loadable from disk or hub ({first}); "
            + (f"did you mean {near[0]}? " if near else "")
            + "Run `just download-model` on a machine with network, or give a local folder"
        ) from e


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


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@contextlib.contextmanager
def _loading(name: str):
    """Turn what transformers raises on a bad folder into one line: it has no class of its own for that."""
    try:
        yield
    except OSError as e:
        raise FileNotFoundError(
            f"--model {name}: neither a known name nor loadable from disk or hub ({str(e).splitlines()[0]}); "
            "run `just download-model` on a machine with network, or give a local folder"
        ) from e
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError) as e:
        raise ValueError(f"--model {name}: cannot be loaded ({' '.join(str(e).split())[:300]})") from e


def read_config(where: str | Path, name: str):
    """The config of a model that can be computed exactly, read before any weight; ValueError, FileNotFoundError."""
    if (Path(where) / "adapter_config.json").exists():
        raise ValueError(f"--model {name}: an adapter, not a whole model; merge it into its base model and give that")
    with _loading(name):
        cfg = AutoConfig.from_pretrained(where)
    refuse_unknown(cfg, f"--model {name}")
    return cfg


def load_weights(where: str | Path, name: str, cfg, dtype: torch.dtype):
    """A causal LM from a folder or the hub; ValueError in one line naming tensors that its files do not give it."""
    with _loading(name):
        model, info = AutoModelForCausalLM.from_pretrained(
            where, config=cfg, dtype=dtype, ignore_mismatched_sizes=True, output_loading_info=True
        )
    for what, keys in (("lack", info["missing_keys"]), ("have other shapes for", info["mismatched_keys"])):
        if keys:
            found = _listed(sorted(k if isinstance(k, str) else k[0] for k in keys))
            raise ValueError(
                f"--model {name}: its files {what} {found}, which would be random numbers; download the model again, "
                "or mend its config.json"
            )
    return model


@torch.no_grad()
def refuse_broken(model, tok, name: str) -> None:
    """ValueError naming weights that are not finite, or a tokenizer with ids beyond the embedding's rows."""
    bad = [n for n, p in model.named_parameters() if not bool(torch.isfinite(p.sum()))]
    bad = [n for n in bad if not bool(torch.isfinite(model.get_parameter(n)).all())]  # a sum can overflow
    if bad:
        raise ValueError(f"--model {name}: NaN or infinity in {_listed(bad)}; download the model again")
    rows, top = model.get_input_embeddings().num_embeddings, max(tok.get_vocab().values())
    if top >= rows:
        raise ValueError(
            f"--model {name}: its tokenizer has ids up to {top}, but the model has rows for {rows}; give the tokenizer "
            "that belongs to it by --tokenizer"
        )


def load_model(name: str, tokenizer: str | None = None, device: str = "cpu", dtype: str = "float32"):
    """(model in eval mode, tokenizer) for a model name; raises with the name and the mend where it cannot be had."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine shows no CUDA device; use --device cpu or mend the driver")
    dt = DTYPES[dtype]
    where, cfg = name, None
    if name not in ("tiny", "qwen3-4b-random"):
        own = ROOT / "data" / name
        where = own if name in ORGANISMS else files.find(name) if files.find(name).exists() else name
        if (Path(where) / "config.json").exists():  # before the tokenizer, whose reader blames itself for a bad config
            cfg = read_config(where, name)
    tok = load_tokenizer(name, tokenizer)
    if name == "tiny":
        eos = tok.eos_token_id
        model = random_qwen3(
            TINY | {"vocab_size": len(tok), "eos_token_id": eos, "pad_token_id": tok.pad_token_id}, dt, device
        )
    elif name == "qwen3-4b-random":
        model = random_qwen3(QWEN3_4B, dt, device)
    else:
        model = load_weights(where, name, cfg or read_config(where, name), dt).to(device)
    model.eval()
    refuse_broken(model, tok, name)
    if hasattr(model, "generation_config"):
        model.generation_config.eos_token_id = model.generation_config.eos_token_id or tok.eos_token_id
    if not eos_ids(model, tok):
        raise ValueError(f"--model {name}: neither tokenizer nor generation config names an end token; set one of them")
    return model, tok


def context(model) -> int | None:
    """Positions that a model was made for; None where its config has no limit."""
    return getattr(model.config, "max_position_embeddings", None)


def check_room(model, prompt_tokens: int, max_new_tokens: int) -> None:
    """ValueError where the longest prompt and a whole answer are more than the model's positions."""
    positions = context(model)
    if positions and prompt_tokens + max_new_tokens > positions:
        raise ValueError(
            f"--max-new-tokens {max_new_tokens}: with the longest prompt, {prompt_tokens} tokens, more than the "
            f"model's {positions} positions; choose at most {max(0, positions - prompt_tokens)}"
        )


def eos_ids(model, tok) -> tuple[int, ...]:
    """Every id that ends a completion: the tokenizer's EOS and the generation config's."""
    ids = model.generation_config.eos_token_id if hasattr(model, "generation_config") else None
    ids = list(ids) if isinstance(ids, list | tuple) else [ids]
    return tuple(sorted({i for i in [*ids, tok.eos_token_id] if i is not None}))
