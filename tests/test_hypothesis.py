"""What holds for any text, configuration, table and store: examples are drawn, and the simplest that fails is shown."""

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from featurespace.config import AnalyzeConfig, make_config, read_config
from featurespace.data.manifests import open_manifest
from featurespace.data.specs import open_data, parse_data_spec
from featurespace.data.splits import stratified_rows, train_test_rows
from featurespace.errors import FeaturespaceError
from featurespace.features.store import FeatureStore
from featurespace.files import safe_name
from featurespace.metrics import StreamingCKA, cka
from featurespace.models.specs import parse_model_spec
from featurespace.spreadsheets import guarded, unguarded
from featurespace.tables.schema import PROBE, validate
from featurespace.yaml_files import to_yaml

settings.register_profile("default", max_examples=60, deadline=None, derandomize=True,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])  # fmt: skip
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

TEXT = st.text(max_size=40)
SPECS = st.one_of(TEXT, st.lists(st.sampled_from(
    ["a", "resnet18", "=", "@", ":", "random", "pretrained", "hf-hub:", "local-dir:", "/", ".", "..", "~", " ", ".pt", ".npz", "\0", "x" * 300]
), max_size=8).map("".join))  # fmt: skip


# Specs ------------------------------------------------------------------------------------------------------------


@given(SPECS, st.booleans())
@example("=", False)
@example("a=\0", False)
@example("~\0/", False)
@example("local-dir:" + "x" * 5000, False)
def test_any_text_is_a_model_or_an_error_that_says_what_is_wrong(text, bare):
    try:
        spec = parse_model_spec(text, bare=bare)
    except FeaturespaceError as error:
        assert len(str(error)) > 20
    else:
        assert spec.label and spec.text == text and not spec.trust
        assert not set(spec.label) & set("=/\\@ \0")


@given(SPECS)
@example("=")
@example("x=\0")
def test_any_text_is_a_data_set_or_an_error_that_says_what_is_wrong(text):
    try:
        label, _ = parse_data_spec(text)
        assert label
        assume(not os.path.exists(parse_data_spec(text)[1]))
        open_data(text)
    except FeaturespaceError as error:
        assert len(str(error)) > 20


@given(TEXT, TEXT)
@example("", ".")
@example("CON", "a/b")
def test_names_of_files_stay_in_their_folder_and_apart(first, second):
    names = [safe_name(each) for each in (first, second)]
    for name in names:
        assert name not in ("", ".", "..") and not set(name) & set("/\\\0:") and len(name.encode()) <= 120
    assert (first == second) == (names[0] == names[1])


# Configurations ---------------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(allow_nan=True), TEXT, st.lists(TEXT, max_size=3),
    st.dictionaries(TEXT, st.integers(), max_size=2),
)  # fmt: skip
LABELS = st.text("abcxyz019", min_size=1, max_size=4)
GOOD = st.fixed_dictionaries(
    {"models": st.lists(LABELS, min_size=1, max_size=3).map(tuple), "data": st.lists(LABELS, min_size=1, max_size=2).map(tuple)},
    optional={
        "layers": st.sampled_from(["blocks", "stages", "layer1,layer2"]), "pool": st.sampled_from(["avg", "cls", "none"]),
        "limit": st.none() | st.integers(1, 10**9), "image_size": st.none() | st.integers(8, 4096), "batch_size": st.integers(1, 10**6),
        "seed": st.integers(0, 2**40), "only": st.none() | st.sampled_from([("probe",), ("gap", "similarity")]),
        "measures": st.sampled_from(["all", (), ("rsa",)]), "control": st.booleans(), "pictures": st.booleans(),
    },
)  # fmt: skip


@given(GOOD)
def test_a_configuration_that_is_written_is_read_as_it_was(values):
    config = make_config(**values)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.yaml"
        file.write_text(to_yaml(config))
        assert AnalyzeConfig(**read_config(file)) == config


@given(GOOD, st.sampled_from(sorted(AnalyzeConfig.model_fields)) | TEXT, VALUES)
def test_any_value_of_any_option_is_taken_or_an_error_that_names_it(values, name, value):
    try:
        make_config(**values | {name: value})
    except FeaturespaceError as error:
        assert name in str(error) or name.strip() == "" or repr(name) in str(error)


@given(
    st.one_of(
        TEXT,
        st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)).map(
            yaml.safe_dump
        ),
    )
)
@example("a: &x [*x]")
@example("- " * 5000)
@example("{" * 3000)
@example("? [a]\n: b")
@example("a: !!python/object/apply:os.system ['true']")
@example("models: [a]\nmodels: [b]")
def test_any_file_is_a_configuration_or_an_error_that_names_the_file(text):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.yaml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            make_config(**read_config(file))
        except FeaturespaceError as error:
            assert str(error)


# Tables -----------------------------------------------------------------------------------------------------------

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12) | st.sampled_from(
    ["=1+1", "+1", "-1", "@a", "'=x", "''-", "\tx", "-1e5", "=-", "+a"]
)  # fmt: skip


@given(st.lists(CELLS, min_size=1, max_size=6))
def test_what_is_guarded_for_spreadsheets_comes_back(cells):
    table = pd.DataFrame({"text": cells, "number": np.arange(len(cells)) - 2.5})
    safe = guarded(table)
    for cell in safe["text"]:
        assert not cell.startswith(tuple("=+-@\t\r")) or _is_number(cell)
    pd.testing.assert_frame_equal(unguarded(safe), table)
    again = pd.read_csv(io.StringIO(safe.to_csv(index=False)), dtype={"text": str}, keep_default_na=False)
    pd.testing.assert_frame_equal(unguarded(again), table, check_dtype=False)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


@given(st.lists(st.tuples(LABELS, LABELS, st.floats(0, 1)), max_size=8))
def test_a_key_that_is_there_twice_is_never_let_through(rows):
    made = [{"probe": "linear", "model": model, "layer": layer, "data": "x", "metric": "accuracy", "value": value, "ci_low": value,
             "ci_high": value, "n_train": 1, "n_test": 1, "hyperparameter": "", "n_classes": 2, "chance": 0.5, "interval": "",
             "level": 0.95, "unit": "sample", "n_groups": None} for model, layer, value in rows]  # fmt: skip
    keys = [(model, layer) for model, layer, _ in rows]
    if len(set(keys)) < len(keys):
        with pytest.raises(ValueError, match="repeat a key"):
            validate(made, PROBE)
    else:
        assert len(validate(made, PROBE)) == len(rows)


@given(st.binary(max_size=400) | TEXT.map(lambda text: ("path,label\n" + text).encode("utf-8", "surrogatepass")))
@example(b"path,label\n\xff\xfe,a")
@example(b"path\n../../etc/passwd\n")
@example(b"path,path\na,b\n")
@example(b"PAR1")
def test_any_manifest_is_read_or_an_error_that_names_it(content):
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".csv", ".parquet"):
            file = Path(folder) / f"m{suffix}"
            file.write_bytes(content)
            try:
                open_manifest("x", file)
            except FeaturespaceError as error:
                assert str(file) in str(error) or "'x'" in str(error)


# Splits -----------------------------------------------------------------------------------------------------------

SAMPLES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from(["p", "q", "r", "s", None])),
    min_size=1,
    max_size=40,
)


def frame(rows, split=None):
    columns = {
        "id": [f"i{n}" for n in range(len(rows))],
        "label": [a for a, _ in rows],
        "group": [g for _, g in rows],
        "split": split,
    }
    return pd.DataFrame(columns, dtype="string")


@given(SAMPLES, st.integers(0, 5))
def test_no_patient_is_in_training_and_test(rows, seed):
    samples = frame(rows)
    try:
        train, test, _ = train_test_rows(samples, rng=np.random.default_rng(seed))
    except FeaturespaceError:
        return
    groups = samples["group"].fillna(samples["id"])
    assert not set(groups.iloc[train]) & set(groups.iloc[test]) and not set(train) & set(test)
    assert set(train) | set(test) == set(np.flatnonzero(samples["label"].notna()))


@given(SAMPLES, st.integers(1, 50), st.integers(0, 5))
def test_a_stratified_sample_is_one_in_proportion(rows, limit, seed):
    samples = frame(rows)
    chosen = stratified_rows(samples, limit, rng=np.random.default_rng(seed))
    assert len(chosen) == min(limit, len(rows)) and (np.diff(chosen) > 0).all()
    for label in samples["label"].fillna("").unique():
        share = (samples["label"].fillna("") == label).mean()
        count = (samples["label"].fillna("").iloc[chosen] == label).sum()
        assert abs(count - share * len(chosen)) <= samples["label"].nunique() + 1


# Stores -----------------------------------------------------------------------------------------------------------


@given(st.data())
def test_a_store_holds_what_was_written_whatever_the_batches_and_the_kill(data):
    rows = data.draw(st.integers(1, 30))
    widths = {
        f"l{place}": width for place, width in enumerate(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    }
    batch, bad = data.draw(st.integers(1, 9)), data.draw(st.sets(st.integers(0, rows - 1), max_size=rows - 1))
    stop = data.draw(st.integers(0, rows))
    values = {
        name: np.random.default_rng(rows).normal(size=(rows, width)).astype(np.float32)
        for name, width in widths.items()
    }
    samples = pd.DataFrame({"id": [f"i{n}" for n in range(rows)], "path": "p"}, dtype="string")
    with tempfile.TemporaryDirectory() as folder:
        about = {"key": {"a": 1}, "names": ("m", "d"), "samples": samples, "widths": widths, "batch_size": batch}

        def fill(store, until):
            done = store.rows_done
            for start in range(done, rows, batch):
                if start >= until:
                    return
                part = slice(start, min(rows, start + batch))
                store.write(
                    start,
                    {name: each[part] for name, each in values.items()},
                    {row: "bad" for row in bad if row in range(*part.indices(rows))},
                )
                if start % 2:
                    store.checkpoint(part.stop)
            store.finish()

        fill(FeatureStore.create(Path(folder) / "s", **about), stop)
        store = FeatureStore.create(Path(folder) / "s", **about)
        if not store.complete:
            fill(store, rows)
        good = [row for row in range(rows) if row not in bad]
        found = FeatureStore.open(Path(folder) / "s", verify=True)
        assert found.samples["id"].tolist() == [f"i{row}" for row in good]
        for name, each in values.items():
            np.testing.assert_array_equal(found[name], each[good])


@given(st.data())
def test_any_flipped_byte_of_a_store_is_found(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        samples = pd.DataFrame({"id": ["a", "b", "c"], "path": "p"}, dtype="string")
        store = FeatureStore.create(path, key={}, names=("m", "d"), samples=samples, widths={"l": 2}, batch_size=2)
        store.write(0, {"l": np.arange(6, dtype=np.float32).reshape(3, 2)})
        store.finish()
        file = data.draw(st.sampled_from(sorted(each for each in path.rglob("*") if each.is_file())))
        content = bytearray(file.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
        with pytest.raises(FeaturespaceError, match="written|holds no feature store|another format|unfinished"):
            FeatureStore.open(path, verify=True)


# Metrics ----------------------------------------------------------------------------------------------------------

FEATURES = arrays.arrays(np.float64, st.tuples(st.integers(6, 30), st.integers(1, 5)),
                         elements=st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda value: round(value, 3)))  # fmt: skip


@given(FEATURES, st.integers(1, 7), st.floats(-1e4, 1e4))
def test_streamed_cka_is_that_of_all_samples_whatever_the_chunks(X, size, offset):
    Y = np.tanh(X[:, :1] * 1e-3) + X[:, -1:] ** 2 * 1e-6 + offset
    try:
        expected = cka(X, Y)
    except ValueError:
        return
    stream = StreamingCKA(blocks=5)
    for start in range(0, len(X), size):
        stream.update([[X[start : start + size]], [Y[start : start + size]]])
    found = dict(stream.matrices())[0, 1][0][0]
    if found is not None:
        assert abs(found.value - expected) < 1e-6
