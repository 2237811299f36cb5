"""Facts about each metric, from which tables take names and tests take properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import pi
from typing import Any

import numpy as np

from featurespace.metrics.activity import constant_units, dead_units
from featurespace.metrics.canonical import cca, pwcca, svcca
from featurespace.metrics.dependence import distance_correlation
from featurespace.metrics.dissimilarity import rsa
from featurespace.metrics.distribution import coral_distance, energy_distance, kid, sliced_wasserstein
from featurespace.metrics.frechet import frechet_distance
from featurespace.metrics.hypersphere import anisotropy, uniformity
from featurespace.metrics.intrinsic import intrinsic_dimension, intrinsic_dimension_mle
from featurespace.metrics.manifold import prdc
from featurespace.metrics.mmd import mmd2
from featurespace.metrics.neighbours import knn_jaccard, mutual_knn
from featurespace.metrics.shape import procrustes_distance, shape_angle
from featurespace.metrics.similarity import cka
from featurespace.metrics.spectrum import effective_rank, participation_ratio, spectrum_decay
from featurespace.metrics.two_sample import proxy_a_distance

INVARIANCES = ("translation", "rotation", "isotropic_scale", "column_scale", "invertible")
"""Changes of features that a metric may ignore: a shift, an orthogonal map, one factor, a factor for each column, any
invertible linear map."""
KINDS = ("similarity", "gap", "single")
"""What a metric takes: two representations of the same samples, two samples of one feature space, one representation."""


@dataclass(frozen=True)
class MetricFacts:
    """What is true of a metric.

    Parameters
    ----------
    kind : one of `KINDS`
    function : ``f(X, Y) -> float``; ``f(X) -> float`` for a single representation
    direction : ``"likeness"`` grows with likeness, ``"difference"`` with difference, ``"none"`` for a single one
    range : lowest and highest value possible
    identity : value of a sample with itself; None if it depends on the sample
    symmetric : f(X, Y) = f(Y, X); True for a single representation
    invariances : names from `INVARIANCES`, applied to one input of a similarity and to both of a gap
    reference : author, year, identifier
    """

    kind: str
    function: Callable[..., float]
    direction: str
    range: tuple[float, float]
    identity: float | None
    symmetric: bool
    invariances: frozenset[str]
    reference: str

    @property
    def paired(self) -> bool:
        """Whether rows of X and Y are the same samples."""
        return self.kind == "similarity"


def _part(name: str, X: Any, Y: Any) -> float:
    """Return one of the four numbers of `prdc`."""
    return float(getattr(prdc(X, Y), name))


def _same_draw(function: Callable[..., float], X: Any, Y: Any) -> float:
    """Return a metric that draws random numbers, the same ones in each call."""
    return function(X, Y, rng=np.random.default_rng(0))


_SHAPE = frozenset({"translation", "rotation", "isotropic_scale"})
_RIGID = frozenset({"translation", "rotation"})
_INF = float("inf")

METRICS: dict[str, MetricFacts] = {
    "cka_debiased": MetricFacts(
        "similarity", cka, "likeness", (-_INF, 1), 1.0, True, _SHAPE, "Kornblith et al. 2019, arXiv:1905.00414"
    ),
    "cka_biased": MetricFacts(
        "similarity", partial(cka, debiased=False), "likeness", (0, 1), 1.0, True, _SHAPE,
        "Kornblith et al. 2019, arXiv:1905.00414",
    ),
    "cka_rbf_debiased": MetricFacts(
        "similarity", partial(cka, kernel="rbf"), "likeness", (-_INF, 1), 1.0, True, _SHAPE,
        "Kornblith et al. 2019, arXiv:1905.00414",
    ),
    "cca": MetricFacts(
        "similarity", cca, "likeness", (0, 1), 1.0, True, frozenset(INVARIANCES), "Hotelling 1936, Biometrika 28, 321-377"
    ),
    "svcca": MetricFacts(
        "similarity", svcca, "likeness", (0, 1), 1.0, True, _SHAPE, "Raghu et al. 2017, arXiv:1706.05806"
    ),
    "pwcca": MetricFacts(
        "similarity", pwcca, "likeness", (0, 1), 1.0, False, frozenset({"translation", "isotropic_scale"}),
        "Morcos et al. 2018, arXiv:1806.05759",
    ),
    "procrustes_distance": MetricFacts(
        "similarity", procrustes_distance, "difference", (0, 2**0.5), 0.0, True, _SHAPE,
        "Williams et al. 2021, arXiv:2110.14739",
    ),
    "shape_angle": MetricFacts(
        "similarity", shape_angle, "difference", (0, pi / 2), 0.0, True, _SHAPE, "Williams et al. 2021, arXiv:2110.14739"
    ),
    "rsa": MetricFacts(
        "similarity", rsa, "likeness", (-1, 1), 1.0, True, frozenset({"isotropic_scale"}),
        "Kriegeskorte et al. 2008, Front. Syst. Neurosci. 2:4",
    ),
    "rsa_euclidean": MetricFacts(
        "similarity", partial(rsa, rdm="euclidean"), "likeness", (-1, 1), 1.0, True, _SHAPE,
        "Kriegeskorte et al. 2008, Front. Syst. Neurosci. 2:4",
    ),
    "distance_correlation_debiased": MetricFacts(
        "similarity", distance_correlation, "likeness", (-_INF, 1), 1.0, True, _SHAPE,
        "Szekely, Rizzo 2014, arXiv:1310.2926",
    ),
    "distance_correlation_biased": MetricFacts(
        "similarity", partial(distance_correlation, debiased=False), "likeness", (0, 1), 1.0, True, _SHAPE,
        "Szekely, Rizzo, Bakirov 2007, arXiv:0803.4101",
    ),
    "mutual_knn": MetricFacts(
        "similarity", mutual_knn, "likeness", (0, 1), 1.0, True, frozenset({"rotation", "isotropic_scale"}),
        "Huh et al. 2024, arXiv:2405.07987",
    ),
    "knn_jaccard": MetricFacts(
        "similarity", knn_jaccard, "likeness", (0, 1), 1.0, True, frozenset({"rotation", "isotropic_scale"}),
        "Klabunde et al. 2023, arXiv:2305.06329",
    ),
    "mmd2": MetricFacts(
        "gap", mmd2, "difference", (-2, 2), None, True, _SHAPE, "Gretton et al. 2012, JMLR 13, 723-773"
    ),
    "frechet_distance": MetricFacts(
        "gap", frechet_distance, "difference", (0, _INF), 0.0, True, _RIGID, "Heusel et al. 2017, arXiv:1706.08500"
    ),
    "kid": MetricFacts(
        "gap", kid, "difference", (-_INF, _INF), None, True, frozenset({"rotation"}),
        "Binkowski et al. 2018, arXiv:1801.01401",
    ),
    "energy_distance": MetricFacts(
        "gap", energy_distance, "difference", (0, _INF), 0.0, True, _RIGID,
        "Szekely, Rizzo 2013, doi:10.1016/j.jspi.2013.03.018",
    ),
    "sliced_wasserstein": MetricFacts(
        "gap", partial(_same_draw, sliced_wasserstein), "difference", (0, _INF), 0.0, True, frozenset({"translation"}),
        "Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3",
    ),
    "coral_distance": MetricFacts(
        "gap", coral_distance, "difference", (0, _INF), 0.0, True, _RIGID, "Sun, Saenko 2016, arXiv:1607.01719"
    ),
    "precision": MetricFacts(
        "gap", partial(_part, "precision"), "likeness", (0, 1), 1.0, False, _SHAPE,
        "Kynkaanniemi et al. 2019, arXiv:1904.06991",
    ),
    "recall": MetricFacts(
        "gap", partial(_part, "recall"), "likeness", (0, 1), 1.0, False, _SHAPE,
        "Kynkaanniemi et al. 2019, arXiv:1904.06991",
    ),
    "density": MetricFacts(
        "gap", partial(_part, "density"), "likeness", (0, _INF), None, False, _SHAPE,
        "Naeem et al. 2020, arXiv:2002.09797",
    ),
    "coverage": MetricFacts(
        "gap", partial(_part, "coverage"), "likeness", (0, 1), 1.0, False, _SHAPE, "Naeem et al. 2020, arXiv:2002.09797"
    ),
    "proxy_a_distance": MetricFacts(
        "gap", partial(_same_draw, proxy_a_distance), "difference", (-2, 2), None, False,
        frozenset({"translation", "isotropic_scale", "column_scale"}),
        "Ben-David et al. 2007, NIPS 19, 137-144",
    ),
    "effective_rank": MetricFacts(
        "single", effective_rank, "none", (1, _INF), None, True, frozenset({"rotation", "isotropic_scale"}),
        "Garrido et al. 2023, arXiv:2210.02885",
    ),
    "effective_rank_centred": MetricFacts(
        "single", partial(effective_rank, centred=True), "none", (1, _INF), None, True, _SHAPE,
        "Roy, Vetterli 2007, EUSIPCO, 606-610",
    ),
    "participation_ratio": MetricFacts(
        "single", participation_ratio, "none", (1, _INF), None, True, _SHAPE, "Gao et al. 2017, doi:10.1101/214262"
    ),
    "participation_ratio_debiased": MetricFacts(
        "single", partial(participation_ratio, debiased=True), "none", (-_INF, _INF), None, True, _SHAPE,
        "Chun et al. 2025, arXiv:2509.26560",
    ),
    "spectrum_decay": MetricFacts(
        "single", spectrum_decay, "none", (0, _INF), None, True, _SHAPE, "Stringer et al. 2019, Nature 571, 361-365"
    ),
    "intrinsic_dimension": MetricFacts(
        "single", intrinsic_dimension, "none", (0, _INF), None, True, _SHAPE, "Facco et al. 2017, Sci. Rep. 7:12140"
    ),
    "intrinsic_dimension_mle": MetricFacts(
        "single", intrinsic_dimension_mle, "none", (0, _INF), None, True, _SHAPE, "Levina, Bickel 2004, NIPS 17, 777-784"
    ),
    "uniformity": MetricFacts(
        "single", uniformity, "none", (-8, 0), None, True, frozenset({"rotation", "isotropic_scale"}),
        "Wang, Isola 2020, arXiv:2005.10242",
    ),
    "anisotropy": MetricFacts(
        "single", anisotropy, "none", (-1, 1), None, True, frozenset({"rotation", "isotropic_scale"}),
        "Ethayarajh 2019, arXiv:1909.00512",
    ),
    "dead_units": MetricFacts(
        "single", dead_units, "none", (0, 1), None, True, frozenset({"isotropic_scale", "column_scale"}),
        "Lu et al. 2019, arXiv:1903.06733",
    ),
    "constant_units": MetricFacts(
        "single", constant_units, "none", (0, 1), None, True,
        frozenset({"translation", "isotropic_scale", "column_scale"}), "Lu et al. 2019, arXiv:1903.06733",
    ),
}  # fmt: skip
