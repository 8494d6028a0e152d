"""What several files share: the smallest teacher pool and V, made once a process; a grader a file."""

from dataclasses import replace

import pytest


@pytest.fixture(scope="session", autouse=True)
def _reference_times(tmp_path_factory):
    """Measured by the tests themselves: no earlier run's times, and none left in the checkout."""
    from sandbox import limits

    limits.FOLDER = tmp_path_factory.mktemp("times")


@pytest.fixture(scope="session")
def pool(tmp_path_factory) -> str:
    import probe_distill

    out = tmp_path_factory.mktemp("pool") / "pool"
    smoke = probe_distill.PRESETS["smoke"][1]
    probe_distill.main(replace(smoke, out=out, teacher_only=True, limit=4, grader_workers=1))
    return str(out)


@pytest.fixture(scope="session")
def vhack(tmp_path_factory) -> str:
    from tiny import SMALL

    import extract_vhack
    from model import zoo
    from model.svd_basis import attach

    path = tmp_path_factory.mktemp("v") / "v.safetensors"
    model, tok = zoo.load_model("tiny")
    extract_vhack.load_or_extract(model, attach(model), tok, replace(SMALL.extract_config(), out=str(path)))
    return str(path)


@pytest.fixture(scope="module")
def grader(request):
    from grader import Grader

    limit = getattr(request.module, "CPU_LIMIT_S", None)  # short where many programs loop for ever
    with Grader(2, **({"cpu_limit_s": limit} if limit else {})) as g:
        yield g


@pytest.fixture(params=["cpu", "cuda"])
def device(request) -> str:
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return request.param
