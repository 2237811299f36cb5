"""Cost of the metrics beside what a user would take instead: seconds, peak memory, and the error next to them.

    make bench-metrics                         everything, some minutes on two cores
    python tests/benchmarks/metrics.py cka mmd  some parts: cka, streaming, frechet, mmd, probe

The exit code is 1 where the seconds, as a ratio to a peer's, are clearly worse than in ratios.json; --store writes those of this run.

Every row runs in a process of its own, so that peak memory is its own. Where a peer would take too long, a part of its
work is timed and scaled, and the row says so.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from stored import check

from featurespace.metrics import (
    StreamingCKA,
    cka_matrices,
    frechet_distance,
    linear_probe,
    mmd2_permutation,
    prepare_cka,
    trustworthiness,
    umap_embedding,
)
from featurespace.metrics.probe import C_PATH

Row = dict[str, object]


def layers(n: int, d: int, count: int, seed: int) -> list[np.ndarray]:
    """Layers that share a part of their variance, as those of a network do, in float32."""
    rng = np.random.default_rng(7)
    shared = rng.standard_normal((n, 20)).astype(np.float32)
    rng = np.random.default_rng(seed)
    return [
        shared @ rng.standard_normal((20, d)).astype(np.float32) + 3 * rng.standard_normal((n, d)).astype(np.float32)
        for _ in range(count)
    ]


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def feature_space_cka(X: np.ndarray, Y: np.ndarray) -> float:
    """Debiased linear CKA in the feature space, one pair at a time, as the formula is usually written down."""
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    n = len(X)
    a, b = (X**2).sum(axis=1), (Y**2).sum(axis=1)

    def debiased(product: float, first: np.ndarray, second: np.ndarray) -> float:
        return product - n / (n - 2) * (first @ second) + first.sum() * second.sum() / ((n - 1) * (n - 2))

    xy = debiased(np.linalg.norm(X.T @ Y) ** 2, a, b)
    xx = debiased(np.linalg.norm(X.T @ X) ** 2, a, a)
    yy = debiased(np.linalg.norm(Y.T @ Y) ** 2, b, b)
    return float(xy / np.sqrt(xx * yy))


N, D, LAYERS = 10_000, 512, 18


def cka_ours() -> Row:
    models = [layers(N, D, LAYERS, seed) for seed in (0, 1)]
    seconds, found = timed(lambda: dict(cka_matrices([[prepare_cka(X) for X in each] for each in models])))
    error = max(abs(found[0, 1][i][j].value - feature_space_cka(models[0][i].astype(float), models[1][j].astype(float)))
                for i, j in ((0, 0), (3, 11), (17, 5)))  # fmt: skip
    return {"seconds": seconds, "error": error, "note": "666 values, each with its interval from 10,000 leave-outs"}


def cka_peer() -> Row:
    pairs, first, second = 10, *(layers(N, D, 4, seed) for seed in (0, 1))
    seconds, _ = timed(
        lambda: [feature_space_cka(first[i % 4].astype(float), second[i // 4].astype(float)) for i in range(pairs)]
    )
    return {"seconds": seconds * 666 / pairs, "note": f"666 values without intervals; {pairs} pairs timed, scaled"}


def cka_floor() -> Row:
    models = [[X.astype(float) for X in layers(N, D, 4, seed)] for seed in (0, 1)]
    seconds, _ = timed(lambda: [X.T @ Y for X in models[0] for Y in models[1]])
    return {"seconds": seconds * 666 / 16, "note": "the matrix products X'Y alone; 16 timed, scaled"}


CHUNK, CHUNKS, WIDTH = 10_000, 100, 256


def chunks(count: int | None = None) -> Iterator[list[list[np.ndarray]]]:
    mixes = [np.random.default_rng(seed).standard_normal((20, WIDTH)).astype(np.float32) for seed in range(12)]
    for number in range(count or CHUNKS):
        rng = np.random.default_rng(1000 + number)
        shared = rng.standard_normal((CHUNK, 20), dtype=np.float32)
        made = [shared @ mix + 3 * rng.standard_normal((CHUNK, WIDTH), dtype=np.float32) + 5 for mix in mixes]
        yield [made[:6], made[6:]]


def streaming_ours() -> Row:
    stream = StreamingCKA()

    def work() -> object:
        for models in chunks():
            stream.update(models)
        return dict(stream.matrices())

    seconds, found = timed(work)
    estimate = found[0, 1][0][0]
    return {"seconds": seconds, "value": estimate.value, "error": abs(estimate.value - two_passes()),
            "note": f"{stream.n:,} x {WIDTH}, 2 x 6 layers, 78 values with intervals; making the data included"}  # fmt: skip


def two_passes() -> float:
    """The same value of one pair, from the mean first and the centred features then."""
    mean = [sum(each[m][0].astype(float).sum(axis=0) for each in chunks()) / (CHUNK * CHUNKS) for m in (0, 1)]
    C = [np.zeros((WIDTH, WIDTH)) for _ in range(3)]
    sums = np.zeros(5)
    for each in chunks():
        X, Y = (each[m][0].astype(float) - mean[m] for m in (0, 1))
        a, b = (X**2).sum(axis=1), (Y**2).sum(axis=1)
        for total, product in zip(C, (X.T @ Y, X.T @ X, Y.T @ Y)):
            total += product
        sums += a @ b, a @ a, b @ b, a.sum(), b.sum()
    n, (ab, aa, bb, A, B) = CHUNK * CHUNKS, sums
    hsic = [np.linalg.norm(total) ** 2 - n / (n - 2) * products + first * second / ((n - 1) * (n - 2))
            for total, products, first, second in zip(C, (ab, aa, bb), (A, A, B), (B, A, B))]  # fmt: skip
    return float(hsic[0] / np.sqrt(hsic[1] * hsic[2]))


def streaming_floor() -> Row:
    seconds, _ = timed(lambda: [sum(each, [])[0].sum() for each in chunks(10)])
    return {"seconds": seconds * CHUNKS / 10, "note": "making the data alone; 10 of 100 chunks timed, scaled"}


def gaussians(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scales = 1 / np.arange(1, d + 1) ** 0.5
    return rng.standard_normal((n, d)) * scales, rng.standard_normal((n, d)) * scales * 1.1 + 0.05


def root_frechet(X: np.ndarray, Y: np.ndarray) -> float:
    """The usual form: the square root of the product of the covariances."""
    from scipy.linalg import sqrtm

    S, T = np.cov(X, rowvar=False), np.cov(Y, rowvar=False)
    shift = X.mean(axis=0) - Y.mean(axis=0)
    return float(shift @ shift + np.trace(S) + np.trace(T) - 2 * np.trace(sqrtm(S @ T)).real)


def nuclear_frechet(X: np.ndarray, Y: np.ndarray) -> float:
    """The same from singular values of a product of triangular factors, which loses fewest digits."""
    R, Q = (np.linalg.qr(Z - Z.mean(axis=0), mode="r") / np.sqrt(len(Z) - 1) for Z in (X, Y))
    shift = X.mean(axis=0) - Y.mean(axis=0)
    nuclear = np.linalg.svd(R @ Q.T, compute_uv=False).sum()
    return float(shift @ shift + np.vdot(R, R) + np.vdot(Q, Q) - 2 * nuclear)


def frechet_row(function: Callable[[np.ndarray, np.ndarray], float], note: str) -> Row:
    X, Y = gaussians(5000, 2048)
    seconds, value = timed(lambda: function(X, Y))
    return {"seconds": seconds, "error": abs(value / nuclear_frechet(X, Y) - 1), "note": note}


def mmd_samples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((2000, 512)), rng.standard_normal((2000, 512)) + 0.02


def mmd_ours() -> Row:
    X, Y = mmd_samples()
    seconds, found = timed(lambda: mmd2_permutation(X, Y, rng=np.random.default_rng(0), permutations=1000))
    value = loop_mmd(X, Y, 0)[0]
    return {"seconds": seconds, "error": abs(found.value - value), "note": "value, interval and 1000 permutations"}


def loop_mmd(X: np.ndarray, Y: np.ndarray, permutations: int) -> tuple[float, list[float]]:
    """Unbiased MMD² with one permutation of the kernel after the other."""
    from scipy.spatial.distance import cdist

    Z = np.concatenate([X, Y])
    D, n = cdist(Z, Z), len(X)
    K = np.exp(-(D**2) / (2 * np.median(D[np.triu_indices(len(Z), 1)]) ** 2))

    def value(order: np.ndarray) -> float:
        P, m = K[np.ix_(order, order)], len(Z) - n
        x, y = P[:n, :n], P[n:, n:]
        within = (x.sum() - np.trace(x)) / (n * (n - 1)) + (y.sum() - np.trace(y)) / (m * (m - 1))
        return float(within - 2 * P[:n, n:].mean())

    rng = np.random.default_rng(0)
    return value(np.arange(len(Z))), [value(rng.permutation(len(Z))) for _ in range(permutations)]


def mmd_peer() -> Row:
    X, Y = mmd_samples()
    alone, _ = timed(lambda: loop_mmd(X, Y, 0))
    seconds, _ = timed(lambda: loop_mmd(X, Y, 20))
    return {"seconds": alone + (seconds - alone) * 50, "note": "one permutation after the other; 20 timed, scaled"}


TRAIN, TEST, CLASSES = 10_000, 5_000, 6


def labelled() -> tuple[np.ndarray, np.ndarray]:
    """Correlated float32 features whose classes overlap, as those of a middle layer."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, TRAIN + TEST)
    spectrum = np.exp(-np.arange(D) / (D / 8)) + 0.02
    latent = rng.standard_normal((len(y), D)) * spectrum + 0.15 * spectrum * rng.standard_normal((CLASSES, D))[y]
    return (latent @ rng.standard_normal((D, D)) / D**0.5 + 1).astype(np.float32), y


def standardised(X: np.ndarray) -> np.ndarray:
    return (X - X[:TRAIN].mean(axis=0, dtype=float)) / X[:TRAIN].std(axis=0, dtype=float)


def optimum(X: np.ndarray, y: np.ndarray, C: float) -> np.ndarray:
    """Probabilities of the test samples at the optimum for C."""
    from sklearn.linear_model import LogisticRegression

    Z = standardised(X)
    return LogisticRegression(C=C, tol=1e-9, max_iter=20_000).fit(Z[:TRAIN], y[:TRAIN]).predict_proba(Z[TRAIN:])


def probe_ours() -> Row:
    X, y = labelled()
    seconds, probe = timed(lambda: linear_probe(X[:TRAIN], y[:TRAIN], X[TRAIN:], rng=np.random.default_rng(0)))
    error = np.abs(probe.probabilities - optimum(X, y, probe.C)).max()
    return {
        "seconds": 20 * seconds,
        "error": error,
        "note": f"20 probes with the path of C; 1 timed, scaled; C = {probe.C:g}",
    }


def probe_peer() -> Row:
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold

    X, y = labelled()
    Z = standardised(X)
    seed = int(np.random.default_rng(0).integers(2**32))  # the folds of `probe_ours`
    folds = StratifiedKFold(4, shuffle=True, random_state=seed)
    model = LogisticRegressionCV(Cs=list(C_PATH), cv=folds, scoring="neg_log_loss", max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its next releases rename
        seconds, _ = timed(lambda: model.fit(Z[:TRAIN], y[:TRAIN]))
    C = float(np.ravel(model.C_)[0])
    error = np.abs(model.predict_proba(Z[TRAIN:]) - optimum(X, y, C)).max()
    return {"seconds": 20 * seconds, "error": error, "note": f"LogisticRegressionCV, the same folds and C; C = {C:g}"}


def clusters() -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.standard_normal((30, 256))[rng.integers(0, 30, 5000)] + rng.standard_normal((5000, 256))).astype(
        np.float32
    )


def umap_row(embed: Callable[[np.ndarray], np.ndarray], note: str) -> Row:
    X = clusters()
    embed(X[:200])  # numba compiles
    seconds, E = timed(lambda: embed(X))
    again = embed(X)
    how = "repeats bit for bit" if np.array_equal(E, again) else "does not repeat"
    return {
        "seconds": seconds,
        "error": 1 - trustworthiness(X, np.asarray(E), k=10),
        "note": f"{note}; {how}; error: 1 - trustworthiness",
    }


def umap_ours() -> Row:
    return umap_row(lambda X: umap_embedding(X, seed=0, n_neighbors=15), "n = 5000, d = 256, exact neighbours")


def umap_peer() -> Row:
    from umap import UMAP

    def embed(X: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a seed means one thread
            return UMAP(n_neighbors=15, random_state=0).fit_transform(X)

    return umap_row(embed, "with a seed, approximate neighbours")


PARTS: dict[str, dict[str, Callable[[], Row]]] = {
    "cka": {"featurespace": cka_ours, "one pair at a time": cka_peer, "floor": cka_floor},
    "streaming": {"featurespace": streaming_ours, "floor": streaming_floor},
    "frechet": {
        "featurespace": lambda: frechet_row(frechet_distance, "n = 5000, d = 2048"),
        "sqrtm": lambda: frechet_row(root_frechet, "scipy.linalg.sqrtm of the product"),
        "nuclear norm": lambda: frechet_row(nuclear_frechet, "QR and singular values; the reference"),
    },
    "mmd": {"featurespace": mmd_ours, "one at a time": mmd_peer},
    "probe": {"featurespace": probe_ours, "scikit-learn": probe_peer},
    "umap": {"featurespace": umap_ours, "umap-learn": umap_peer},
}
PEERS = {"cka": "one pair at a time", "streaming": "floor", "frechet": "sqrtm", "mmd": "one at a time", "probe": "scikit-learn",
         "umap": "umap-learn"}  # fmt: skip


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--row"]:
        row = PARTS[arguments[1]][arguments[2]]()
        row["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(row))
        return
    print("| part | tool | seconds | peak MiB | error | |\n|---|---|---|---|---|---|")
    seconds: dict[str, dict[str, float]] = {}
    for part in [each for each in arguments if each != "--store"] or PARTS:
        for tool in PARTS[part]:
            command = [sys.executable, __file__, "--row", part, tool]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            error = f"{row['error']:.1e}" if "error" in row else ""
            seconds.setdefault(part, {})[tool] = row["seconds"]
            print(
                f"| {part} | {tool} | {row['seconds']:.1f} | {row['peak_mib']:,.0f} | {error} | {row['note']} |",
                flush=True,
            )
    ratios = {part: each["featurespace"] / each[PEERS[part]] for part, each in seconds.items()}
    sys.exit(check("metrics", ratios, write="--store" in arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
