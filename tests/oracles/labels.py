"""Areas and precisions as loops over pairs and thresholds; nothing of the package is imported here."""

import numpy as np


def auc(scores, positive):
    pairs = [(p > q) + (p == q) / 2 for p in scores[positive == 1] for q in scores[positive == 0]]
    return sum(pairs) / len(pairs) if pairs else float("nan")


def average_precision(scores, positive, weights=None):
    weights = np.ones(len(scores)) if weights is None else weights
    total, recall = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        above = scores >= threshold
        hits = (weights * positive)[above].sum()
        new = hits / (weights * positive).sum()
        if weights[above].sum() > 0:
            total += (new - recall) * hits / weights[above].sum()
        recall = new
    return total


def mean_of_shares(hits, strata, codes=None):
    """The mean share of hits and, with codes, that without each unit; a stratum without its only unit keeps its share."""
    names = np.unique(strata)
    share = {name: hits[strata == name].sum() / (strata == name).sum() for name in names}
    whole = sum(share.values()) / len(names)
    if codes is None:
        return whole
    without = []
    for unit in np.unique(codes):
        kept = codes != unit
        rest = [hits[kept & (strata == k)].mean() if (kept & (strata == k)).any() else share[k] for k in names]
        without.append(sum(rest) / len(names))
    return whole, without
