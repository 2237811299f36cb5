"""What two sets of images share: patients, studies, identical images, images that look alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from featurespace.data.signatures import Signatures
from featurespace.stats.near import near_pairs
from featurespace.tables.data_schemas import LEAKAGE, LEAKAGE_PAIRS
from featurespace.tables.schema import validate

SHOWN = 1000
"""Pairs of a kind and two sets that are listed."""
PATIENT, STUDY, SAME, NEAR = "patient", "study", "identical image", "near-identical image"


@dataclass(frozen=True)
class Side:
    """A set of images that is compared with others: a data set, or a split of one.

    Parameters
    ----------
    name : of the set
    samples : a row an image, columns id and group, study where it is known
    known : identities by kind, ``patient`` and ``study``, as the source names them (they are compared and not written), None
        where the source does not tell
    looks : signatures of the images; None where images are not compared
    """

    name: str
    samples: pd.DataFrame
    known: Mapping[str, np.ndarray | None]
    looks: Signatures | None

    def part(self, rows: np.ndarray, name: str) -> Side:
        """Return some of the images as a set of their own."""
        known = {kind: None if of is None else of[rows] for kind, of in self.known.items()}
        looks = None
        if self.looks is not None:
            of = self.looks
            looks = Signatures(of.pixels[rows], of.hashes[rows], of.pictures[rows], of.shows[rows])
        return Side(name, self.samples.iloc[rows].reset_index(drop=True), known, looks)


def leakage_tables(sides: Sequence[Side]) -> dict[str, pd.DataFrame]:
    """Return the tables ``leakage`` (counts) and ``leakage_pairs``, between all sets, and between the splits of each.

    A count is missing where it cannot be known: no patients are named, or images were not compared. Identical images are those
    with equal pixels, near-identical those that `near_pairs` finds besides.
    """
    counts, pairs = [], []
    for a, b in _compared(sides):
        for kind in (PATIENT, STUDY):
            rows = _shared(a, b, kind)
            counts.append(_count(a, b, kind, rows))
            pairs += [] if rows is None else _groups(a, b, kind, rows)
        for kind, found in _alike(a, b).items():
            counts.append(_count(a, b, kind, found[:2] if found is not None else None))
            pairs += [] if found is None else _images(a, b, kind, found)
    return {"leakage": validate(counts, LEAKAGE), "leakage_pairs": validate(pairs, LEAKAGE_PAIRS)}


def leakage_sentences(table: pd.DataFrame) -> list[tuple[str, bool]]:
    """Return a sentence for every two sets, and whether they share something."""
    found = []
    for (a, b), of in table.groupby(["a", "b"], sort=False):
        shared = of[of["pairs"].fillna(0) > 0]
        unknown = [_plural(kind) for kind in of[of["pairs"].isna()]["kind"]]
        clean = [_plural(kind) for kind in of[of["pairs"] == 0]["kind"]]
        parts = [f"{row['shared_a']} of {row['n_a']} and {row['shared_b']} of {row['n_b']} images by {_cause(row['kind'])}"
                 for _, row in shared.iterrows()]  # fmt: skip
        text = f"{a} and {b} share {'; '.join(parts)}" if parts else f"{a} and {b} share no {', no '.join(clean)}"
        if unknown:
            text += f" ({' and '.join(unknown)} are not known)"
        if parts or clean:
            found.append((text + ".", bool(parts)))
    return found


def _cause(kind: str) -> str:
    return {PATIENT: "their patients", STUDY: "their studies", SAME: "equal pixels", NEAR: "their looks"}[kind]


def _plural(kind: str) -> str:
    return {PATIENT: "patients", STUDY: "studies", SAME: "identical images", NEAR: "near-identical images"}[kind]


def _compared(sides: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    yield from combinations(sides, 2)
    for side in sides:
        split = side.samples["split"].astype("string")
        names = list(dict.fromkeys(split.dropna()))
        parts = [side.part(np.flatnonzero((split == each).fillna(False)), f"{side.name}/{each}") for each in names]
        yield from combinations(parts, 2)


def _shared(a: Side, b: Side, kind: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the rows of both whose patient or study is in the other, None where one does not tell."""
    of_a, of_b = a.known.get(kind), b.known.get(kind)
    if of_a is None or of_b is None:
        return None
    both = np.intersect1d(of_a[of_a != ""], of_b[of_b != ""])
    return np.flatnonzero(np.isin(of_a, both)), np.flatnonzero(np.isin(of_b, both))


def _alike(a: Side, b: Side) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray] | None]:
    """Return rows of a, rows of b and likeness of identical and of near-identical images."""
    if a.looks is None or b.looks is None:
        return {SAME: None, NEAR: None}
    first = pd.DataFrame({"pixels": a.looks.pixels, "i": range(len(a.samples))})
    second = pd.DataFrame({"pixels": b.looks.pixels, "j": range(len(b.samples))})
    same = first[first["pixels"] != ""].merge(second, on="pixels")[["i", "j"]].to_numpy(int)
    shown_a, shown_b = np.flatnonzero(a.looks.shows), np.flatnonzero(b.looks.shows)
    i, j, like = near_pairs(
        a.looks.hashes[shown_a], b.looks.hashes[shown_b], a.looks.pictures[shown_a], b.looks.pictures[shown_b]
    )
    i, j = shown_a[i], shown_b[j]
    new = a.looks.pixels[i] != b.looks.pixels[j]
    return {SAME: (same[:, 0], same[:, 1], np.ones(len(same))), NEAR: (i[new], j[new], like[new])}


def _count(a: Side, b: Side, kind: str, rows: tuple[np.ndarray, ...] | None) -> dict:
    if rows is None:
        pairs, of_a, of_b = None, None, None
    else:
        of_a, of_b = len(np.unique(rows[0])), len(np.unique(rows[1]))
        known = a.known.get(kind)
        pairs = len(rows[0]) if known is None or kind not in (PATIENT, STUDY) else len(np.unique(known[rows[0]]))
    return {"a": a.name, "b": b.name, "kind": kind, "pairs": pairs, "shared_a": of_a, "shared_b": of_b, "n_a": len(a.samples),
            "n_b": len(b.samples)}  # fmt: skip


def _groups(a: Side, b: Side, kind: str, rows: tuple[np.ndarray, np.ndarray]) -> list[dict]:
    """Return a row for each shared patient or study: the first image of it on either side."""
    of_a, of_b = a.known[kind], b.known[kind]
    assert of_a is not None and of_b is not None  # the caller has seen to it
    first_a, first_b = (dict(zip(of[at][::-1], at[::-1])) for of, at in ((of_a, rows[0]), (of_b, rows[1])))
    return [_pair(a, b, kind, first_a[each], first_b[each], np.nan) for each in sorted(first_a)[:SHOWN]]


def _images(a: Side, b: Side, kind: str, found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[dict]:
    order = np.argsort(-found[2], kind="stable")[:SHOWN]
    return [_pair(a, b, kind, i, j, float(like)) for i, j, like in zip(*(each[order] for each in found))]


def _pair(a: Side, b: Side, kind: str, i: int, j: int, like: float) -> dict:
    return {"a": a.name, "b": b.name, "kind": kind, "sample_a": a.samples["id"].iloc[i], "sample_b": b.samples["id"].iloc[j],
            "likeness": like}  # fmt: skip
