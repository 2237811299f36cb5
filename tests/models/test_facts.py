import argparse

import pytest
import torch

from featurespace.models import read_tensors
from featurespace.models.facts import optimizer_kind

NETWORK = torch.nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.05), "Adam or AdamW, lr 0.001, weight_decay 0.05"),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), "SGD, lr 0.1, momentum 0.9, weight_decay 0"),
        (lambda p: torch.optim.RMSprop(p, lr=0.1), "RMSprop, lr 0.1, momentum 0, weight_decay 0"),
        (lambda p: torch.optim.Adadelta(p, lr=0.1), "of unknown kind, lr 0.1, weight_decay 0"),
    ],
)
def test_an_optimizer_is_told_by_its_state(make, kind):
    assert optimizer_kind(make(NETWORK.parameters()).state_dict()) == kind


def test_a_training_is_told(tmp_path):
    optimizer = torch.optim.SGD(NETWORK.parameters(), lr=0.1)
    torch.save(
        {
            "state_dict": NETWORK.state_dict(),
            "state_dict_ema": NETWORK.state_dict(),
            "epoch": 7,
            "arch": "resnet50",
            "args": argparse.Namespace(lr=0.1, sizes=[1, 2]),
            "hyper_parameters": {"width": 3, "none": None},
            "optimizer_states": [optimizer.state_dict()],
            "pytorch-lightning_version": "2.5.0",
        },
        tmp_path / "x.ckpt",
    )
    facts = read_tensors(tmp_path / "x.ckpt").training
    assert facts["epoch"] == 7 and facts["arch"] == "resnet50"
    assert (facts["args.lr"], facts["args.sizes"], facts["hyper_parameters.width"]) == (0.1, "[1, 2]", 3)
    assert facts["optimizer"].startswith("SGD, lr 0.1")
    assert facts["averaged weights"] == "state_dict_ema" and facts["framework"] == "pytorch-lightning 2.5.0"


@pytest.mark.parametrize("state", [{}, {"param_groups": []}, {"param_groups": [3]}])
def test_what_is_no_optimizer_has_no_kind(state):
    assert optimizer_kind(state) == ""
