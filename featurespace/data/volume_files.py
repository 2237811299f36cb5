"""The files of volumes: which there are below a folder, and what their headers tell."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path

from featurespace.data.dicom import Frame, looks_like_dicom, read_frames
from featurespace.data.dicom_series import scans_of
from featurespace.data.folders import walk
from featurespace.data.nifti import NIFTI, array_scans, nifti_scans
from featurespace.data.scans import NotUsed, Scan, reason
from featurespace.errors import FeaturespaceError

PIECE = 256  # files whose headers a process reads before it hands them over


def find_scans(
    root: Path,
    advance: Callable[[int], object] = lambda count: None,
    *,
    masks: Set[str] = frozenset(),
    processes: int = 1,
) -> tuple[list[Scan], Counter[str]]:
    """Return the volumes below a folder, or in a file, and notes with their counts; headers are read, no pixels.

    Parameters
    ----------
    masks : files that are left out, with their real paths
    processes : that read headers; their number changes nothing in what is returned
    """
    if root.is_file():
        relatives, folder, notes = [root.name], str(root.parent), Counter[str]()
    else:
        relatives, passed = walk(root, lambda name: True, advance)
        folder = str(root)
        notes = Counter({f"{several} passed over": len(them) for (_, several), them in passed.items() if them})
    if masks:
        relatives = [each for each in relatives if os.path.realpath(os.path.join(folder, each)) not in masks]
    scans: list[Scan] = []
    frames: list[Frame] = []
    for found, some, unused in _headers(folder, relatives, processes):
        scans += found
        frames += some
        notes.update(unused)
    from_arrays, arrays = array_scans(folder, [each for each in relatives if each.lower().endswith(".npy")])
    notes.update(f"files are not used: {why}" for why in arrays.values())
    return scans + from_arrays + scans_of(frames, notes), notes


def _headers(folder: str, relatives: list[str], processes: int) -> Iterator[tuple[list[Scan], list[Frame], list[str]]]:
    """Yield what `_read` finds in pieces of the files, in their order."""
    pieces = [relatives[start : start + PIECE] for start in range(0, len(relatives), PIECE)]
    folders = [folder] * len(pieces)
    with ExitStack() as stack:
        if processes > 1 and len(pieces) > 1:
            context = multiprocessing.get_context("spawn")  # a copy of a process with threads may stand still
            pool = stack.enter_context(ProcessPoolExecutor(min(processes, len(pieces)), mp_context=context))
            try:
                yield from pool.map(_read, folders, pieces)
            except BrokenProcessPool as error:
                raise FeaturespaceError(
                    f"a process that read headers below {folder} ended without a word; it may have been out of memory: "
                    "free some, and give the same command again"
                ) from error
        else:
            yield from map(_read, folders, pieces)


def _read(folder: str, relatives: Sequence[str]) -> tuple[list[Scan], list[Frame], list[str]]:
    """Return the NIfTI volumes, the DICOM frames, and why files are not used, one text a file."""
    scans, frames, unused = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote values of the header
        for relative in relatives:
            path = os.path.join(folder, relative)
            try:
                if relative.lower().endswith(NIFTI):
                    scans += nifti_scans(folder, relative)
                elif not relative.lower().endswith(".npy"):
                    if not os.path.isfile(path) or not looks_like_dicom(path):
                        raise NotUsed("neither DICOM nor NIfTI nor .npy")
                    frames += read_frames(path)
            except NotUsed as error:
                unused.append(f"files are not used: {error}")
            except OSError as error:
                unused.append(f"files are not used: {reason(error)}")
    return scans, frames, unused
