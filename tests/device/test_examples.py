"""The examples on a GPU: a few updates, and a run that goes on as if it had not been cut."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nn

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

TINY = ["--n-train", "60", "--n-test", "20", "--device", "gpu"]
HF = ["--optimizer", "hf", "--batch", "30", "--curvature-batch", "15", "--cg-iterations", "3"]


@pytest.fixture
def run(example, command_line):
    return command_line(example("autoencoder"))


def test_hessian_free_goes_on_bit_for_bit(run, tmp_path):
    assert run(*TINY, *HF, "--updates", "3", "--out", "whole") == 0
    assert run(*TINY, *HF, "--updates", "1", "--out", "cut") == 0
    assert run(*TINY, *HF, "--updates", "3", "--out", "cut", "--resume") == 0
    models = [nn.models.autoencoder(nn.models.CURVES, rng=np.random.default_rng(9)) for _ in range(2)]
    for model, folder in zip(models, ("whole", "cut"), strict=True):
        nn.load(model, tmp_path / folder / "model.safetensors")
    for (name, a), (_, b) in zip(*(model.named_parameters() for model in models), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    records = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["train_error"] < records[0]["train_error"]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_first_order_updates(run, optimizer):
    assert run(*TINY, "--optimizer", optimizer, "--batch", "30", "--updates", "3", "--out", "out") == 0
