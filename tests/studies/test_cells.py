import re
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
import yaml

from featurespace.errors import FeaturespaceError
from featurespace.studies.cells import make_cells
from featurespace.studies.gathering import gathered
from featurespace.studies.running import run_cells
from featurespace.studies.settings import StudyConfig
from featurespace.studying import chosen_cells
from featurespace.yaml_files import checked

TEXT = """
out: OUT/study
defaults: {image_size: 32, batch_size: 8, loggers: [], epochs: 2}
pretrainings:
  scratch: {model: test_resnet@random}
  bright: {train: {model: test_resnet, data: bright=BRIGHT, epochs: 3}}
  dark: {train: {model: bright, data: dark=DARK}}
tasks:
  levels: {data: bright=BRIGHT}
  other: {data: dark=DARK, epochs: 4}
grid:
  - {experiment: E1, pretraining: [scratch, dark], seed: [0, 1]}
  - {experiment: E2, pretraining: scratch, task: levels, fraction: [1, 0.5, 0.1], mode: [full, linear], star: true}
"""


@pytest.fixture
def make(two_domains, tmp_path):
    """A function from changes of the text to the study's configuration."""

    def study(*changes):
        text = (
            TEXT.replace("OUT", str(tmp_path))
            .replace("BRIGHT", str(two_domains[0]))
            .replace("DARK", str(two_domains[1]))
        )
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return checked(StudyConfig, yaml.safe_load(text))

    return study


def test_cells_of_products_and_stars_each_once_and_parents_first(make):
    cells = make_cells(make())
    names = [cell.name for cell in cells]
    assert names[:2] == ["pretrain-bright", "pretrain-dark"] and len(names) == len(set(names)) == 2 + 8 + 3
    assert {name for name in names if name.startswith("scratch-levels")} == {
        "scratch-levels-seed0", "scratch-levels-seed1", "scratch-levels-50%-seed0", "scratch-levels-10%-seed0",
        "scratch-levels-linear-seed0",
    }  # fmt: skip
    by_name = {cell.name: cell for cell in cells}
    assert by_name["scratch-levels-seed0"].experiments == ("E1", "E2")
    assert by_name["scratch-levels-50%-seed0"].experiments == ("E2",)
    assert (
        by_name["pretrain-dark"].parent == "pretrain-bright" and by_name["dark-other-seed1"].parent == "pretrain-dark"
    )
    assert by_name["pretrain-dark"].config.model == str(by_name["pretrain-bright"].checkpoint)
    full = make_cells(make((", star: true", "")))
    assert len(full) == 2 + 8 + 5  # 3 fractions x 2 modes, of which one is in E1


def test_defaults_hold_where_nothing_else_is_said(make):
    by_name = {cell.name: cell.config for cell in make_cells(make())}
    assert by_name["pretrain-bright"].epochs == 3 and by_name["pretrain-dark"].epochs == 2
    assert by_name["scratch-levels-seed0"].epochs == 2 and by_name["scratch-other-seed0"].epochs == 4
    assert all(config.image_size == 32 for config in by_name.values())


def test_a_change_touches_the_cells_that_depend_on_it(make):
    before = {cell.name: cell.key for cell in make_cells(make())}

    def changed(*changes):
        return {cell.name for cell in make_cells(make(*changes)) if before[cell.name] != cell.key}

    assert changed(("epochs: 4", "epochs: 5")) == {name for name in before if "-other-" in name}
    of_bright = {name for name in before if name.startswith(("pretrain-", "dark-"))}
    assert changed(("epochs: 3", "epochs: 1")) == of_bright
    assert changed(("experiment: E1", "experiment: first"), ("loggers: []", "loggers: [csv]")) == set()


def test_a_manifest_counts_by_its_content(make, two_domains, tmp_path):
    copy = tmp_path / "bright.csv"
    copy.write_bytes(two_domains[0].read_bytes())
    before = {cell.name: cell.key for cell in make_cells(make((str(two_domains[0]), str(copy))))}
    copy.write_text(copy.read_text().replace("class1", "class0", 1))
    after = {cell.name: cell.key for cell in make_cells(make((str(two_domains[0]), str(copy))))}
    assert {name for name in before if before[name] != after[name]} == {
        name for name in before if "other" not in name or "dark" in name
    }


def test_a_cell_whose_process_is_killed_says_what_to_do(make):
    class Killed:
        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool())
            return future

    message = (
        "the process of pretrain-bright ended without a word; .*fewer --jobs or a smaller batch_size, and run the same"
    )
    with pytest.raises(FeaturespaceError, match=message):
        run_cells(make_cells(make())[:1], pool=Killed(), told=lambda *_: None)


def test_only_takes_the_parents_along(make):
    cells = make_cells(make())
    chosen = chosen_cells(cells, ["dark-other-*"])
    assert [cell.name for cell in chosen] == [
        "pretrain-bright",
        "pretrain-dark",
        "dark-other-seed0",
        "dark-other-seed1",
    ]
    assert chosen_cells(cells, ()) == cells
    with pytest.raises(
        FeaturespaceError, match="--only 'none' names no cell; cells are pretrain-bright, .* and 7 more"
    ):
        chosen_cells(cells, ["none"])


@pytest.mark.parametrize(
    "changes, message",
    [
        ([("pretraining: scratch", "pretraining: scrach")], "pretraining 'scrach' is not known in the study; did you mean 'scratch'"),
        ([("task: levels", "task: level")], "task 'level' is not known in the study; did you mean 'levels'"),
        (
            [("{model: test_resnet, data", "{model: dark, data")],
            "pretrainings are each other's parents: bright <- dark <- bright|dark <- bright <- dark",
        ),
        ([("{model: test_resnet@random}", "{}")], "give either model .* or train"),
        ([("epochs: 3}", "epoch: 3}")], "train has the key 'epoch', which `featurespace train pretrain` does not know"),
        ([("epochs: 3}", "out: x}")], "train has the key 'out'; the study gives each cell its folder"),
        ([("grid:", "analyze: {arms: [a=b]}\ngrid:")], "analyze has the key 'arms', the study gives it"),
        ([("grid:", "analyze: {layer: 1}\ngrid:")], "analyze has the key 'layer', which is no option of it; allowed are"),
        ([("grid:", "analyze: {only: [probes]}\ngrid:")], "analyze: option 'only'.*probes"),
        ([("grid:", "analyze: {tasks: [level]}\ngrid:")], "analyze names 'level' among its tasks, which are levels, other"),
        ([("epochs: 3}", "epochs: 3}, data: [x=y]")], "data goes with model; a training names its data itself"),
        ([("epochs: 4}", "epoch: 4}")], "task 'other' has the key 'epoch', which `featurespace train finetune` does not know"),
        ([("epochs: 4}", "seed: 4}")], "task 'other' has the key 'seed', which the study gives each cell"),
        ([("other: {data", "other: {masks")], "task 'other' has no data; write data: LABEL=PATH"),
        ([("loggers: []", "colour: 1")], "defaults has the key 'colour', which no training takes from there"),
        ([("seed: [0, 1]", "seed: [1, 1]")], "1 stands twice; a value counts once"),
        ([("0.1]", "0]")], "greater than 0"),
        ([("batch_size: 8", "batch_size: 1")], "option 'batch_size'"),
        ([("  scratch: {", "  a-b: {"), ("[scratch, dark]", "[a-b, a]"), ("pretraining: scratch", "pretraining: a-b"),
          ("pretrainings:\n", "pretrainings:\n  a: {model: test_vit@random}\n"), ("  levels: {", "  c: {"), ("task: levels", "task: c"),
          ("  other: {", "  b-c: {")], "two cells are called 'a-b-c-seed0'"),
    ],
)  # fmt: skip
def test_bad_grids_are_refused_before_the_first_cell(make, changes, message):
    with pytest.raises(FeaturespaceError, match=message):
        make_cells(make(*changes))


@pytest.mark.parametrize(
    "content, reason", [(None, "No such file"), (b"", "No columns"), (b"metric\n\xff", "can't decode")]
)
def test_a_table_of_a_cell_that_cannot_be_read_is_named(make, content, reason):
    cell = make_cells(make())[-1]
    file = cell.training / "runs.csv"
    if content is not None:
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    with pytest.raises(
        FeaturespaceError, match=rf"{re.escape(str(file))} cannot be read \(.*{reason}.*\); run the same study"
    ):
        gathered([cell])
