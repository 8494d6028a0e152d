"""train.py with prompts run once a group: the same updates as with one sequence a rollout, source by source."""

import pytest
import torch
from safetensors.torch import load_file
from test_train import go, pool, rows, vhack  # noqa: F401  fixtures

import train as T


@pytest.mark.parametrize("arm", ["projected", "gt_screen"])
def test_shared_prompts_give_the_updates_of_unshared_ones(arm, tmp_path, pool, vhack):  # noqa: F811
    flags = {"arm": arm, "steps": 3, "mix_ratio": 0.5, "teacher_pool_dir": pool, "v_hack": vhack, "fused": True}
    _, one = go(tmp_path / "one", **flags)
    _, two = go(tmp_path / "two", **flags, share_prompts=True)
    for a, b in zip(rows(one), rows(two), strict=True):
        for key in ("gn", "cin_s", "cin_t", "cupd", "loss"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-6), key
        for key in ("rew_s", "flat", "hack_s", "tokens", "hack_t"):
            assert a[key] == b[key], key
    a, b = load_file(one / "final.safetensors"), load_file(two / "final.safetensors")
    assert all(torch.allclose(a[k], b[k], atol=1e-4) for k in a) and any(x.any() for x in a.values())
    trained = [r for r in rows(two, "rollouts.jsonl") if r["advantage"]]
    assert trained and all(r["cos_hack"] is not None for r in trained)


def test_arms_that_read_single_gradients_do_not_share_prompts():
    config = T.PRESETS["full"][1]
    assert config.shares_prompts and config.arm == "vanilla"
    for arm in T.SCREENS_WITH:
        assert not T.dataclasses.replace(config, arm=arm).shares_prompts
    assert not T.dataclasses.replace(config, kl_beta=0.1).shares_prompts
    assert not T.dataclasses.replace(config, train="full", fused=False).shares_prompts
