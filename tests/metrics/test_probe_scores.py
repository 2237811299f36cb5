from functools import cache

import numpy as np
import pytest
from oracles import probe as oracle
from scipy.special import softmax
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score

from featurespace.metrics import Probe, probe_scores
from featurespace.stats import paired_jackknife


def sizes_of(kind, rng, units=40):
    """Patients of one size, of geometric size, of Pareto's size up to 140 samples."""
    if kind == "equal":
        return np.full(units, 5)
    return rng.geometric(0.2, units) if kind == "geometric" else np.clip(rng.pareto(1, units) + 1, 1, 140).astype(int)


def probe_of(probabilities, classes):
    classes = np.asarray(classes)
    return Probe("linear", classes, classes[probabilities.argmax(axis=1)], probabilities)


def predicted(rng, n=80, classes="abcd", skill=1.0, ties=False):
    y = rng.choice(list(classes), n, p=np.arange(1, len(classes) + 1) / sum(range(len(classes) + 1)))
    logits = rng.standard_normal((n, len(classes))) + skill * (y[:, None] == np.array(list(classes)))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probe_of(p.round(1) if ties else p, list(classes)), y


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", ["ab", "abcd"])
@pytest.mark.parametrize("units", [None, 16])
def test_values_and_leave_outs_are_scikit_learns(rng, classes, ties, units):
    probe, y = predicted(rng, classes=classes, ties=ties)
    groups = None if units is None else rng.integers(0, units, 80)
    found = probe_scores(probe, y, groups=groups)
    assert found["accuracy"].value == np.mean(probe.predictions == y)
    assert found["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(y, probe.predictions))
    assert found["auc_macro"].value == pytest.approx(oracle.auc_macro(probe.probabilities, y, probe.classes))
    codes = np.arange(80) if units is None else groups
    for place, unit in enumerate(np.unique(codes)):
        kept = codes != unit
        expected = {
            "accuracy": np.mean(probe.predictions[kept] == y[kept]),
            "balanced_accuracy": balanced_accuracy_score(y[kept], probe.predictions[kept]),
            "auc_macro": oracle.auc_macro(probe.probabilities[kept], y[kept], probe.classes),
        }
        for name, value in expected.items():
            assert found[name].leave_one_out[place] == pytest.approx(value)


def test_two_probes_are_compared_on_the_same_samples(rng):
    y = np.arange(200) % 3
    noise = rng.standard_normal((200, 3))
    a, b = (probe_of(np.exp(noise + skill * np.eye(3)[y]) / 100, [0, 1, 2]) for skill in (2.0, 1.0))
    scores = [probe_scores(each, y) for each in (a, b)]
    assert all(paired_jackknife(scores[0][name], scores[1][name])[1] < 0.01 for name in scores[0])


def test_all_right_and_all_wrong_have_honest_intervals():
    y = np.arange(60) % 2
    right, wrong = (probe_of(p * 0.8 + 0.1, [0, 1]) for p in (np.eye(2)[y], np.eye(2)[1 - y]))
    found, opposite = probe_scores(right, y), probe_scores(wrong, y)
    for name, each in found.items():
        assert each.value == each.ci_high == 1 and each.ci_low == pytest.approx(60 / (60 + norm.ppf(0.975) ** 2))
        other = opposite[name]
        assert other.value == other.ci_low == 0 and other.ci_high == pytest.approx(1 - each.ci_low)
    assert found["auc_macro"].interval == "Wilson, few errors or units"
    groups = np.arange(60) // 6
    for each in probe_scores(right, y, groups=groups).values():
        assert each.value == each.ci_high == 1 and each.ci_low < 0.85 and each.n_groups == 10
    blind = probe_scores(probe_of(np.full((60, 2), 0.5), [0, 1]), y)["auc_macro"]
    assert blind.value == 0.5 and blind.interval == "none: every unit left out gives the same value"


def test_a_class_of_one_sample_is_no_evidence(rng):
    probe, y = predicted(rng, classes="abc", skill=2.0)
    lonely = np.append(np.where(y == "c", "b", y)[:-1], "c")
    found, plain = probe_scores(probe, lonely)["auc_macro"], probe_scores(probe, y)["auc_macro"]
    assert found.interval == "Wilson, few errors or units" and plain.interval == "jackknife, logit scale"
    assert found.ci_high - found.ci_low > 2 * (plain.ci_high - plain.ci_low)


def test_auc_is_undefined_with_one_class_and_says_so(rng):
    probe, y = predicted(rng)
    found = probe_scores(probe, np.full(80, "b"))
    assert found["auc_macro"].interval == "none: one class in the test set" and np.isnan(found["auc_macro"].value)
    assert found["balanced_accuracy"] == found["accuracy"]


def test_few_groups_have_no_interval(rng):
    probe, y = predicted(rng)
    found = probe_scores(probe, y, groups=np.arange(80) % 4)
    assert {e.interval for e in found.values()} == {"none: 4 groups, at least 5 needed"}


@cache
def truth_of(K, skill):
    """Accuracy, balanced accuracy and macro AUC of scores that are normal, shifted by skill in the own class."""
    x, w = np.polynomial.hermite_e.hermegauss(60)
    right = float(w @ norm.cdf(x + skill) ** (K - 1) / w.sum())
    # softmax of doubled scores, against a class of its own and against the others: by a large sample
    rng = np.random.default_rng(1)
    y = rng.choice(K, 100_000, p=np.full(K, 1 / K))
    P = softmax(2 * (rng.standard_normal((len(y), K)) + skill * np.eye(K)[y]), axis=1)
    return {"accuracy": right, "balanced_accuracy": right, "auc_macro": oracle.auc_macro(P, y, np.arange(K))}


@pytest.mark.parametrize("repeats", [80, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n, K, skill", [(60, 4, 1.5), (200, 2, 1.0), (200, 10, 3.5)])
@pytest.mark.parametrize("kind", ["samples", "equal", "geometric", "pareto"])
def test_intervals_cover(kind, n, K, skill, repeats):
    rng, shares = np.random.default_rng(3), np.full(K, 1 / K)
    truth, defined = truth_of(K, skill), 0
    inside = dict.fromkeys(truth, 0)
    for _ in range(repeats):
        sizes = np.ones(n, dtype=int) if kind == "samples" else sizes_of(kind, rng)
        groups = np.repeat(np.arange(len(sizes)), sizes)
        y = rng.choice(K, len(groups), p=shares)
        if len(np.unique(y)) < K:
            continue
        defined += 1
        # two fifths of the variance are of the patient
        alike = 0.0 if kind == "samples" else 0.4
        noise = rng.standard_normal((len(groups), K)) * np.sqrt(1 - alike)
        noise += rng.standard_normal((len(sizes), K))[groups] * np.sqrt(alike)
        probe = probe_of(softmax(2 * (noise + skill * np.eye(K)[y]), axis=1), np.arange(K))
        for name, each in probe_scores(probe, y, groups=None if kind == "samples" else groups).items():
            inside[name] += each.ci_low <= truth[name] <= each.ci_high
    for name, count in inside.items():
        assert count / defined > 0.94 - 3 * np.sqrt(0.05 * 0.95 / defined), (name, count / defined)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda p, y: probe_scores(p, y[:-1]), r"y_test has shape \(79,\); the probe predicted 80"),
        (lambda p, y: probe_scores(p, np.r_[y[:-1], ["z"]]), "class z of y_test is not among"),
        (lambda p, y: probe_scores(p, y, groups=[1]), "groups has shape"),
        (lambda p, y: probe_scores(p, y, level=95), "level is 95"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(*predicted(rng))
