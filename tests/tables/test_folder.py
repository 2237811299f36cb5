import pandas as pd
import pytest

from featurespace.errors import FeaturespaceError
from featurespace.tables.folder import Tables


def test_tables_are_those_of_the_folder(tmp_path):
    for name in ("probe", "layers", ".layers.partial"):
        pd.DataFrame({"a": [1]}).to_parquet(tmp_path / f"{name}.parquet")
    tables = Tables(tmp_path)
    assert list(tables) == ["layers", "probe"] and len(tables) == 2 and repr(tables) == "Tables(layers, probe)"
    assert tables["probe"]["a"].tolist() == [1]
    with pytest.raises(KeyError, match="table 'prob' is not known in .*did you mean 'probe'"):
        tables["prob"]
    assert tables.get("prob") is None


def test_a_broken_table_is_named(tmp_path):
    (tmp_path / "probe.parquet").write_bytes(b"PAR1")
    with pytest.raises(FeaturespaceError, match=r"probe\.parquet cannot be read .*; run the same command again"):
        Tables(tmp_path)["probe"]
