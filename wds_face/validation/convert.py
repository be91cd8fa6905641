"""Validation sets of any kind, made memfiles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wds_face.errors import DatasetError, SourceError
from wds_face.location import local_path
from wds_face.validation.benchmarks import BENCHMARKS
from wds_face.validation.bins import NotASetError
from wds_face.validation.memfile import read_conf
from wds_face.validation.pairs import draw_pairs
from wds_face.validation.sets import (
    CONCAT,
    Kind,
    ValidationSet,
    alone,
    find_sets,
    foreign_files,
    memfile_path,
    open_set,
    same_set,
    write_concat,
    write_set,
)

#: Where images of a set are taken from, the most original first.
SOURCES: tuple[Kind, ...] = ("bin", "carray", "memfile", "concat")


@dataclass(frozen=True)
class Converted:
    """A set that is a memfile now.

    Attributes:
        name: of the set.
        kind: what it was made of: ``"bin"``, ``"carray"``, ``"memfile"``, ``"concat"`` or ``"shards"``.
        pairs: how many.
        nbytes: of the memfile.
        channels: ``"rgb"`` or ``"bgr"``.
        written: False where it was there already.
    """

    name: str
    kind: str
    pairs: int
    nbytes: int
    channels: str
    written: bool


@dataclass(frozen=True)
class Conversion:
    """Result of converting the validation sets of a folder.

    Attributes:
        converted: Sets that are memfiles now, in the order of :func:`~wds_face.validation.sets.find_sets`.
        foreign: ``.bin`` files that are not validation sets, with an explanation. Not an error.
        damaged: Files of sets that could not be converted, with the reason.
    """

    converted: list[Converted]
    foreign: dict[str, str]
    damaged: dict[str, str]


def convert_validation(
    src: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    *,
    dtype: Literal["uint8", "float32"] = "uint8",
    channels: Literal["rgb", "bgr"] | None = None,
    image_size: int = 112,
    concat: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> list[Converted]:
    """Make memfiles of validation sets: of ``.bin`` files, of bcolz carrays, and of other memfiles.

    Sets that are there already, and as they should be, stay as they are. Killed at any moment, it goes on when it is
    called again. Two processes may make the same sets at once. A damaged set does not stop the others: the error is
    raised after they are converted. ``.bin`` files that are not sets are skipped; :func:`convert_sets` lists them.

    Args:
        src: a folder of sets, or a ``.bin`` file.
        dest: the folder for the memfiles; it may be *src*.
        names: of the sets; by default all that are there.
        dtype: ``"uint8"``, or ``"float32"``, which takes four times as much and is what AdaFace's code needs.
        channels: their order; by default RGB of ``.bin`` files, and what carrays and memfiles have: BGR of AdaFace's.
        image_size: Images of other sizes in ``.bin`` files are resized to this, width and height independently.
        concat: write ``concat_validation_memfile`` with the five benchmarks too, as AdaFace's code needs it.
        overwrite: replace sets that are there and are not as they should be.
        progress: show a bar for each, on a terminal.

    Raises:
        SourceError: there is no set, or not one of these names, or some are damaged: the message names all of them.
        DatasetError: a set is there and is another, or the disk is full.
    """
    made = convert_sets(
        src,
        dest,
        names,
        dtype=dtype,
        channels=channels,
        image_size=image_size,
        concat=concat,
        overwrite=overwrite,
        progress=progress,
    )
    if made.damaged:
        reasons = "; ".join(made.damaged.values())
        raise SourceError(f"{reasons} (sets converted: {len(made.converted)})")
    return made.converted


def convert_sets(
    src: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    *,
    dtype: Literal["uint8", "float32"] = "uint8",
    channels: Literal["rgb", "bgr"] | None = None,
    image_size: int = 112,
    concat: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Conversion:
    """Convert like :func:`convert_validation`, but return damaged and skipped files instead of raising an error.

    Args:
        src: a folder of sets, or a ``.bin`` file.
        dest: the folder for the memfiles.
        names: Names of the sets to convert, each of which must be a set; by default all.
        dtype, channels, image_size, concat, overwrite, progress: see :func:`convert_validation`.

    Raises:
        SourceError: there is no set, or not one of these names.
        DatasetError: a set is there and is another, or the disk is full.
    """
    if dtype not in ("uint8", "float32") or channels not in (None, "rgb", "bgr"):
        raise ValueError(f"dtype is uint8 or float32, and channels rgb or bgr, not {dtype!r} and {channels!r}")
    source = local_path(src, "src")
    dest = local_path(dest, "dest")
    named = names is not None or _is_bin(source)
    source, found, foreign = _sources(source, named=named)
    wanted = list(found) if names is None else list(names)
    if not source.exists():
        raise SourceError(f"{source} is not there: give a folder of validation sets, or a .bin file")
    if not wanted or not found.keys() >= set(wanted):
        raise SourceError(_nothing(source, found, wanted, foreign))
    if concat and not set(wanted) >= BENCHMARKS.keys():
        lacking = ", ".join(name for name in BENCHMARKS if name not in wanted)
        raise SourceError(f"{CONCAT} is of all five benchmarks, and {source} does not have {lacking}")
    made = Conversion([], foreign, {})
    for name in wanted:
        kind = found[name]
        file = f"{name}.bin" if kind == "bin" else name
        try:
            given = open_set(source, name, kind, image_size)
        except NotASetError as error:
            if not named and name not in BENCHMARKS:
                made.foreign[file] = str(error)
            else:
                made.damaged[file] = str(error)
            continue
        except (SourceError, DatasetError) as error:
            made.damaged[file] = str(error)
            continue
        try:
            converted = _make(
                dest,
                name,
                kind,
                given,
                dtype=dtype,
                channels=channels,
                overwrite=overwrite,
                progress=progress,
            )
        except SourceError as error:  # an image of the set; errors in *dest* are DatasetErrors
            made.damaged[file] = str(error)
            continue
        made.converted.append(converted)
    if concat and made.damaged:
        made.damaged[CONCAT] = f"{CONCAT} was not written: it is of all five benchmarks"
    elif concat:
        sets = {name: open_set(dest, name, "memfile") for name in BENCHMARKS}
        write_concat(dest, sets, dtype=dtype, channels=made.converted[0].channels)
    return made


def _is_bin(src: Path) -> bool:
    return src.suffix == ".bin" and src.is_file()


def _sources(src: Path, *, named: bool) -> tuple[Path, dict[str, Kind], dict[str, str]]:
    """Return the folder of the sets, the kind of each by name, and the files in it that are not sets.

    A ``.bin`` that is named counts as a set whatever it holds, so that it is an error if it is not one.
    """
    if _is_bin(src):
        return src.parent, {src.stem: "bin"}, {}
    found = find_sets(src, SOURCES)
    others = foreign_files(src)
    if named:
        return src, {**{path.stem: "bin" for path in others}, **found}, {}
    return src, found, {path.name: f"{path} is not a validation set, a pickle of images and pairs" for path in others}


def _nothing(source: Path, found: dict[str, Kind], wanted: list[str], foreign: dict[str, str]) -> str:
    missing = ", ".join(name for name in wanted if name not in found) or "a .bin, a carray or a memfile"
    if foreign:
        missing += f" that is a set ({', '.join(foreign)} is something else)"
    there = f"there are {', '.join(found)}" if found else "a set is NAME.bin, or NAME/ with its NAME_list.npy"
    return f"{source} does not have {missing}: {there}"


def convert_pairs(
    src: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    pairs: int,
    name: str = "pairs",
    *,
    max_images: int | None = None,
    seed: int = 0,
    dtype: Literal["uint8", "float32"] = "uint8",
    channels: Literal["rgb", "bgr"] | None = None,
    image_size: int = 112,
    overwrite: bool = False,
    progress: bool = False,
) -> Converted:
    """Make a validation set of one's own, of pairs of images from shards; see :func:`~wds_face.draw_pairs`.

    Args:
        src: of a data set that ``wds-face convert`` made.
        dest: the folder for the memfile.
        pairs: how many, half of them of one person.
        name: of the set.
        max_images: leave out identities with more.
        seed: of the choice.
        dtype, channels, image_size, overwrite, progress: see :func:`convert_validation`.

    Raises:
        SourceError: there are not so many pairs.
        DatasetError: there is no complete data set, or a set of this name is there and is another.
    """
    dest = local_path(dest, "dest")
    if name in ("", ".", "..") or "/" in name:
        raise DatasetError(f"{name!r} cannot be the name of a set: it is that of a folder in {os.fspath(dest)}")
    given = draw_pairs(src, pairs, seed=seed, max_images=max_images, image_size=image_size)
    options: dict[str, Any] = {"dtype": dtype, "channels": channels, "overwrite": overwrite, "progress": progress}
    return _make(dest, name, "shards", given, **options)


def _make(
    dest: Path,
    name: str,
    kind: str,
    given: ValidationSet,
    *,
    dtype: str,
    channels: str | None,
    overwrite: bool,
    progress: bool,
) -> Converted:
    path = memfile_path(dest, name)
    with alone(dest, name):
        there = same_set(dest, name, given, dtype, channels)
        if not there:
            if path.with_name("mem_file.dat.conf").exists() and not overwrite:
                raise DatasetError(
                    f"{path} is there and has other images, another dtype or order of channels: give --overwrite to "
                    "replace it"
                )
            write_set(dest, name, given, dtype=dtype, channels=channels, progress=progress)
        conf = read_conf(path)
    return Converted(name, kind, len(given[1]), conf.nbytes, conf.channels or "bgr", not there)
