"""What a path holds, so that an error can name the command that reads it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from wds_face.hidden_files import is_hidden
from wds_face.images import EXTENSIONS
from wds_face.shards.names import SUFFIXES

Kind = Literal["dataset", "recordio", "webdataset", "validation", "imagefolder", "images", "unsupported"]

#: Entries of a folder that are looked at. Only messages and the choice of a reader for previews depend on it.
_MOST_ENTRIES = 100_000

#: Sub-folders that are looked into where a folder itself holds nothing that is known.
_MOST_FOLDERS = 20


class Recognised(NamedTuple):
    """What was found.

    Attributes:
        kind: ``"dataset"``: a data set of wds_face. ``"recordio"``, ``"webdataset"``, ``"validation"``,
            ``"imagefolder"``: the command under ``wds-face convert`` that reads it. ``"images"``: images without a
            folder per identity. ``"unsupported"``: data that no command reads.
        content: What it is, for a message: ``"MXNet records (train.rec)"``.
        remedy: What to do with it, for a message.
        path: Where it is: the path that was asked about, or a folder in it.
    """

    kind: Kind
    content: str
    remedy: str
    path: str


#: Kinds that a folder is taken for, whatever else lies in it.
_STRONG = ("dataset", "recordio", "webdataset")


class _Format(NamedTuple):
    kind: Kind
    suffixes: tuple[str, ...]
    content: str
    remedy: str
    beside: str = ""
    """A file that must lie beside it."""


_EXPORT = "no command reads it: write its images to FOLDER/<identity>/<image> first"

#: The first that fits counts.
_FORMATS = (
    _Format("dataset", ("identities.npy",), "a data set of wds-face", "it is converted already", "index.json"),
    _Format("recordio", (".rec",), "MXNet records", "use `wds-face convert recordio {path} DEST`"),
    _Format("webdataset", tuple(SUFFIXES), "tar shards", "use `wds-face convert webdataset {path} DEST`"),
    _Format("unsupported", (".mds", ".mds.zstd", ".mds.zst"), "MosaicML shards", _EXPORT),
    _Format("unsupported", (".bin",), "LitData chunks", _EXPORT, "index.json"),
    _Format("validation", (".bin",), "validation sets", "use `wds-face convert validation {path} DEST`"),
    _Format("unsupported", (".parquet",), "Parquet files", _EXPORT),
    _Format("unsupported", (".arrow",), "Arrow files of Hugging Face datasets", _EXPORT),
    _Format("unsupported", (".mdb", ".lmdb"), "an LMDB", _EXPORT),
    _Format("unsupported", (".tfrecord", ".tfrecords"), "TFRecords", _EXPORT),
    _Format("unsupported", (".beton",), "FFCV files", _EXPORT),
    _Format("unsupported", (".h5", ".hdf5", ".npz", ".mat"), "arrays in files", _EXPORT),
    _Format("unsupported", (".zip", ".7z", ".rar"), "archives", "extract it, and give the folder"),
)


def recognise(path: str | os.PathLike[str]) -> Recognised | None:
    """Return what a local path holds, None if that is nothing known.

    At most 100,000 entries of a folder are looked at, and its first 20 sub-folders; of files only the names.

    Args:
        path: Path of a file or folder; it need not exist.
    """
    path = os.fspath(path)
    named = _known([os.path.basename(path)], path)
    if named is not None and named.kind != "dataset":
        return named
    files, folders = _entries(path)
    here = _known(files, path)
    if here is not None and here.kind in _STRONG:
        return here
    return _image_folders(path, folders) or _below(path, folders) or _pictures(path, files) or here


def _image_folders(path: str, folders: list[str]) -> Recognised | None:
    holding = [folder for folder in folders[:_MOST_FOLDERS] if _holds_images(os.path.join(path, folder))]
    if not holding:
        return None
    remedy = f"use `wds-face convert imagefolder {shlex.quote(path)} DEST`"
    return Recognised("imagefolder", f"image folders ({_some(holding)})", remedy, path)


def _holds_images(folder: str) -> bool:
    """Return whether images lie in a folder or in one of its first sub-folders."""
    files, folders = _entries(folder)
    if any(map(_is_image, files)):
        return True
    return any(_is_image(file) for below in folders[:2] for file in _entries(os.path.join(folder, below))[0])


def _below(path: str, folders: list[str]) -> Recognised | None:
    for folder in folders[:_MOST_FOLDERS]:
        inner = os.path.join(path, folder)
        found = _known(_entries(inner)[0], inner)
        if found is not None:
            return found
    return None


def _pictures(path: str, files: list[str]) -> Recognised | None:
    pictures = [file for file in files if _is_image(file)]
    if not pictures:
        return None
    remedy = "put the images of each identity into a folder of their own"
    return Recognised("images", f"images side by side ({_some(pictures)})", remedy, path)


def hint(path: str | os.PathLike[str], *, reader: Kind | None = None) -> str:
    """Return what to add to an error about a path that a command does not read, ``""`` if nothing is known.

    Args:
        path: The path, see :func:`recognise`.
        reader: Kind that the command itself reads, which is no advice.
    """
    path = os.fspath(path)
    found = recognise(path)
    if found is None or (found.kind == reader and found.path == path):
        return ""
    where = "" if found.path == path else f" in {os.path.basename(found.path)}/"
    return f"; it holds {found.content}{where}: {found.remedy}"


def _known(files: Sequence[str], path: str) -> Recognised | None:
    names = {file.lower() for file in files}
    for form in _FORMATS:
        if form.beside and form.beside not in names:
            continue
        fitting = sorted(file for file in files if file.lower().endswith(form.suffixes) and not is_hidden(file))
        if fitting:
            remedy = form.remedy.format(path=shlex.quote(path))
            return Recognised(form.kind, f"{form.content} ({_some(fitting)})", remedy, path)
    return None


def _entries(folder: str) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the sub-folders of a local folder, sorted; none if it cannot be read."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, _MOST_ENTRIES):
                if is_hidden(entry.name):
                    continue
                names = folders if _is_folder(entry) else files
                names.append(entry.name)
    except OSError:
        return [], []
    return sorted(files), sorted(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image(file: str) -> bool:
    return file.rpartition(".")[2].lower() in EXTENSIONS


def _some(names: Iterable[str]) -> str:
    first = list(islice(names, 3))
    return ", ".join(first[:2]) + (", …" if first[2:] else "")


__all__ = ["Kind", "Recognised", "hint", "recognise"]
