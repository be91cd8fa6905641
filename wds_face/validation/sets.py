"""Validation sets in a folder, in the layout of AdaFace:

    <name>/memfile/mem_file.dat         the images, [2 n, 3, 112, 112]; mem_file.dat.conf is written last
    <name>_list.npy                     bool [n]: which pairs are of one person
    concat_validation_memfile           several sets, one behind the other, and .conf

and what they are made of: ``<name>.bin`` of InsightFace, or a carray ``<name>/`` with its ``<name>_list.npy``.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from wds_face.errors import DatasetError, SourceError
from wds_face.location import local_path
from wds_face.progress import bar
from wds_face.storage.local import LocalStore
from wds_face.validation.benchmarks import BENCHMARKS
from wds_face.validation.bins import Bin, is_foreign, pairs
from wds_face.validation.carray import Carray
from wds_face.validation.images import Images, Joined, Memfile
from wds_face.validation.memfile import BLOCK, Conf, read_conf, write_memfile

CONCAT = "concat_validation_memfile"

# Seconds in which nobody has written to a file: another machine may have it whose lock is not seen here.
_ABANDONED = 600.0

Kind = Literal["memfile", "concat", "bin", "carray"]
#: Where images of a set may be, the readiest first.
KINDS: tuple[Kind, ...] = ("memfile", "concat", "bin", "carray")

ValidationSet = tuple[Images, NDArray[np.bool_]]


def memfile_path(root: str | os.PathLike[str], name: str) -> Path:
    """Of the images of a set."""
    return Path(root, name, "memfile", "mem_file.dat")


def find_sets(root: str | os.PathLike[str], kinds: Sequence[Kind] = KINDS) -> dict[str, Kind]:
    """The sets in a folder, and the first of *kinds* that each is there as; the five benchmarks first, then by name.

    ``.bin`` files that are not sets are left out, except for those with the name of a benchmark.
    """
    root = local_path(root, "path")
    found = dict[str, Kind]()
    names = {path.name.removesuffix("_list.npy") for path in root.glob("*_list.npy")}
    there: dict[Kind, set[str]] = {
        "memfile": {name for name in names if memfile_path(root, name).with_name("mem_file.dat.conf").is_file()},
        "concat": set(_concat_sets(root) if "concat" in kinds else ()),
        "bin": {path.stem for path in _bins(root) if path.stem in BENCHMARKS or not is_foreign(path)},
        "carray": {name for name in names if (root / name / "meta" / "sizes").is_file()},
    }
    for kind in kinds:
        found = {**dict.fromkeys(sorted(there[kind]), kind), **found}
    return dict(sorted(found.items(), key=lambda item: (BENCHMARKS.get(item[0], len(BENCHMARKS)), item[0])))


def foreign_files(root: str | os.PathLike[str]) -> list[Path]:
    """Return the ``.bin`` files of a folder that :func:`find_sets` leaves out since they are not sets, by name."""
    return [path for path in _bins(Path(root)) if path.stem not in BENCHMARKS and is_foreign(path)]


def _bins(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*.bin") if path.is_file())


def open_set(root: str | os.PathLike[str], name: str, kind: Kind, image_size: int = 112) -> ValidationSet:
    """Images of a set, and which of its pairs are of one person.

    Args:
        root: the folder.
        name: of the set.
        kind: as what to open it.
        image_size: to which images of a ``.bin`` are resized.

    Raises:
        SourceError, DatasetError: it is not there, or damaged.
    """
    root = Path(root)
    images: Images
    if kind == "bin":
        images = Bin(root / f"{name}.bin", image_size)
        return images, images.issame
    if kind == "carray":
        images = Carray(root / name)
    elif kind == "memfile":
        images = Memfile(memfile_path(root, name))
    else:
        start, stop = _concat_sets(root)[name]
        images = Memfile(root / CONCAT, start, stop)
    issame = read_list(root / f"{name}_list.npy")
    if len(images) != 2 * len(issame):
        raise DatasetError(f"{root}: {name} has {len(images):,} images for {len(issame):,} pairs: make it again")
    if isinstance(images, Memfile) and not images[-1].any():  # no float of a pixel is 0; what was not written is
        raise DatasetError(f"{images.path} was left half-written: remove {images.path.name}.conf beside it")
    images.channels = images.channels or "bgr"  # AdaFace's, which does not say
    return images, issame


def read_list(path: Path) -> NDArray[np.bool_]:
    """Which pairs are of one person, from ``<name>_list.npy``: bool ``[n]``.

    Raises:
        SourceError: it is not there, or something else.
    """
    try:
        return pairs(np.load(path, allow_pickle=False), str(path))
    except FileNotFoundError:
        raise SourceError(f"there is no {path}, which says which pairs are of one person") from None
    except (ValueError, EOFError, MemoryError):
        raise SourceError(f"{path} is no array of truth values: copy it again") from None


def write_set(
    root: str | os.PathLike[str],
    name: str,
    given: ValidationSet,
    *,
    dtype: str = "uint8",
    channels: str | None = None,
    progress: bool = False,
) -> Memfile:
    """Write a set as a memfile, a few MB at a time. It is not there before it is whole.

    Args:
        root: the folder.
        name: of the set.
        given: its images, and which pairs are of one person.
        dtype: ``"uint8"``, or ``"float32"``, which takes four times as much and is what AdaFace's code needs.
        channels: in which order; by default as they are.
        progress: show a bar, on a terminal.
    """
    images, issame = given
    channels = channels or images.channels
    conf = Conf(images.shape, np.dtype(dtype), channels)
    path, store = memfile_path(root, name), LocalStore(os.fspath(root))
    store.remove(str(path.with_name("mem_file.dat.conf").relative_to(root)))
    listed = io.BytesIO()
    np.save(listed, issame)
    store.put(f"{name}_list.npy", listed.getvalue())
    with bar(name, len(images), progress) as shown:

        def blocks() -> Iterator[NDArray[Any]]:
            for block in _blocks(images, dtype):
                yield block if channels == images.channels else block[:, ::-1]
                shown.update(len(block))

        write_memfile(path, conf, blocks())
    return Memfile(path)


def write_concat(root: str | os.PathLike[str], sets: dict[str, ValidationSet], *, dtype: str, channels: str) -> None:
    """Write the memfile of several sets that AdaFace's code wants, in the order in which they are given."""
    joined = Joined([images for images, _ in sets.values()])
    if joined.channels != channels:
        raise DatasetError(f"the sets in {os.fspath(root)} are not all {channels}: make them again with --overwrite")
    lengths = tuple((name, len(images)) for name, (images, _) in sets.items())
    conf = Conf(joined.shape, np.dtype(dtype), channels, lengths)
    write_memfile(Path(root, CONCAT), conf, _blocks(joined, dtype))


@contextmanager
def alone(root: str | os.PathLike[str], name: str) -> Iterator[None]:
    """Keep other processes from making this set meanwhile, and remove leftovers of killed ones.

    Where the file system has no locks two processes may make it at once; each of their files still appears whole.
    """
    folder = memfile_path(root, name).parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    with FileLock(lock):
        for left in [*folder.glob(".*.part"), *Path(root).glob(f".{name}_list.npy.*.part")]:
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps a file that is open
                lock.unlink()


def same_set(root: str | os.PathLike[str], name: str, given: ValidationSet, dtype: str, channels: str | None) -> bool:
    """Whether a set is there as a memfile: of this shape, dtype and order of channels, these pairs, and first and last
    images that are the same."""
    images, issame = given
    try:
        found, listed = open_set(root, name, "memfile")
    except (DatasetError, SourceError):
        return False
    conf = read_conf(memfile_path(root, name))
    channels = channels or images.channels
    if (conf.shape, conf.dtype, found.channels) != (images.shape, np.dtype(dtype), channels):
        return False
    turn = slice(None, None, 1 if channels == images.channels else -1)
    ends = [0, len(images) - 1]
    return np.array_equal(listed, issame) and all(np.array_equal(found[at], images[at][turn]) for at in ends)


def _blocks(images: Images, dtype: str) -> Iterator[NDArray[Any]]:
    step = max(1, BLOCK // (4 * int(np.prod(images.shape[1:]))))
    read = images.pixels if dtype == "uint8" else images.read
    for start in range(0, len(images), step):
        yield read(start, min(start + step, len(images)))


def check_concat(root: str | os.PathLike[str]) -> None:
    """Say what is wrong with the file of several sets, where there is one, before one of them is said to be missing.

    Raises:
        DatasetError: it does not fit its conf.
    """
    if Path(root, f"{CONCAT}.conf").is_file():
        read_conf(Path(root, CONCAT))


def _concat_sets(root: Path) -> dict[str, tuple[int, int]]:
    """Where sets are in the file of several, by their lists where its conf does not say; none if it is not there."""
    try:
        conf = read_conf(root / CONCAT)
        lengths = conf.sets or tuple((name, 2 * len(read_list(root / f"{name}_list.npy"))) for name in BENCHMARKS)
    except (DatasetError, SourceError):
        return {}
    ends = np.cumsum([0, *(images for _, images in lengths)]).tolist()
    if ends[-1] != conf.shape[0]:
        return {}
    return {name: (ends[i], ends[i + 1]) for i, (name, _) in enumerate(lengths)}
