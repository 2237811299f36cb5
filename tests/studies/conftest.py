import pytest
import yaml


@pytest.fixture
def file(two_domains, tmp_path):
    """The YAML file of a study of seven cells: two starts, one of them trained, and two parts of a grid."""
    text = {
        "out": str(tmp_path / "study"),
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
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(text, sort_keys=False))
    return path


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("featurespace.report.write.draw_figures", lambda run: [])
