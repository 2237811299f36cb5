import shutil

import pytest
import yaml


def write_study(folder, two_domains):
    text = {
        "out": str(folder / "study"),
        "defaults": {"image_size": 32, "batch_size": 8, "loggers": [], "epochs": 2, "threads": 1},
        "pretrainings": {
            "scratch": {"model": "test_resnet@random"},
            "dark": {"train": {"model": "test_resnet", "data": f"dark={two_domains[1]}"}},
        },
        "tasks": {"levels": {"data": f"bright={two_domains[0]}"}},
        "grid": [
            {"experiment": "E1", "seed": [0, 1]},
            {"experiment": "E2", "pretraining": "scratch", "fraction": [1, 0.5], "star": True, "seed": [0, 1]},
        ],
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(text, sort_keys=False))
    return path


@pytest.fixture
def file(two_domains, tmp_path):
    """The YAML file of a study of seven cells: two starts, one of them trained, and two parts of a grid."""
    return write_study(tmp_path, two_domains)


@pytest.fixture(scope="module")
def trained_cells(two_domains, tmp_path_factory):
    """The folder of the cells of that study, all trained."""
    from featurespace.studies.cells import make_cells
    from featurespace.studies.running import run_cells
    from featurespace.studying import read_study

    config = read_study(write_study(tmp_path_factory.mktemp("trained"), two_domains))
    assert {state.word for state in run_cells(make_cells(config), told=lambda *_: None).values()} == {"finished"}
    return config.out / "cells"


@pytest.fixture
def trained_file(file, trained_cells):
    """The YAML file of a study whose cells are trained, and whose tables are not written yet."""
    shutil.copytree(trained_cells, file.parent / "study" / "cells")
    return file


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("featurespace.report.write.draw_figures", lambda run: [])
