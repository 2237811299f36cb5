import numpy as np
import pytest
from oracles import probe as oracle
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score

from featurespace.metrics import Probe, probe_scores
from featurespace.metrics import scores as room


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
def test_values_are_scikit_learns(rng, classes, ties):
    probe, y = predicted(rng, classes=classes, ties=ties)
    found = probe_scores(probe, y, rng=rng, draws=50)
    assert found["accuracy"].value == np.mean(probe.predictions == y)
    assert found["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(y, probe.predictions))
    assert found["auc_macro"].value == pytest.approx(oracle.auc_macro(probe.probabilities, y, probe.classes))


@pytest.mark.parametrize("ties", [False, True])
def test_all_draws_at_once_are_scikit_learns_weighted_auc(rng, ties):
    probe, y = predicted(rng, ties=ties)
    weights = rng.multinomial(80, np.full(80, 1 / 80), size=20).astype(float)
    codes = np.searchsorted(probe.classes, y)
    found = room._auc_macro(probe.probabilities, codes, np.unique(codes), weights)
    expected = [oracle.auc_macro(probe.probabilities, y, probe.classes, w) for w in weights]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    found = room._balanced_accuracy(probe.predictions == y, codes, np.unique(codes), weights)
    expected = [balanced_accuracy_score(y, probe.predictions, sample_weight=w) for w in weights]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_classes_missing_from_a_draw_are_left_out_of_its_mean(rng):
    probe, y = predicted(rng, n=12)
    codes = np.searchsorted(probe.classes, y)
    weights = (codes >= 2).astype(float)[None]
    correct = probe.predictions == y
    found = room._balanced_accuracy(correct, codes, np.arange(4), weights)
    assert found[0] == pytest.approx(np.mean([correct[codes == label].mean() for label in (2, 3)]))
    assert np.isnan(room._auc_macro(probe.probabilities, codes, np.arange(4), np.zeros((1, 12)))).all()


def test_full_accuracy_has_an_honest_interval_and_equal_replicates_none(rng):
    p = np.eye(2)[np.arange(60) % 2] * 0.8 + 0.1
    probe, y = probe_of(p, [0, 1]), np.arange(60) % 2
    found = probe_scores(probe, y, rng=rng, draws=100)
    assert found["accuracy"].value == found["accuracy"].ci_high == 1 and found["accuracy"].ci_low < 0.95
    for name in ("balanced_accuracy", "auc_macro"):
        assert found[name].value == 1 and found[name].interval == "none: all replicates equal"
    groups = np.arange(60) // 6
    grouped = probe_scores(probe, y, rng=rng, draws=100, groups=groups)["accuracy"]
    assert grouped.ci_low < found["accuracy"].ci_low - 0.1 and grouped.n_groups == 10
    assert grouped.interval == "Wilson, design effect of groups"


def test_auc_is_undefined_with_one_class_and_says_so(rng):
    probe, y = predicted(rng)
    found = probe_scores(probe, np.full(80, "b"), rng=rng, draws=100)
    assert found["auc_macro"].interval == "none: one class in the test set" and np.isnan(found["auc_macro"].value)
    assert found["balanced_accuracy"].value == found["accuracy"].value


def test_few_groups_have_no_interval(rng):
    probe, y = predicted(rng)
    found = probe_scores(probe, y, rng=rng, groups=np.arange(80) % 4, draws=100)
    assert {e.interval for e in found.values()} == {"none: 4 groups, at least 5 needed"}


@pytest.mark.parametrize("grouped", [False, True])
def test_bootstrap_scores_cover(rng, grouped):
    size = 4 if grouped else 1
    groups = np.arange(200) // size
    truth, inside = norm.cdf(1 / np.sqrt(2)), 0  # the AUC of two normals one deviation apart
    for _ in range(200):
        y = np.arange(200) // 4 % 2 if grouped else np.arange(200) % 2
        noise = rng.standard_normal(200 // size)[groups]
        p = 1 / (1 + np.exp(-(noise + y)))
        found = probe_scores(
            probe_of(np.c_[1 - p, p], [0, 1]), y, rng=rng, draws=300, groups=groups if grouped else None
        )
        inside += found["auc_macro"].ci_low <= truth <= found["auc_macro"].ci_high
    assert 0.88 < inside / 200 <= 0.99
    assert found["auc_macro"].interval == ("group bootstrap" if grouped else "bootstrap")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda p, y, r: probe_scores(p, y[:-1], rng=r), r"y_test has shape \(79,\); the probe predicted 80"),
        (lambda p, y, r: probe_scores(p, np.r_[y[:-1], ["z"]], rng=r), "class z of y_test is not among"),
        (lambda p, y, r: probe_scores(p, y, rng=r, groups=[1]), "groups has shape"),
        (lambda p, y, r: probe_scores(p, y, rng=r, level=95), "level is 95"),
        (lambda p, y, r: probe_scores(p, y, rng=r, draws=0), "draws is 0"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(*predicted(rng), rng)
