import pytest
import timm
import torch

from featurespace.errors import FeaturespaceError
from featurespace.models import match
from featurespace.models.alignment import align
from featurespace.models.guess import guess_architectures, suggestion
from featurespace.models.matching import best_match


def resnet_like(*names):
    """A bottleneck whose last convolution and shortcut have the same shape, under the given module names."""
    conv1, bn1, conv3, bn3, short, short_bn, *rest = names
    shapes = {conv1: (8, 32, 1, 1), conv3: (32, 8, 1, 1), short: (32, 8, 1, 1)}
    state = {}
    for name in (conv1, bn1, conv3, bn3, short, short_bn, *rest):
        if name in shapes:
            state[f"{name}.weight"] = torch.randn(shapes[name])
        else:
            width = 8 if name == bn1 else 32
            state |= {
                f"{name}.{kind}": torch.randn(width) for kind in ("weight", "bias", "running_mean", "running_var")
            }
    return state


TARGET = resnet_like(
    "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv3", "layer1.0.bn3", "layer1.0.downsample.0", "layer1.0.downsample.1"
)


@pytest.fixture(scope="module")
def resnet18():
    return timm.create_model("resnet18", num_classes=0).state_dict()


@pytest.fixture(scope="module")
def with_head():
    return timm.create_model("resnet18", num_classes=7).state_dict()


def test_exact_names_leave_the_classifier_out(resnet18, with_head):
    found = match(resnet18, with_head, head_prefixes=("fc",))
    assert found.report.method == "names"
    assert found.report.share_of_parameters == found.report.share_of_tensors == 1
    assert len(found.report.matched) == 100  # 62 parameters less the classifier's 2, and 40 running statistics
    assert found.report.ignored_head == ("fc.weight", "fc.bias")
    assert not found.report.missing and not found.report.unexpected
    assert found.state.keys() == resnet18.keys()  # num_batches_tracked is loaded though it is not counted
    assert found.head["fc.weight"].shape == (7, 512)
    assert found.report.summary() == (
        "100 of 100 backbone tensors matched (100.00% of the values), by names, "
        "classifier left out (fc.weight, fc.bias)"
    )


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "encoder.", "backbone.", "_orig_mod.", "net.", "encoder_q.", "base_encoder.", "module.model."]
    + ["model._orig_mod.", "_orig_mod.module.", "module.base_encoder.", "anything.at.all.", "module.encoder_q."],
)
def test_any_wrapper_prefix_is_removed(resnet18, with_head, prefix):
    found = match(resnet18, {prefix + name: value for name, value in with_head.items()})
    assert (found.report.method, found.report.share_of_tensors) == ("names", 1)
    assert found.report.prefix.replace("_orig_mod.", "") == prefix.replace("_orig_mod.", "")
    assert len(found.report.ignored_head) == 2 and not found.report.unexpected


def test_wrappers_in_the_middle_of_names(resnet18, with_head):
    found = match(resnet18, {name.replace("layer1.", "layer1._orig_mod."): value for name, value in with_head.items()})
    assert found.report.share_of_tensors == 1


def test_the_classifier_beside_a_wrapped_backbone(resnet18):
    tensors = {f"model.backbone.{name}": value for name, value in resnet18.items()}
    tensors |= {"model.head.weight": torch.ones(3, 512), "projector.0.weight": torch.ones(9, 512)}
    report = match(resnet18, tensors).report
    assert report.ignored_head == ("model.head.weight",)
    assert [entry.source for entry in report.unexpected] == ["projector.0.weight"]


@pytest.mark.parametrize(
    ("chosen", "left"), [("encoder_q.", "encoder_k."), ("teacher.", "student."), ("backbone.", "backbone_momentum.")]
)
@pytest.mark.parametrize("turn", [False, True])
def test_of_two_equal_parts_the_usual_one_is_taken_and_the_other_named(resnet18, chosen, left, turn):
    order = (left, chosen) if turn else (chosen, left)
    report = match(resnet18, {p + n: v for p in order for n, v in resnet18.items()}).report
    assert report.prefix == chosen
    assert report.notes == (f"'{left}' fits as well and was not used",)


def test_lightly_numbers_the_children_of_a_resnet(resnet18):
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    tensors = {}
    for name, value in resnet18.items():
        first, _, rest = name.partition(".")
        tensors[f"backbone.{numbers[first]}.{rest}"] = value
    found = match(resnet18, tensors)
    assert found.report.method == "renamed: children by number"
    assert all(found.state[name] is value for name, value in resnet18.items())


def test_report_as_table_and_dict(resnet18):
    tensors = dict(resnet18)
    tensors["fc.weight"] = torch.ones(2, 512)
    tensors["extra.weight"] = torch.ones(3)
    del tensors["bn1.bias"]
    report = match(resnet18, tensors).report
    rows = report.to_table()
    counts = {status: sum(row["status"] == status for row in rows) for status in {row["status"] for row in rows}}
    assert counts == {"matched": 99, "missing": 1, "unexpected": 1, "ignored_head": 1}
    assert rows[0]["source_shape"] == rows[0]["target_shape"] == "64x3x7x7" and rows[0]["parameters"] == 9408
    assert report.to_dict()["missing"][0]["target"] == "bn1.bias"
    assert "left at random values: bn1.bias" in report.summary()


@pytest.mark.parametrize(
    ("file", "arch"), [("resnet50", "resnet18"), ("resnet18", "resnet34"), ("resnet18", "resnet50")]
)
def test_the_wrong_architecture_is_an_error_that_names_what_differs(file, arch):
    with torch.device("meta"):
        tensors = timm.create_model(file).state_dict()
        state = timm.create_model(arch, num_classes=0).state_dict()
    with pytest.raises(FeaturespaceError, match=f"best.pt does not fit {arch}: .*95% of both.*Try this"):
        match(state, tensors, where="best.pt", arch=arch, hint=lambda: "Try this.")


def test_a_deeper_network_of_the_same_widths_is_an_error_though_every_tensor_is_found(resnet18):
    with torch.device("meta"):
        deeper = timm.create_model("resnet34").state_dict()
    assert best_match(resnet18, deeper).report.share_of_parameters == 1
    with pytest.raises(FeaturespaceError, match="holds more than the network: .* layer1.2.conv1.weight.*deeper"):
        match(resnet18, deeper)


def test_ninety_five_percent_by_values_and_by_tensors(resnet18):
    few = {name: value for name, value in resnet18.items() if name not in ("bn1.weight", "bn1.bias")}
    assert match(resnet18, few).report.share_of_tensors == 0.98
    no_statistics = {name: value for name, value in resnet18.items() if "running" not in name}
    with pytest.raises(FeaturespaceError, match="99.9% of the backbone's values and 60.0% of its tensors"):
        match(resnet18, no_statistics)
    no_last = {name: value for name, value in resnet18.items() if not name.startswith("layer4.1.conv2")}
    with pytest.raises(FeaturespaceError, match="78.9% of the backbone's values.*missing layer4.1.conv2.weight"):
        match(resnet18, no_last)


def test_one_tensor_of_another_shape_is_an_error_whatever_its_share(resnet18):
    tensors = dict(resnet18, **{"conv1.weight": torch.ones(64, 1, 7, 7)})
    with pytest.raises(FeaturespaceError, match="conv1.weight is 64x1x7x7 in the file and 64x3x7x7 in the network"):
        match(resnet18, tensors)


def test_an_alignment_by_order_says_so(resnet18):
    words = {"conv1": "c1", "bn1": "n1", "conv2": "c2", "bn2": "n2", "downsample": "skip"}
    tensors = {}
    for name, value in resnet18.items():
        tensors["wrapped." + ".".join(words.get(part, part.replace("layer", "g.")) for part in name.split("."))] = value
    tensors["wrapped.fc.weight"] = torch.ones(3, 512)
    found = match(resnet18, tensors)
    assert found.report.method == "order and shape"
    assert "aligned by order and shape, not by name: check with" in found.report.summary()
    assert all(found.state[name] is value for name, value in resnet18.items() if "num_batches" not in name)


def test_two_parts_that_both_fit_in_order_are_refused():
    state = {f"layer1.{i}.weight": torch.ones(3 + i, 3) for i in range(3)}
    tensors = {f"{part}.x{i}.weight": torch.ones(3 + i, 3) for part in ("a", "b") for i in range(3)}
    with pytest.raises(FeaturespaceError, match="ambiguous and was refused .*'a.' and 'b.' both fit"):
        match(state, tensors)


# What order and shape must not be trusted with: each case places every tensor and is wrong, or cannot be known.


def test_align_takes_numbers_that_rise_and_known_words():
    source = resnet_like("b.0.c1", "b.0.n1", "b.0.c3", "b.0.n3", "b.0.shortcut.0", "b.0.shortcut.1")
    result = align(source, TARGET)
    assert result.pairs["b.0.shortcut.0.weight"] == "layer1.0.downsample.0.weight"
    assert result.pairs["b.0.n3.running_var"] == "layer1.0.bn3.running_var"


def test_align_pairs_by_kind_whatever_the_order_within_a_module():
    source = dict(reversed(list({"x1.weight": torch.ones(3), "x1.bias": torch.ones(3)}.items())))
    assert align(source, {"bn.weight": torch.ones(3), "bn.bias": torch.ones(3)}).pairs["x1.bias"] == "bn.bias"


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        # the shortcut's convolution listed in the place of the last one, of the same shape
        (("b.0.c1", "b.0.n1", "b.0.skip.0", "b.0.skip.1", "b.0.c3", "b.0.n3"), "one of these is a shortcut"),
        # only numbers: nothing says which of the twins is the shortcut
        (("b.0.0", "b.0.1", "b.0.2", "b.0.3", "b.0.4", "b.0.5"), "one of these is a shortcut"),
        # words that say nothing
        (("b.0.c1", "b.0.n1", "b.0.alpha", "b.0.an", "b.0.beta", "b.0.bn"), "one of these is a shortcut"),
    ],
)
def test_align_refuses_exchangeable_tensors(names, reason):
    result = align(resnet_like(*names), TARGET)
    assert result.fits and not result.pairs and reason in result.reason


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("x.conv2", "x.conv1", "numbers fall"),
        ("blocks.10.conv", "blocks.2.conv", "numbers fall"),
        ("alpha.conv", "beta.conv", "nothing in their names says"),
        ("conv", "conv.conv", "differ in length only"),
    ],
)
def test_align_refuses_twins_whose_names_do_not_confirm_the_order(first, second, reason):
    target = {"layer1.0.conv1.weight": torch.ones(4, 4, 3, 3), "layer1.0.conv2.weight": torch.ones(4, 4, 3, 3)}
    source = {f"{name}.weight": torch.ones(4, 4, 3, 3) for name in (first, second)}
    result = align(source, target)
    assert result.fits and not result.pairs and reason in result.reason
    with pytest.raises(FeaturespaceError, match=f"order and shapes agree, but that is ambiguous.*{reason}"):
        match(target, source)


def test_align_needs_the_whole_sequence():
    assert (
        "2 modules with weights where the network has 1"
        in align({"a.weight": torch.ones(2), "b.weight": torch.ones(2)}, {"c.weight": torch.ones(2)}).reason
    )
    wrong = align({"a1.weight": torch.ones(2)}, {"c.weight": torch.ones(3)})
    assert "differs first at a1 weight 2 and c weight 3" in wrong.reason and not wrong.fits
    assert "bias 2" in align({"a1.bias": torch.ones(2)}, {"c.weight": torch.ones(2)}).reason


def test_guesses_follow_the_shapes():
    with torch.device("meta"):
        tensors = timm.create_model("resnet34", num_classes=4).state_dict()
    names = {f"x{i}": value for i, value in enumerate(tensors.values())}
    candidates = ("resnet18", "resnet34", "convnext_tiny")
    (best, share), (second, _), _ = guess_architectures(names, candidates=candidates)
    assert (best, second) == ("resnet34", "resnet18") and share > 0.9


def test_no_guess_where_nothing_is_near():
    assert "No common architecture has these shapes" in suggestion({"x": torch.ones(3, 5, 7)}, "resnet18")


def test_a_renaming_behind_a_wrapper():
    state = timm.create_model("tf_efficientnet_lite0", num_classes=0).state_dict()
    names = iter(_efficientnet_pytorch_names(state))
    tensors = {f"module.net.{next(names)}": value for value in state.values()}
    found = match(state, tensors | {"module.net._fc.weight": torch.ones(2, 1280)})
    assert (found.report.method, found.report.prefix) == ("renamed: efficientnet_pytorch to timm", "module.net.")
    assert all(found.state[name] is value for name, value in state.items())
    assert found.report.ignored_head == ("module.net._fc.weight",) and list(found.head) == ["classifier.weight"]


def _efficientnet_pytorch_names(state):
    """Return the names that efficientnet_pytorch gives to the tensors of a timm EfficientNet, in the same order."""
    blocks = list(dict.fromkeys(".".join(name.split(".")[:3]) for name in state if name.startswith("blocks.")))
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    later = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    later |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    for name in state:
        if name.startswith("blocks."):
            _, stage, index, part, *kind = name.split(".")
            inner = (first if stage == "0" else later)[part]
            yield ".".join([f"_blocks.{blocks.index(f'blocks.{stage}.{index}')}", inner, *kind])
        else:
            part, _, kind = name.partition(".")
            yield f"{top[part]}.{kind}"
