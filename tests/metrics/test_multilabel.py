import numpy as np
import pytest
import torch
from oracles import labels as labels_oracle
from oracles import probe as oracle
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from featurespace.metrics import MultilabelProbe, linear_probe, multilabel_probe, multilabel_scores
from featurespace.metrics.average_precision import weighted_average_precision


def labelled(rng, n=160, d=8, unknown=0.0):
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.arange(1, d + 1) + 5
    logits = (X - 5) @ rng.standard_normal((d, 3))
    logits = 1.5 * logits / logits.std(axis=0) - [0, 1, 2]
    Y = (rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    Y[rng.uniform(size=Y.shape) < unknown] = np.nan
    return X, Y


@pytest.mark.parametrize("C", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("d", [1, 8, 200])
def test_the_optimum_is_scikit_learns(rng, d, C):
    X, Y = labelled(rng, 160, d)
    found = multilabel_probe(X[:120], Y[:120], X[120:], rng=rng, C=[C])
    for label in range(3):
        expected = oracle.linear(X[:120], Y[:120, label], X[120:], C)[:, 1]
        np.testing.assert_allclose(found.probabilities[:, label], expected, atol=1e-3)
    assert found.C.tolist() == [C] * 3 and found.cv_scores == {} and found.notes == {}
    np.testing.assert_array_equal(found.positives, Y[:120].sum(axis=0))


def test_unknown_labels_take_no_part(rng):
    X, Y = labelled(rng, unknown=0.3)
    found = multilabel_probe(X, Y, X, rng=rng, C=[0.1])
    standard = (X - X.mean(0)) / X.std(0)
    for label in range(3):
        known = ~np.isnan(Y[:, label])
        model = LogisticRegression(C=0.1, tol=1e-10, max_iter=9999).fit(standard[known], Y[known, label])
        np.testing.assert_allclose(found.probabilities[:, label], model.predict_proba(standard)[:, 1], atol=1e-3)
        assert found.known[label] == known.sum()


def test_cross_validation_is_scikit_learns(rng):
    X, Y = labelled(rng)
    found = multilabel_probe(X, Y, X, rng=np.random.default_rng(4), folds=3)
    standard, seeds = (X - X.mean(0)) / X.std(0), np.random.default_rng(4)
    for label in range(3):
        y, seed = Y[:, label].astype(int), int(seeds.integers(2**32))
        for C, scores in found.cv_scores.items():
            total = 0.0
            for train, held_out in StratifiedKFold(3, shuffle=True, random_state=seed).split(X, y):
                model = LogisticRegression(C=C, tol=1e-9, max_iter=9999).fit(standard[train], y[train])
                total += np.log(model.predict_proba(standard[held_out])[np.arange(len(held_out)), y[held_out]]).sum()
            assert scores[label] == pytest.approx(total / len(y), abs=5e-3)
        best = max(scores[label] for scores in found.cv_scores.values())
        assert found.C[label] == min(C for C, scores in found.cv_scores.items() if scores[label] >= best - 1e-3)


def test_one_label_is_the_linear_probe(rng):
    X, Y = labelled(rng)
    one = multilabel_probe(X, Y[:, :1], X, rng=np.random.default_rng(1))
    linear = linear_probe(X, Y[:, 0], X, rng=np.random.default_rng(1))
    np.testing.assert_allclose(one.probabilities[:, 0], linear.probabilities[:, 1], atol=1e-3)
    assert one.C[0] == linear.C


def test_scales_offsets_dtypes_and_input_kept(rng):
    X, Y = labelled(rng)
    grid = (np.round(X * 64) / 64).astype("f4")
    plain = multilabel_probe(grid, Y, grid, rng=np.random.default_rng(1))
    kept = grid.copy()
    for changed in (
        grid + np.float32(1000),
        torch.from_numpy(grid),
        grid * np.float64(1e150),
        grid * np.float64(1e-150),
    ):
        other = multilabel_probe(changed, torch.from_numpy(Y), changed, rng=np.random.default_rng(1))
        np.testing.assert_allclose(other.probabilities, plain.probabilities, atol=1e-6)
    np.testing.assert_array_equal(grid, kept)


def test_groups_and_notes(rng):
    X, Y = labelled(rng)
    Y[:, 2] = np.arange(160) < 2
    found = multilabel_probe(X, Y, X, rng=rng)
    assert found.notes == {2: "2 folds, not 4: the smallest class has 2 samples"}
    one = multilabel_probe(X, Y, X, rng=rng, groups=np.zeros(160))
    assert one.cv_scores == {} and one.notes[0].startswith("no cross-validation: 1 group")
    # label 1 is known in one group only: no folds for it, while the others have theirs
    groups = np.arange(160) // 16
    Y[groups > 0, 1] = np.nan
    Y[:16, 1] = np.arange(16) % 2
    mixed = multilabel_probe(X, Y, X, rng=rng, groups=groups)
    assert mixed.C[1] == 1e-1 and np.isnan([s[1] for s in mixed.cv_scores.values()]).all() and 1 in mixed.notes


def test_weighted_average_precision_is_the_loop(rng):
    for ties in (False, True):
        positive = (rng.uniform(size=40) < 0.3).astype(float)
        scores = rng.standard_normal(40) + positive
        scores = np.round(scores) if ties else scores
        weights = rng.multinomial(40, np.full(40, 1 / 40), size=10).astype(float)
        found = weighted_average_precision(scores, positive, weights)
        np.testing.assert_allclose(found, [labels_oracle.average_precision(scores, positive, w) for w in weights])
    once = weighted_average_precision(scores, positive, np.ones((1, 40)))[0]
    assert once == pytest.approx(average_precision_score(positive, scores))
    assert np.isnan(weighted_average_precision(scores, positive, (1 - positive)[None])).all()


def predicted(Y):
    ones = np.ones(Y.shape[1])
    return MultilabelProbe(Y, ones, ones, ones)


def test_scores_are_scikit_learns(rng):
    _, Y = labelled(rng, unknown=0.2)
    P = rng.uniform(size=Y.shape) + 0.3 * np.nan_to_num(Y)
    for groups in (None, np.arange(160) // 5):
        found = multilabel_scores(predicted(P), Y, rng=rng, groups=groups, draws=200)
        assert list(found) == ["macro", 0, 1, 2]
        for name, score in (("auc", roc_auc_score), ("average_precision", average_precision_score)):
            expected = [score(Y[k, label], P[k, label]) for label in range(3) for k in [~np.isnan(Y[:, label])]]
            np.testing.assert_allclose([found[label][name].value for label in range(3)], expected)
            assert found["macro"][name].value == pytest.approx(np.mean(expected))
            for each in found.values():
                assert each[name].ci_low < each[name].value < each[name].ci_high
        assert found[0]["auc"].n == (~np.isnan(Y[:, 0])).sum() and found["macro"]["auc"].n == 160
    assert (
        found["macro"]["auc"].n_groups == 32
        and found[0]["average_precision"].interval == "Wilson, group bootstrap variance"
    )


def test_labels_without_two_sides_are_said(rng):
    Y = np.c_[np.arange(40) % 2, np.zeros(40), np.ones(40), np.arange(40) < 1]
    found = multilabel_scores(predicted(rng.uniform(size=Y.shape)), Y, rng=rng, draws=50)
    assert found[1]["auc"].interval == "none: no positive in the test set" and np.isnan(found[1]["auc"].value)
    assert found[2]["average_precision"].interval == "none: no negative in the test set"
    assert found[3]["average_precision"].interval == "none: all positives are in one sample"
    assert found["macro"]["auc"].value == pytest.approx(np.mean([found[label]["auc"].value for label in (0, 3)]))
    found = multilabel_scores(predicted(Y[:, 1:3] * 0.5), Y[:, 1:3], rng=rng, draws=50)
    assert found["macro"]["auc"].interval == "none: no label has positives and negatives in the test set"
    few = multilabel_scores(predicted(Y), Y, rng=rng, draws=50, groups=np.arange(40) % 4)
    assert few[0]["average_precision"].interval == "none: 4 groups, at least 5 needed"
    perfect = multilabel_scores(predicted(Y[:, :1]), Y[:, :1], rng=rng, draws=50)[0]["average_precision"]
    assert perfect.value == perfect.ci_high == 1 and perfect.ci_low < 0.9


@pytest.mark.parametrize("repeats", [60, pytest.param(600, marks=pytest.mark.slow)])
@pytest.mark.parametrize("count, size", [(200, 1), (60, 4)])
def test_intervals_of_macro_scores_cover(rng, count, size, repeats):
    shares, gap, groups = np.array([0.5, 0.2, 0.1]), 1.5, np.repeat(np.arange(count), size)
    big = np.arange(400_000) / 400_000
    truth = {
        "auc": norm.cdf(gap / np.sqrt(2)),
        "average_precision": np.mean([
            average_precision_score(big < share, rng.standard_normal(len(big)) + gap * (big < share)) for share in shares
        ]),
    }  # fmt: skip
    inside = dict.fromkeys(truth, 0)
    for _ in range(repeats):
        Y = (rng.uniform(size=(count, 3)) < shares).astype(float)[groups]
        noise = rng.standard_normal((count, 3))[groups] + rng.standard_normal((count * size, 3))
        scores = predicted(noise / np.sqrt(2) + gap * Y)
        found = multilabel_scores(scores, Y, rng=rng, groups=groups if size > 1 else None, draws=200)["macro"]
        for name in truth:
            inside[name] += found[name].ci_low <= truth[name] <= found[name].ci_high
    for name in truth:
        assert inside[name] / repeats > 0.95 - 0.02 - 3 * np.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, Y, r: multilabel_probe(X, Y[1:], X, rng=r), r"Y_train has shape \(159, 3\)"),
        (lambda X, Y, r: multilabel_probe(X, Y[:, 0], X, rng=r), r"Y_train has shape \(160,\)"),
        (lambda X, Y, r: multilabel_probe(X, Y * 2, X, rng=r), "Y_train has 2 in row .*; allowed are 0, 1 and nan"),
        (
            lambda X, Y, r: multilabel_probe(X, Y * [1, 0, 1], X, rng=r),
            "label 1 has 0 training samples with it and 160 w",
        ),
        (lambda X, Y, r: multilabel_probe(X, Y, X[:, 1:], rng=r), "X_train has 8 columns and X_test 7"),
        (lambda X, Y, r: multilabel_probe(X * 0, Y, X, rng=r), "X_train is constant"),
        (lambda X, Y, r: multilabel_probe(X, Y, X, rng=r, C=[0]), "must hold positive numbers"),
        (lambda X, Y, r: multilabel_probe(X, Y, X, rng=r, folds=1), "folds is 1"),
        (lambda X, Y, r: multilabel_probe(X, Y, X, rng=r, groups=[1]), "groups has shape"),
        (
            lambda X, Y, r: multilabel_scores(predicted(Y), Y[:, 1:], rng=r),
            r"Y_test has shape \(160, 2\); the probe predicted",
        ),
        (lambda X, Y, r: multilabel_scores(predicted(Y), Y + 1, rng=r), "Y_test has 2 in row"),
        (lambda X, Y, r: multilabel_scores(predicted(Y), Y, rng=r, draws=0), "draws is 0"),
        (lambda X, Y, r: multilabel_scores(predicted(Y), Y, rng=r, level=95), "level is 95"),
        (lambda X, Y, r: multilabel_scores(predicted(Y), Y, rng=r, groups=[1]), "groups has shape"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    X, Y = labelled(rng)
    with pytest.raises(ValueError, match=message):
        call(X, Y, rng)
