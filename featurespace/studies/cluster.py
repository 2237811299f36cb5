"""Cells on a cluster: Ray places them on its nodes, and starts those of a lost node again."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from featurespace.errors import FeaturespaceError, needs_extra
from featurespace.studies import ledger
from featurespace.studies.cells import Cell
from featurespace.studies.settings import StudyConfig

RETRIES = 3  # of a cell whose worker was lost
PATIENCE = 60  # seconds for which a lost worker, cut off and not yet dead, may hold its cell
KNOCK_SECONDS = 10
START_SECONDS = 60  # for a first answer of every node


class RayPool:
    """A pool of trainings on a Ray cluster, with CPUs and GPUs for each as the study says.

    Parameters
    ----------
    address : of a cluster, ``auto`` for the one of this machine; None starts one of this machine's cores

    Raises
    ------
    FeaturespaceError
        on entering: Ray is not installed, no cluster answers, it has not what a cell asks for, or a node does not see the study
    """

    def __init__(self, config: StudyConfig, address: str | None = None):
        self.config, self.address = config, address

    def __enter__(self) -> RayPool:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        try:
            import ray
        except ModuleNotFoundError as error:
            raise needs_extra("--on ray", "ray", "ray") from error
        self.ray = ray
        local: dict[str, Any] = {} if self.address else {"include_dashboard": False}
        try:
            _knock(self.address)
            ray.init(address=self.address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
        except (OSError, ValueError, RuntimeError) as error:
            raise FeaturespaceError(
                f"no Ray cluster answers at {self.address or 'this machine'} ({error}); start one with `ray start --head`, or "
                "name it by --on ray=HOST:PORT"
            ) from error
        try:
            self._check_nodes()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.ray.shutdown()

    def submit(self, function: Callable[..., ledger.State], cell: Cell, threads: int | None) -> Future[ledger.State]:
        """Run a cell on a node that has room for it; one whose workers are lost again and again comes back as failed."""
        remote = self.ray.remote(num_cpus=self.config.cpus, num_gpus=self.config.gpus, max_retries=RETRIES)(_on_node)
        found: Future[ledger.State] = Future()

        def pass_on(done: Future) -> None:
            error = done.exception()
            if isinstance(error, self.ray.exceptions.RayError) and not isinstance(
                error, self.ray.exceptions.RayTaskError
            ):
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                found.set_result(
                    ledger.State(ledger.BROKEN, reason=f"its worker was lost {RETRIES + 1} times: {first}")
                )
            elif error is not None:
                found.set_exception(error)
            else:
                found.set_result(done.result())

        remote.remote(function, cell, threads or int(self.config.cpus), os.getcwd()).future().add_done_callback(pass_on)
        return found

    def _check_nodes(self) -> None:
        """Refuse a cluster without room for one cell, and nodes that do not see the study's folder."""
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        wanted = {"CPU": self.config.cpus, "GPU": self.config.gpus}
        if not any(all(node["Resources"].get(key, 0) >= value for key, value in wanted.items()) for node in nodes):
            has = "; ".join(
                f"{node['NodeManagerAddress']}: "
                + ", ".join(f"{node['Resources'].get(key, 0):g} {key}" for key in wanted)
                for node in nodes
            )
            raise FeaturespaceError(
                f"no node has the {self.config.cpus:g} CPU and {self.config.gpus:g} GPU that a cell asks for ({has}); change cpus "
                "and gpus of the study, or the cluster"
            )
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        probe = self.ray.remote(num_cpus=0)(_sees)
        answers = {
            node["NodeManagerAddress"]: probe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str((self.config.out / "study.yaml").absolute()))
            for node in nodes
        }
        for name, answer in answers.items():
            try:
                reason = self.ray.get(answer, timeout=START_SECONDS)
            except self.ray.exceptions.RayError as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            if reason:
                raise FeaturespaceError(
                    f"node {name} cannot work on this study: {reason}; all nodes need one folder of the study that they "
                    "share, and featurespace installed in the Python that Ray runs there"
                )


def _knock(address: str | None) -> None:
    """Raise OSError where nobody listens; Ray itself would try for eight minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


def _sees(file: str) -> str:
    return "" if os.path.isfile(file) else f"it does not see {file}"


def _on_node(function: Callable[..., ledger.State], cell: Cell, threads: int, folder: str) -> ledger.State:
    """Run a cell where the study was started, waiting for a lost worker that still holds it."""
    with suppress(OSError):
        os.chdir(folder)  # relative paths of the study begin there
    end = time.monotonic() + PATIENCE
    while (found := function(cell, threads)).word == ledger.TAKEN and time.monotonic() < end:
        time.sleep(1)
    return found
