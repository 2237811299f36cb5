import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import featurespace as fs
from featurespace.errors import FeaturespaceError
from featurespace.studies import ledger
from featurespace.studies.cells import make_cells
from featurespace.studies.cluster import RayPool
from featurespace.studying import read_study

TRAINING = "defaults={image_size: 32, batch_size: 8, loggers: [], epochs: 10, threads: 1, save_minutes: 0}"


@pytest.fixture
def two_nodes(monkeypatch):
    """A Ray cluster of two nodes with one CPU each, on this machine."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    utils = pytest.importorskip("ray.cluster_utils")
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def test_other_places_are_refused(file):
    config = read_study(file)
    with pytest.raises(FeaturespaceError, match="--on 'slurm' is not known; write --on ray"):
        fs.study(config, on="slurm")
    with pytest.raises(FeaturespaceError, match="--jobs goes with processes of this machine"):
        fs.study(config, on="ray", jobs=2)


def test_without_ray_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FeaturespaceError, match=r"--on ray needs ray, which is not installed.*\[ray\]"):
        fs.study(read_study(file), on="ray")


def test_a_cluster_that_is_not_there_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())  # nobody listens there, so Ray is never asked
    with pytest.raises(FeaturespaceError, match="no Ray cluster answers at 127.0.0.1:1 "):
        fs.study(read_study(file), on="ray=127.0.0.1:1")


class TwoNodes:
    """What `RayPool` asks of Ray: two nodes, of which the second answers with a reason or an error."""

    running = False
    exceptions = SimpleNamespace(RayError=OSError)

    def __init__(self, answer=""):
        self.answer = answer

    def init(self, **_):
        self.running = True

    def shutdown(self):
        self.running = False

    def nodes(self):
        return [
            {
                "Alive": alive,
                "NodeID": f"{place:056x}",
                "NodeManagerAddress": f"10.0.0.{place}",
                "Resources": {"CPU": 4.0},
            }
            for place, alive in ((1, True), (2, True), (3, False))
        ]

    def remote(self, **_):
        def probe(function):
            return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda path: options))

        return probe

    def get(self, answer, timeout):
        if answer["scheduling_strategy"].node_id.endswith("1"):
            return ""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("changes, answer, message", [
    (["gpus=1"], "", r"no node has the 1 CPU and 1 GPU that a cell asks for \(10.0.0.1: 4 CPU, 0 GPU; 10.0.0.2: 4 CPU, 0 GPU\); change"),
    ([], "it does not see /a/study.yaml", "node 10.0.0.2 cannot work on this study: it does not see /a/study.yaml; all nodes need"),
    ([], OSError("\nlost\nno Python"), "node 10.0.0.2 cannot work on this study: no Python; all nodes need one folder"),
    ([], OSError(), "node 10.0.0.2 cannot work on this study: OSError; all nodes need one folder"),
])  # fmt: skip
def test_nodes_that_cannot_work_on_a_study_are_named(file, monkeypatch, changes, answer, message):
    pytest.importorskip("ray.util.scheduling_strategies")
    monkeypatch.setitem(sys.modules, "ray", TwoNodes(answer))
    with pytest.raises(FeaturespaceError, match=message), RayPool(read_study(file, changes)):
        pass
    assert not sys.modules["ray"].running


@pytest.mark.slow
def test_a_cell_that_no_node_has_room_for_is_refused(file, two_nodes):
    config = read_study(file, ["gpus=1"])
    with pytest.raises(FeaturespaceError, match="no node has the 1 CPU and 1 GPU that a cell asks for"):
        fs.study(config, on=f"ray={two_nodes.address}")


@pytest.mark.slow
def test_a_study_on_two_nodes_of_which_one_is_killed_ends_with_the_same_runs(file, tmp_path, two_nodes):
    config = read_study(file, [TRAINING])
    whole = read_study(file, [f"out={tmp_path / 'whole'}", TRAINING])
    fs.study(whole)
    command = [
        sys.executable,
        "-m",
        "featurespace",
        "study",
        str(file),
        "--set",
        TRAINING,
        "--on",
        f"ray={two_nodes.address}",
    ]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stderr=subprocess.PIPE
    )
    cells = make_cells(config)
    while process.poll() is None and sum(ledger.state(cell).word == ledger.STARTED for cell in cells) < 2:
        time.sleep(0.05)
    time.sleep(1)  # both nodes train
    before = sum(ledger.state(cell).word == ledger.FINISHED for cell in cells)
    worker = next(node for node in two_nodes.list_all_nodes() if node is not two_nodes.head_node)
    two_nodes.remove_node(worker, allow_graceful=False)
    assert process.poll() is None and before < len(cells) - 1  # there was something to lose
    _, told = process.communicate(timeout=600)
    assert process.returncode == 0, told.decode()
    assert (config.out / "runs.csv").read_bytes() == (whole.out / "runs.csv").read_bytes()
