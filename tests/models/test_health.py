import timm
import torch

from featurespace.models.health import health


def trained():
    """A small network after a few steps of a real optimizer, its statistics moved."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=10).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(network(torch.randn(8, 3, 32, 32)), torch.randint(0, 10, (8,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


def test_a_trained_network_has_nothing():
    assert health(trained()) == []


def test_an_untrained_network_is_told():
    for arch in ("resnet18", "vit_tiny_patch16_224", "test_resnet"):
        found = [each.what for each in health(timm.create_model(arch).state_dict())]
        assert any(what.startswith("never trained") for what in found), arch
    found = {each.what: each for each in health(timm.create_model("resnet18").state_dict())}
    statistics = found["BatchNorm statistics at their initial values"]
    assert (statistics.count, statistics.total) == (20, 20) and statistics.places[0] == "bn1"
    assert any("torch's uniform" in what for what in found)


def test_only_the_classifier_is_new():
    state = trained()
    torch.manual_seed(1)
    head = torch.nn.Linear(state["fc.weight"].shape[1], 10)
    found = health({**state, "fc.weight": head.weight.detach(), "fc.bias": head.bias.detach()})
    assert [(each.count, each.places) for each in found] == [(1, ("fc.weight",))]
    weight = torch.nn.init.trunc_normal_(torch.empty(10, 64), std=0.02)
    found = health({**state, "fc.weight": weight, "fc.bias": torch.zeros(10)})
    assert "bias exactly zero" in found[0].what


def test_values_that_are_not_finite_and_channels_that_are_dead():
    state = {name: value.clone() for name, value in trained().items()}
    state["layer1.0.conv1.weight"][2] = 0
    state["layer1.0.bn1.weight"][3] = 0
    state["layer2.0.bn1.running_var"][:2] = 0
    state["conv1.0.weight"][0, 0, 0, :2] = float("nan")
    state["fc.bias"][0] = float("inf")
    found = {each.what: each for each in health(state)}
    assert {what: each.count for what, each in found.items()} == {
        "values that are NaN": 2,
        "values that are infinite": 1,
        "filters that are all zero": 1,
        "channels that a normalisation scales to nothing": 1,
        "channels without variance in BatchNorm's statistics": 2,
    }
    assert found["filters that are all zero"].places == ("layer1.0.conv1.weight",)
    assert str(found["values that are NaN"]).startswith("values that are NaN: 2 of ")
