import pandas as pd
import pytest

from featurespace.errors import FeaturespaceError
from featurespace.results.rows import read_curves, read_losses, read_runs

HEADER = "experiment,pretraining,task,run,metric,value"
ROW = "E1,R,CX8,0,acc,0.93852"


def written(folder, *rows, header=HEADER, name="runs.csv"):
    file = folder / name
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_values_are_read_exactly_and_names_stay_text(tmp_path):
    values = [0.1, 0.849088317655015, 1 / 3, 5e-324, -1.7976931348623157e308]
    file = written(tmp_path, *(f"E1,001,CX8,{n},acc,{value!r}" for n, value in enumerate(values)))
    table = read_runs([file])
    assert table["value"].tolist() == values and table["pretraining"].tolist() == ["001"] * 5
    assert table["run"].tolist() == ["0", "1", "2", "3", "4"]


def test_columns_in_any_order_separator_and_format(tmp_path):
    file = written(tmp_path, "0.5;acc;0;CX8;R;E1", header="value;metric;run;task;pretraining;experiment")
    parquet = tmp_path / "more.parquet"
    pd.DataFrame([["E1", "R", "CX8", 1, "acc", 0.25]], columns=HEADER.split(",")).to_parquet(parquet)
    table = read_runs([file, parquet])
    assert list(table) == HEADER.split(",")
    assert table.to_numpy().tolist() == [["E1", "R", "CX8", "0", "acc", 0.5], ["E1", "R", "CX8", "1", "acc", 0.25]]


@pytest.mark.parametrize(
    "rows, header, message",
    [
        ([ROW + ",x"], HEADER + ",colour", "unknown column 'colour'; a runs table has experiment, .*value"),
        ([ROW], HEADER.replace("metric", "metrics"), "unknown column 'metrics'; did you mean 'metric'"),
        (["E1,R,CX8,0,0.5"], HEADER.replace("metric,", ""), "column 'metric' is missing"),
        ([], HEADER, "has no rows; a runs table needs at least one"),
        ([ROW, "E1,R,,1,acc,0.5"], HEADER, "runs.csv row 2: 'task' is empty; fill it in"),
        (["E1,R,CX8,1,acc,"], HEADER, "row 1: 'value' is empty"),
        (["E1,R,CX8,1,acc,0.5%"], HEADER, "row 1: 'value' is '0.5%', which is no number"),
        (["E1,R,CX8,1,acc,NaN"], HEADER, "row 1: 'value' is nan; take the run out, or repeat it"),
        (["E1,R,CX8,1,acc,inf"], HEADER, "row 1: 'value' is inf"),
        (
            [ROW, "E1,I1k,CX8,0,acc,0.5", "E1,R,CX8,0,acc,0.7"],
            HEADER,
            "runs.csv row 3 and .*runs.csv row 1 are the same value .experiment E1, pretraining R, task CX8, run 0, metric acc",
        ),
    ],
)
def test_bad_input_is_named(tmp_path, rows, header, message):
    with pytest.raises(FeaturespaceError, match=message):
        read_runs([written(tmp_path, *rows, header=header)])


def test_the_same_run_in_two_files_is_named(tmp_path):
    files = [written(tmp_path, ROW, name=name) for name in ("a.csv", "b.csv")]
    with pytest.raises(FeaturespaceError, match="b.csv row 1 and .*a.csv row 1 are the same value"):
        read_runs(files)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(
        FeaturespaceError, match="nothing.csv does not exist; name a runs table with the columns experiment"
    ):
        read_runs([tmp_path / "nothing.csv"])
    with pytest.raises(FeaturespaceError, match="is a folder; name a runs table, one file"):
        read_runs([tmp_path])
    with pytest.raises(FeaturespaceError, match="no runs table given; name at least one file"):
        read_runs([])


def test_counts_are_whole_numbers(tmp_path):
    header = "experiment,pretraining,task,run,epoch,metric,value"
    assert read_curves([written(tmp_path, "E1,R,CX8,0,0,acc,0.5", header=header)])["epoch"].tolist() == [0]
    for bad, said in (("-1", "-1"), ("0.5", "0.5")):
        with pytest.raises(FeaturespaceError, match=f"row 1: 'epoch' is {said}; it must be a whole number from 0 on"):
            read_curves([written(tmp_path, f"E1,R,CX8,0,{bad},acc,0.5", header=header)])
    header = "experiment,pretraining,task,run,epoch,step,samples,loss"
    table = read_losses([written(tmp_path, "E1,R,CX8,0,0,10,1280,0.5", header=header)])
    assert table.iloc[0].tolist() == ["E1", "R", "CX8", "0", 0, 10, 1280, 0.5]
