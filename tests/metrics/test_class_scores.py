import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from featurespace.metrics import Probe, per_class_scores


def probe_of(probabilities, classes):
    classes = np.asarray(classes)
    return Probe("linear", classes, classes[probabilities.argmax(axis=1)], probabilities)


def predicted(rng, n=120, classes="abc", skill=1.0):
    y = rng.choice(list(classes), n)
    logits = rng.standard_normal((n, len(classes))) + skill * (y[:, None] == np.array(list(classes)))
    return probe_of(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), list(classes)), y


@pytest.mark.parametrize("units", [None, 24])
def test_values_are_scikit_learns(rng, units):
    probe, y = predicted(rng)
    found = per_class_scores(probe, y, groups=None if units is None else np.arange(120) % units)
    assert list(found) == ["a", "b", "c"]
    for name, score in (("recall", recall_score), ("precision", precision_score), ("f1", f1_score)):
        expected = score(y, probe.predictions, average=None, labels=list("abc"))
        np.testing.assert_allclose([found[label][name].value for label in "abc"], expected)
    for column, label in enumerate("abc"):
        assert found[label]["auc"].value == pytest.approx(roc_auc_score(y == label, probe.probabilities[:, column]))
        assert found[label]["recall"].n == (y == label).sum()
        assert found[label]["precision"].n == (probe.predictions == label).sum()
        assert found[label]["f1"].n == ((y == label) | (probe.predictions == label)).sum()
        for each in found[label].values():
            assert 0 < each.ci_low < each.value < each.ci_high < 1 and each.se > 0
            assert each.unit == ("sample" if units is None else "group")


def test_f1_is_the_mapped_share(rng):
    probe, y = predicted(rng)
    a, b = (per_class_scores(probe, y, level=level)["a"]["f1"] for level in (0.5, 0.95))
    assert b.ci_low < a.ci_low < a.value < a.ci_high < b.ci_high
    step = 1e-6  # the standard error is that of the share times the slope of the map
    share = a.value / (2 - a.value)
    slope = (2 * (share + step) / (1 + share + step) - a.value) / step
    assert a.se == pytest.approx(slope * (share * (1 - share) / a.n) ** 0.5, rel=1e-5)


def test_what_is_undefined_says_why(rng):
    p = np.tile([0.6, 0.3, 0.1], (20, 1))
    found = per_class_scores(probe_of(p, ["a", "b", "c"]), np.repeat(["a", "b"], 10))
    assert found["b"]["recall"].value == 0 and found["b"]["f1"].value == 0 and found["b"]["recall"].ci_high > 0.2
    assert found["b"]["precision"].interval == "none: the class is never predicted" and found["b"]["precision"].n == 0
    assert found["c"]["recall"].interval == found["c"]["auc"].interval == "none: the class is not in the test set"
    assert found["c"]["f1"].interval == "none: the class is neither in the test set nor predicted"
    assert np.isnan(found["c"]["f1"].value) and np.isnan(found["b"]["precision"].value)
    one = per_class_scores(probe_of(p, ["a", "b", "c"]), ["a"] * 20)
    assert one["a"]["auc"].interval == "none: no other class in the test set" and one["a"]["f1"].value == 1
    few = per_class_scores(probe_of(p, ["a", "b", "c"]), np.repeat(["a", "b"], 10), groups=np.arange(20) % 3)
    assert few["a"]["recall"].interval == few["a"]["auc"].interval == "none: 3 groups, at least 5 needed"
    assert few["a"]["f1"].value == pytest.approx(2 / 3) and np.isnan(few["a"]["f1"].ci_low)


@pytest.mark.parametrize("repeats", [200, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("count, size, skill", [(150, 1, 1.0), (150, 1, 2.5), (60, 4, 1.0)])
def test_intervals_cover(rng, count, size, skill, repeats):
    # two classes of 30 and 70 %, a threshold at half way between them
    up, down = norm.cdf(skill / 2), norm.cdf(-skill / 2)
    hits, false = 0.3 * up, 0.7 * down
    truth = {"recall": up, "precision": hits / (hits + false), "f1": 2 * hits / (0.3 + hits + false)}
    truth["auc"] = norm.cdf(skill / np.sqrt(2))
    inside = dict.fromkeys(truth, 0)
    groups = np.arange(count * size) // size
    for _ in range(repeats):
        y = (rng.uniform(size=count) < 0.3).astype(int)[groups]
        noise = rng.standard_normal(count)[groups] + rng.standard_normal(count * size) if size > 1 else None
        noise = rng.standard_normal(count) if noise is None else noise / np.sqrt(2)
        p = norm.cdf(noise + skill * (y - 0.5))
        found = per_class_scores(probe_of(np.c_[1 - p, p], [0, 1]), y, groups=groups if size > 1 else None)[1]
        for name, value in truth.items():
            inside[name] += found[name].ci_low <= value <= found[name].ci_high
    for name in truth:
        assert inside[name] / repeats > 0.93 - 3 * np.sqrt(0.05 * 0.95 / repeats), name


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda p, y: per_class_scores(p, y[1:]), r"y_test has shape \(119,\); the probe predicted 120"),
        (lambda p, y: per_class_scores(p, np.r_[y[1:], ["z"]]), "class z of y_test is not among"),
        (lambda p, y: per_class_scores(p, y, groups=[1]), "groups has shape"),
        (lambda p, y: per_class_scores(p, y, level=0), "level is 0"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(*predicted(rng))
