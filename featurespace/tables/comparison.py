"""Every two pretrainings of the same experiment, task and metric: how they differ, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import combinations

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.results import settings
from featurespace.results.settings import CompareConfig
from featurespace.stats.comparison import holm
from featurespace.stats.effects import bootstrap_difference, hedges_g
from featurespace.stats.means import (
    equivalence_test,
    mean_interval,
    paired_test,
    welch_interval,
    welch_test,
)
from featurespace.stats.power import detectable_difference, runs_needed
from featurespace.tables.result_schemas import COMPARISON, RUNS_SUMMARY
from featurespace.tables.schema import interval_columns, validate

PLACE = list(settings.PLACE)
SWAPPED = {"mean", "std", "n"}


def summary_table(runs: pd.DataFrame, config: CompareConfig, adjusted: Iterable[str] = ()) -> pd.DataFrame:
    """Return mean, deviation and t interval of the runs of each pretraining, task and metric, in the order of the runs.

    Parameters
    ----------
    runs : table with the columns of `read_runs`
    config : of the comparison
    adjusted : names of pretrainings that are no runs but moved ones
    """
    rows = []
    adjusted = set(adjusted)
    for key, of in runs.groupby([*PLACE, "pretraining"], sort=False):
        values = of["value"].to_numpy()
        found = interval_columns(mean_interval(values, level=1 - config.alpha))
        names = dict(zip([*PLACE, "pretraining"], key))
        rows.append(
            names | {"mean": found.pop("value"), "std": _deviation(values, config.ddof), "n": len(values),
                     "std_sample": _deviation(values, 1), "adjusted": names["pretraining"] in adjusted} | found
        )  # fmt: skip
    return validate(rows, RUNS_SUMMARY)


def comparison_table(runs: pd.DataFrame, config: CompareConfig, adjusted: Iterable[str] = ()) -> pd.DataFrame:
    """Return two rows for every two pretrainings with runs of the same experiment, task and metric: a against b, b against a.

    Parameters
    ----------
    runs : table with the columns of `read_runs`
    config : of the comparison
    adjusted : names of pretrainings that are no runs but moved ones; they have no pairs

    Returns
    -------
    DataFrame
        With the schema ``comparison``. Where a test or an interval is not possible its columns are missing and ``note`` says why.
    """
    adjusted = frozenset(adjusted)
    rows = [
        _row(dict(zip(PLACE, key)), (a, table[a]), (b, table[b]), adjusted, config)
        for key, of in runs.groupby(PLACE, sort=False)
        for table in [{name: each for name, each in of.groupby("pretraining", sort=False)}]
        for a, b in combinations(table, 2)
    ]
    table = _with_verdicts(pd.DataFrame(rows, columns=[*COMPARISON.columns]), config)
    both = pd.concat([table, _turned(table)]).sort_index(kind="stable")
    return validate(both.reset_index(drop=True), COMPARISON)


def _row(
    place: dict[str, str], first: tuple[str, pd.DataFrame], second: tuple[str, pd.DataFrame],
    adjusted: frozenset[str], config: CompareConfig,
) -> dict:  # fmt: skip
    (a, runs_a), (b, runs_b) = first, second
    x, y = runs_a["value"].to_numpy(), runs_b["value"].to_numpy()
    lower = any(fnmatchcase(place["metric"], pattern) for pattern in config.lower_is_better)
    row = place | {
        "a": a, "b": b,
        **{f"{name}_a": value for name, value in _moments(x, config.ddof).items()},
        **{f"{name}_b": value for name, value in _moments(y, config.ddof).items()},
        "delta_percent": _percent(x.mean() - y.mean(), y.mean()), "difference": x.mean() - y.mean(),
        "higher_is_better": not lower, "level": 1 - config.alpha, "power": config.power,
        "unit": "run", "interval": "none", "n_pairs": 0,
        "margin": config.margin / 100 * (abs(x.mean()) + abs(y.mean())) / 2,
        "family": ", ".join(place[each] for each in config.family) or "all",
    }  # fmt: skip
    short = [f"{name} has 1 run" for name, values in ((a, x), (b, y)) if len(values) < 2]
    if short:
        return row | {"note": f"{' and '.join(short)}, at least 2 needed for a test"}
    if (x == x[0]).all() and (y == y[0]).all():
        return row | {"note": "all runs of each are equal: no variance, so no test (are they copies?)"}
    rng = seeding.child(config.seed, "comparison", *place.values(), a, b)
    row |= _tests(x, y, row, config, rng)
    return row | ({} if {a, b} & adjusted else _paired(runs_a, runs_b))


def _tests(x: np.ndarray, y: np.ndarray, row: dict, config: CompareConfig, rng: np.random.Generator) -> dict:
    level = 1 - config.alpha
    effect, welch = hedges_g(x, y, level=level), welch_interval(x, y, level=level)
    resampled = bootstrap_difference(x, y, rng=rng, draws=config.draws, level=level)
    deviations = float(x.std(ddof=1)), float(y.std(ddof=1))
    detectable = detectable_difference(*deviations, n_a=len(x), n_b=len(y), power=config.power, alpha=config.alpha)
    found = {
        "p_value": welch_test(x, y), "effect_size": effect.value, "ci_low": effect.ci_low, "ci_high": effect.ci_high,
        "difference_low": resampled.ci_low, "difference_high": resampled.ci_high, "interval": resampled.interval,
        "welch_low": welch.ci_low, "welch_high": welch.ci_high,
        "detectable_percent": _percent(detectable, abs(y.mean())), "note": "",
    }  # fmt: skip
    if row["margin"] > 0:
        found["p_equivalent"] = equivalence_test(x, y, margin=row["margin"])
    if row["difference"]:
        try:
            found["runs_needed"] = runs_needed(row["difference"], *deviations, power=config.power, alpha=config.alpha)
        except ValueError:  # more than anybody runs
            found["runs_needed"] = np.inf
    return found


def _paired(runs_a: pd.DataFrame, runs_b: pd.DataFrame) -> dict:
    """Return the paired test over the runs that both have by name; a name stands for a seed."""
    both = runs_a.merge(runs_b, on="run", suffixes=("_a", "_b"))
    x, y = both["value_a"].to_numpy(), both["value_b"].to_numpy()
    if len(both) < 2:
        return {"n_pairs": len(both)}
    if ((x - y) == (x - y)[0]).all():
        return {"n_pairs": len(both), "note": "all paired differences are equal: no paired test"}
    return {"n_pairs": len(both), "p_paired": paired_test(x, y)}


def _with_verdicts(table: pd.DataFrame, config: CompareConfig) -> pd.DataFrame:
    """Return the table with Holm's correction within families, and what follows from it."""
    families = table.groupby(list(config.family) or (lambda row: "all"), sort=False)
    for source, target in (("p_value", "p_holm"), ("p_equivalent", "p_equivalent_holm")):
        table[target] = families[source].transform(lambda p: holm(p.astype(float)))
    table["n_family"] = families["p_value"].transform("count").astype(int)
    table["verdict"] = [_verdict(row, config.alpha) for _, row in table.iterrows()]
    table["claim_lost"] = (table["p_value"] <= config.alpha) & (table["p_holm"] > config.alpha)
    return table


def _verdict(row: pd.Series, alpha: float) -> str:
    if pd.isna(row["p_value"]):
        return "no test"
    equivalent, differ = row["p_equivalent_holm"] <= alpha, row["p_holm"] <= alpha
    if not differ:
        return "equivalent" if equivalent else "not shown"
    return f"{'a' if row['difference'] > 0 else 'b'} higher" + (" within the margin" if equivalent else "")


def _turned(table: pd.DataFrame) -> pd.DataFrame:
    """Return the same comparisons of b against a."""
    swap = {f"{name}_a": f"{name}_b" for name in SWAPPED} | {"a": "b"}
    turned = table.rename(columns=swap | {value: key for key, value in swap.items()})
    for value, low, high in (
        ("effect_size", "ci_low", "ci_high"),
        ("difference", "difference_low", "difference_high"),
        (None, "welch_low", "welch_high"),
    ):
        turned[low], turned[high] = -table[high], -table[low]
        if value:
            turned[value] = -table[value]
    ratio = table["mean_b"].abs() / table["mean_a"].abs().replace(0, np.nan)
    turned["detectable_percent"] = table["detectable_percent"] * ratio
    turned["delta_percent"] = [_percent(row["difference"], row["mean_b"]) for _, row in turned.iterrows()]
    other = {"a": "b", "b": "a"}
    turned["verdict"] = [
        other.get(each[0], each[0]) + each[1:] if " higher" in each else each for each in table["verdict"]
    ]
    return turned


def _moments(values: np.ndarray, ddof: int) -> dict[str, float]:
    return {"mean": float(values.mean()), "std": _deviation(values, ddof), "n": len(values)}


def _deviation(values: np.ndarray, ddof: int) -> float:
    """Return the standard deviation; a single run has none, though its formula with ddof 0 gives 0."""
    return float(values.std(ddof=ddof)) if len(values) > 1 else float("nan")


def _percent(difference: float, of: float) -> float:
    return 100 * difference / of if of else float("nan")


def of_first_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first metric of each experiment and task: one score a task, for small figures."""
    first = table.groupby(["experiment", "task"], sort=False)["metric"].transform("first")
    return table[table["metric"] == first]


def claims_lost(table: pd.DataFrame) -> Iterator[pd.Series]:
    """Yield the comparisons that are significant alone and no more within their family, each once."""
    seen = set()
    for _, row in table[table["claim_lost"]].iterrows():
        pair = (*row[PLACE], frozenset((row["a"], row["b"])))
        if pair not in seen:
            seen.add(pair)
            yield row
