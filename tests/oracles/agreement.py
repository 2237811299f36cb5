"""Sets of models that are right, what independent models would share, and kappa, by loops and whole permutations."""

from itertools import combinations, product

import numpy as np


def sets_of(models):
    return [each for size in range(models + 1) for each in combinations(range(models), size)]


def counts(correct):
    found = {each: 0 for each in sets_of(len(correct[0]))}
    for row in correct:
        found[tuple(model for model, right in enumerate(row) if right)] += 1
    return list(found.values())


def expected(correct, labels=None):
    """Counts, class by class, of every combination of right and wrong with the accuracies of that class."""
    labels = [0] * len(correct) if labels is None else list(labels)
    models = len(correct[0])
    found = {each: 0.0 for each in sets_of(models)}
    for name in set(labels):
        rows = [row for row, label in zip(correct, labels) if label == name]
        accuracy = [sum(row[model] for row in rows) / len(rows) for model in range(models)]
        for answers in product((False, True), repeat=models):
            chance = len(rows)
            for model, right in enumerate(answers):
                chance *= accuracy[model] if right else 1 - accuracy[model]
            found[tuple(model for model, right in enumerate(answers) if right)] += chance
    return [each / len(correct) for each in found.values()]


def permuted_p(correct, rng, permutations, blocks=None, labels=None):
    """Two-sided p of each count less the expected one: whole columns permuted, by blocks of one size or within classes."""
    correct = np.asarray(correct)
    n, models = correct.shape
    labels = np.zeros(n, dtype=int) if labels is None else np.asarray(labels)

    def statistic(answers):
        return np.array(counts(answers)) - n * np.array(expected(answers, labels))

    def draw():
        columns = []
        for model in range(models):
            order = np.empty(n, dtype=int)
            for name in np.unique(labels):
                rows = np.flatnonzero(labels == name)
                if blocks is None:
                    order[rows] = rng.permutation(rows)
                else:
                    members = [rows[np.asarray(blocks)[rows] == block] for block in np.unique(np.asarray(blocks)[rows])]
                    for target, source in zip(members, rng.permutation(len(members))):
                        order[target] = rng.permutation(members[source])
            columns.append(correct[order, model])
        return np.stack(columns, axis=1)

    observed, null = statistic(correct), np.array([statistic(draw()) for _ in range(permutations)])
    above = (1 + (null >= observed - 1e-9).sum(axis=0)) / (1 + permutations)
    below = (1 + (null <= observed + 1e-9).sum(axis=0)) / (1 + permutations)
    return np.minimum(1, 2 * np.minimum(above, below))


def kappa(a, b):
    n = len(a)
    observed = sum(x == y for x, y in zip(a, b)) / n
    p, q = sum(a) / n, sum(b) / n
    chance = p * q + (1 - p) * (1 - q)
    return (observed - chance) / (1 - chance)
