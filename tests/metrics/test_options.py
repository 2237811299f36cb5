"""Counts and generators, drawn from the signatures of all public functions: what is none gets a reason."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest

import featurespace.metrics as metrics
import featurespace.stats as stats
from featurespace.stats.checks import check_counts, check_generator

RNG = np.random.default_rng
X = np.random.default_rng(0).standard_normal((40, 4))
Y = X + np.random.default_rng(1).standard_normal((40, 4))
LABELS = np.arange(40) % 2
VOLUMES = [np.random.default_rng(each).integers(0, 256, (3, 8, 8)).astype(np.uint8) for each in range(5)]
HALF = (X[::2], LABELS[:20], X[1::2])
COUNTS = {
    "permutations", "folds", "repeats", "k", "first", "last", "blocks", "draws", "points", "components", "projections",
    "n_neighbors", "seed", "least", "count", "chosen", "splits", "shuffles",
}  # fmt: skip

CALLS = {
    "cka_permutation": (X, Y),
    "compression_ratio": (VOLUMES,),
    "effective_slices": (VOLUMES,),
    "classifier_two_sample_test": (X, Y),
    "energy_permutation": (X, Y),
    "kid_permutation": (X, Y),
    "mmd2_permutation": (X, Y),
    "proxy_a_distance": (X, Y),
    "sliced_wasserstein": (X, Y),
    "frechet_difference": (X, Y, 2 * X, Y),
    "frechet_distance_corrected": (X, Y),
    "frechet_distance_infinity": (X, Y),
    "prdc": (X, Y),
    "conformal_p_values": (X, Y),
    "StreamingCKA": (),
    "sample_agreement": (X > 0,),
    "split_uniqueness": (X,),
    "feature_uniqueness": (X,),
    "feature_uniqueness_jackknife": (X,),
    "linear_predictivity": (X, Y),
    "linear_predictivity_jackknife": (X, Y),
    "linear_predictivity_matrices": ([[X], [Y]],),
    "continuity": (X, Y),
    "trustworthiness": (X, Y),
    "knn_preservation": (X, Y),
    "mutual_knn": (X, Y),
    "mutual_knn_jackknife": (X, Y),
    "knn_jaccard": (X, Y),
    "cosine_neighbours": (X,),
    "exact_neighbours": (X,),
    "intrinsic_dimension_mle": (X,),
    "spectrum_decay": (X,),
    "spectrum_fit": (X,),
    "pca_embedding": (X,),
    "umap_embedding": (X,),
    "knn_probe": HALF,
    "linear_probe": HALF,
    "multilabel_probe": (X[::2], np.c_[LABELS[:20], 1 - LABELS[:20]], X[1::2]),
    "few_shot": (X, np.repeat([0, 1], 20), Y, np.repeat([0, 1], 20)),
    "shuffled_label_control": (X, np.repeat([0, 1], 20), Y, np.repeat([0, 1], 20)),
    "multilabel_scores": (SimpleNamespace(probabilities=np.full((40, 2), 0.5)), np.c_[LABELS, 1 - LABELS]),
    "block_jackknife": (lambda A: float(A.mean()), [X]),
    "two_sample_jackknife": (lambda A, B: float(A.mean() - B.mean()), X, Y),
    "two_sample_blocks": (40, 40),
    "bootstrap_weights": (None, 40),
    "permute_units": (),
    "bootstrap_difference": (X[:, 0], Y[:, 0]),
    "weighted_tau_permutation": (X[:9, 0], Y[:9, 0]),
    "weighted_tau_over_runs": (X[:9, 0], Y[:9]),
    "per_class": (lambda A, B: float(A.mean() - B.mean()), X, Y, LABELS, LABELS),
}
GIVEN = {"k": 3, "count": 20, "chosen": 10, "permutations": 9, "seed": 0, "draws": 10, "least": 2, "shots": (1, 2)}


def function_of(name):
    return getattr(metrics if name in metrics.__all__ else stats, name)


def options_of(name):
    return [each for each in inspect.signature(function_of(name)).parameters if each in COUNTS | {"rng"}]


def call(name, **changed):
    arguments = CALLS[name]
    needed = inspect.signature(function_of(name)).parameters
    options = {each: value for each, value in GIVEN.items() if each in needed}
    if "rng" in needed:
        options["rng"] = RNG(0)
    return function_of(name)(*arguments, **options | changed)


def public_with_options():
    names = [*metrics.__all__, *stats.__all__]
    classes = {name for name in names if inspect.isclass(function_of(name)) and name != "StreamingCKA"}
    return [name for name in names if callable(function_of(name)) and name not in classes and options_of(name)]


def test_every_public_function_with_such_options_is_tested():
    assert sorted(CALLS) == sorted(public_with_options())


@pytest.mark.parametrize("name", CALLS)
def test_counts_and_generators_have_reasons(name):
    for option in options_of(name):
        if option == "rng":
            for bad in (None, 0, np.random):
                with pytest.raises(
                    ValueError, match=r"rng is .*what draws takes a generator, e.g. rng=np.random.default_rng"
                ):
                    call(name, rng=bad)
        else:
            for bad in (2.5, True, "3", np.float64(3.0)):
                with pytest.raises(ValueError, match=rf"{option} is .*it counts something and must be a whole number"):
                    call(name, **{option: bad})
    if "k" in options_of(name):
        call(name, k=np.int64(3))


def test_samples_are_counted():
    with pytest.raises(ValueError, match="n is 5.5"):
        metrics.cka_null_sd(5.5)


def test_shots_are_counts():
    with pytest.raises(ValueError, match="shots is 1.5"):
        call("few_shot", shots=(1, 1.5))


def test_checks_pass_what_counts():
    check_counts(k=3, n=np.int32(4))
    check_generator(RNG(0))
    with pytest.raises(ValueError, match=r"k is None \(NoneType\)"):
        check_counts(k=None)
    with pytest.raises(ValueError, match=r"k is nan \(float\)"):
        check_counts(k=float("nan"))


def test_public_names_are_listed_and_others_are_none():
    assert "cka" in dir(metrics) and set(metrics.__all__) == set(dir(metrics))
    for room in (metrics, stats):
        with pytest.raises(AttributeError, match="has no attribute 'ckaa'"):
            room.ckaa
