import numpy as np
import pytest

import featurespace.metrics as room
from featurespace.metrics import matrices, similarity_matrices

CASES = [(name, {}) for name in matrices.HALVES] + [
    ("svcca", {"variance": 0.7}),
    ("rsa", {"rdm": "euclidean", "compare": "pearson"}),
    ("rsa", {"rdm": "cosine", "compare": "cosine"}),
    ("distance_correlation", {"debiased": False}),
    ("mutual_knn", {"k": 3}),
    ("knn_jaccard", {"k": 4}),
]


@pytest.fixture
def models(rng):
    shared = rng.standard_normal((40, 3))
    return [
        [np.c_[shared, rng.standard_normal((40, d - 3))] + rng.standard_normal((40, d)) + 1 for d in widths]
        for widths in ((4, 9, 6), (5, 60), (7,))
    ]


@pytest.mark.parametrize("name, options", CASES)
def test_each_pair_is_the_function_itself(models, name, options):
    found = dict(similarity_matrices(models, name, **options))
    assert list(found) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    for (i, j), values in found.items():
        expected = [[getattr(room, name)(X, Y, **options) for Y in models[j]] for X in models[i]]
        np.testing.assert_allclose(
            values, expected, rtol=0, atol=3e-8 if ("shape" in name or "procrustes" in name) and i == j else 1e-12
        )


@pytest.mark.parametrize("name, options", CASES)
def test_each_layer_is_prepared_once(models, monkeypatch, name, options):
    halves, seen = matrices.HALVES[name], []

    def prepare(X, label, **given):
        seen.append(label)
        return halves.prepare(X, label, **given)

    monkeypatch.setitem(matrices.HALVES, name, matrices.Halves(prepare, halves.combine, halves.options))
    list(similarity_matrices(models, name, **options))
    every = [f"layer {n} of model {m}" for m, layers in enumerate(models) for n in range(len(layers))]
    assert sorted(seen) == sorted(every)
    del seen[:]
    pairs = [(2, 1), (0, 2), (2, 1)]
    found = list(similarity_matrices(models, name, pairs=pairs, **options))
    assert [pair for pair, _ in found] == pairs and found[0][1].shape == (1, 2) and len(seen) == len(set(seen)) == 6


def test_the_features_given_are_not_changed(models):
    before = [[layer.copy() for layer in layers] for layers in models]
    for name in matrices.HALVES:
        list(similarity_matrices(models, name))
    for layers, copies in zip(models, before):
        for layer, copy in zip(layers, copies):
            np.testing.assert_array_equal(layer, copy)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: similarity_matrices(m, "cka"), "metric 'cka' is not known; allowed: cca, .* cka_matrices"),
        (lambda m: similarity_matrices(m, "mutual_knn", variance=1), "mutual_knn has no option 'variance'; allowed: k"),
        (lambda m: similarity_matrices(m, "cca", k=1), "cca has no option 'k'; it has none"),
        (
            lambda m: similarity_matrices([m[0], [m[1][0][:9]]], "cca"),
            "layer 2 of model 0 has 40 rows and layer 0 of model 1 9",
        ),
        (lambda m: similarity_matrices(m, "cca", pairs=[(0, 3)]), r"pairs hold \(0, 3\); there are 3 models"),
        (lambda m: similarity_matrices([m[0], []], "cca"), r"a model of the pair \(0, 1\) has no layers"),
        (lambda m: list(similarity_matrices([m[0], [m[1][0] * 0]], "cca")), "layer 0 of model 1 is constant"),
        (lambda m: list(similarity_matrices([[m[1][0] * 0]], "mutual_knn")), "layer 0 of model 0 has 40 rows of zeros"),
        (lambda m: list(similarity_matrices([[m[1][0][:3]]], "distance_correlation")), "layer 0 of model 0 has 3 rows"),
    ],
)
def test_errors_name_the_reason(models, call, message):
    with pytest.raises(ValueError, match=message):
        call(models)
