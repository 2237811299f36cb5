import pandas as pd
import pytest

from featurespace.tables.schema import SCHEMAS, validate

CONTRACTS = {
    "similarity": "metric,model_a,model_b,layer_a,layer_b,data,value,ci_low,ci_high,n",
    "probe": "probe,model,layer,data,metric,value,ci_low,ci_high,n_train,n_test,hyperparameter",
    "domain_gap": "metric,model,layer,data_a,data_b,value,ci_low,ci_high,p_value,n_a,n_b",
    "embedding": "method,model,layer,data,sample,label,x,y",
}
ROW = {"model": "m", "layer": "l", "depth": 0, "width": 3, "role": "model", "control": None, "arm": None}


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_promised_columns_come_first(name):
    promised = CONTRACTS[name].split(",")
    assert list(SCHEMAS[name].columns)[: len(promised)] == promised
    assert set(SCHEMAS[name].key) <= set(promised)


def test_columns_are_ordered_typed_and_further_ones_kept():
    table = validate([{"extra": 1, **ROW}], SCHEMAS["layers"])
    assert list(table.columns) == ["model", "layer", "depth", "width", "role", "control", "arm", "extra"]
    assert table["depth"].dtype == "int64"


def test_an_empty_table_has_the_columns():
    assert list(validate([], SCHEMAS["similarity"]).columns) == list(SCHEMAS["similarity"].columns)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], r"1 rows repeat a key, the first is \{'model': 'm', 'layer': 'l'\}"),
        ([{**ROW, "model": None}], "a key column .* holds a missing value"),
        ([{"model": "m"}], r"lacks the columns \['layer', 'depth', 'width', 'role', 'control', 'arm'\]"),
    ],
)
def test_errors(rows, message):
    with pytest.raises(ValueError, match=message):
        validate(pd.DataFrame(rows), SCHEMAS["layers"])
