"""Find the shards that a path or a URL stands for."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from braceexpand import braceexpand

from wds_face import recognise
from wds_face.errors import SourceError, TarError
from wds_face.hidden_files import is_hidden
from wds_face.location import is_url, shown
from wds_face.shards.compression import HEAD, looks_like_tar, recognize
from wds_face.shards.names import Stray, is_shard, split_of, stray
from wds_face.storage import Store, open_store
from wds_face.storage.store import Listing

# Maximum number of names in one brace pattern. A larger number is a typing error that would take long to expand.
_MOST_NAMES = 100_000
# Maximum depth of folders that are searched. Deeper ones are loops of links, or not a data set.
_DEEPEST = 32

_GLOB = re.compile(r"[*?[]")
_MAGIC = re.compile(r"[*?[{]")
_RANGE = re.compile(r"\{(-?\d{1,99})\.\.(-?\d{1,99})(?:\.\.(-?\d{1,99}))?")
_HEAD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


@dataclass(frozen=True)
class ShardList:
    """The shards that a path or a URL stands for.

    Attributes:
        store: Folder that holds all of them.
        names: Paths of the shards relative to the folder, without duplicates, in a fixed order.
        strays: Files and folders among them that are not taken.
        notes: Lines for the user about the choice.
    """

    store: Store
    names: list[str]
    strays: list[Stray] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Location:
    """A path or URL of shards, in two parts.

    Attributes:
        root: Folder as a path or URL, up to the first wildcard or brace.
        pattern: Pattern of the shards within the folder, "" for all shards in it and its sub-folders.
    """

    root: str
    pattern: str

    @classmethod
    def parse(cls, url: str) -> Location:
        """Split a path or URL.

        Raises:
            SourceError: It has wildcards or braces in its host or bucket, or a query.
        """
        if url.startswith("file:///"):
            url = url.removeprefix("file://")
        chain, _, last = url.rpartition("::") if is_url(url) else ("", "", url)
        match = _HEAD.match(last)
        head = match[0] if match else ""
        path = last[len(head) :]
        if head.lower().startswith(("http://", "https://")) and "?" in path:
            raise SourceError(f"{shown(url.partition('?')[0])}: give the URL without its query (?…)")
        if head and _MAGIC.search(head.partition("://")[2].replace("[", "")):
            raise SourceError(f"{shown(url)}: wildcards and braces are allowed only after the host or bucket")
        if chain:
            head = f"{chain}::{head}"
        if not head and os.path.isdir(path):  # a folder whose name has braces or ends with .tar
            return cls(path, "")
        magic = None if not head and os.path.exists(path) else _MAGIC.search(path)
        if magic is None and not is_shard(path) and not (not head and os.path.isfile(path)):
            return cls(url, "")
        folder, slash, _ = path[: magic.start() if magic else len(path)].rpartition("/")
        root = head + folder
        if not root:
            root = slash or "."
        return cls(root, path[len(folder) + len(slash) :])

    @property
    def recursive(self) -> bool:
        """Whether folders that the pattern does not name are searched too."""
        return not self.pattern or bool(_GLOB.search(self.pattern.rpartition("/")[0])) or "**" in self.pattern


def find_shards(url: str, options: dict[str, Any] | None = None) -> ShardList:
    """Find the shards that a path or a URL stands for.

    Args:
        url: A folder, with or without sub-folders; a shard; or a pattern for either with braces
            (``x-{000..009}.tar``) and wildcards (``*``, ``?``, ``[…]``, and ``**`` for folders at any depth), in any
            part of the path. Names without wildcards also work on servers that do not list their folders.
        options: fsspec's ``storage_options``.

    Raises:
        SourceError: There are no shards, some that the pattern names are missing, or a folder holds several splits.
        ListingError: The URL is a folder or has wildcards, and the server does not list its folders.
    """
    location = Location.parse(url)
    store = open_store(location.root, options)
    if not location.pattern:
        files, strays = _walk(_Folders(store), "")
        found = _sort_out(store, files, strays)
        if not found.names:
            raise SourceError(_no_shards(store, found))
        if splits := _splits(found.names):
            raise SourceError(_several_splits(store, found.names, splits))
        return found
    return _matching(store, location.pattern)


def _matching(store: Store, pattern: str) -> ShardList:
    """Find the shards of a pattern: named ones in the order of the braces, matches of wildcards sorted."""
    folders = _Folders(store)
    files: list[str] = []
    strays: list[Stray] = []
    named: list[str] = []
    for one in [pattern] if _is_file(store, pattern) else _braces(store, pattern):
        if is_shard(one) and (_is_file(store, one) or not _GLOB.search(one)):
            named.append(one)
            files.append(one)
        elif _is_file(store, one):
            named.append(_other_shard(store, one))
            files.append(one)
        elif _GLOB.search(one):
            files += sorted(_glob(folders, one.split("/"), ""))
        else:
            below, aside = _walk(folders, one.rstrip("/"))
            if not below:
                raise SourceError(f"{store}/{one} is not there, or holds no shards")
            files += below
            strays += aside
    named = list(dict.fromkeys(named))
    sizes = store.sizes(named)
    missing = [name for name, size in zip(named, sizes, strict=True) if size is None]
    if missing:
        count = f" ({len(missing)} missing)" if missing[1:] else ""
        more = f", nor {', '.join(missing[1:5])}" if missing[1:] else ""
        raise SourceError(f"{store}/{missing[0]} is not there{count}{more}{', …' if missing[5:] else ''}")
    found = _sort_out(store, files, strays, named)
    if not found.names:
        raise SourceError(_no_shards(store, found, pattern))
    if _GLOB.search(pattern) and (splits := _splits(found.names)):
        found.notes.append(f"shards of several splits are taken together ({splits})")
    return found


def _is_file(store: Store, name: str) -> bool:
    """Return whether a local file has exactly this name, including any braces or wildcards."""
    return store.local is not None and (store.local / name).is_file()


def _other_shard(store: Store, name: str) -> str:
    """Return the name of a local file that is a shard but is not named like one.

    Raises:
        SourceError: The file is not a shard.
    """
    with store.reader(name) as file:
        head = file.read(HEAD)
    try:
        if recognize(head) or looks_like_tar(head):
            return name
    except TarError as error:
        raise SourceError(f"{store}/{name} {error}") from None
    other = stray(name)
    raise SourceError(f"{store}/{name} is not a shard" + (f": {other.reason}" if other else ""))


def _braces(store: Store, pattern: str) -> list[str]:
    for first, last, step in _RANGE.findall(pattern):  # which braceexpand lists as a whole
        if abs(int(last) - int(first)) // max(abs(int(step or 1)), 1) < _MOST_NAMES:
            continue
        raise SourceError(_too_many_names(store, pattern))
    try:
        names = list(islice(braceexpand(pattern), _MOST_NAMES + 1))
    except ValueError as error:
        raise SourceError(f"{store}/{pattern}: its braces cannot be understood ({error})") from None
    if len(names) > _MOST_NAMES:
        raise SourceError(_too_many_names(store, pattern))
    return list(dict.fromkeys(names))


def _too_many_names(store: Store, pattern: str) -> str:
    return f"{store}/{pattern} stands for more than {_MOST_NAMES:,} names: check its braces"


class _Folders:
    """The folders of a store, each listed once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._listed: dict[str, Listing] = {}

    def __getitem__(self, folder: str) -> Listing:
        if folder not in self._listed:
            self._listed[folder] = self.store.listing(folder)
        return self._listed[folder]

    def real(self, folder: str) -> str:
        """Return the path of a folder with all links resolved."""
        return folder if self.store.local is None else os.path.realpath(self.store.local / folder)


def _walk(folders: _Folders, top: str) -> tuple[list[str], list[Stray]]:
    """List all files in a folder and its sub-folders, sorted, and the folders that are skipped."""
    files: list[str] = []
    strays: list[Stray] = []
    seen: dict[str, str] = {}
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        real = folders.real(folder)
        if real in seen:
            strays.append(Stray(folder, f"another name of the folder {seen[real] or '.'}"))
            continue
        if folder.count("/") > _DEEPEST:
            strays.append(Stray(folder, f"more than {_DEEPEST} folders deep"))
            continue
        seen[real] = folder
        listing = folders[folder]
        files += [_join(folder, name) for name in listing.files]
        hidden = [name for name in listing.folders if is_hidden(name)]
        strays += [Stray(_join(folder, name), "hidden folder") for name in hidden if name != ".convert"]
        waiting += [_join(folder, name) for name in reversed(listing.folders) if not is_hidden(name)]
    return sorted(files), strays


def _glob(folders: _Folders, parts: list[str], folder: str, depth: int = 0) -> Iterator[str]:
    """Yield the files in a folder that match the parts of a pattern."""
    first, rest = parts[0], parts[1:]
    if depth > _DEEPEST:
        return
    listing = folders[folder]
    if first == "**":
        yield from _glob(folders, rest or ["*"], folder, depth)
        for name in listing.folders:
            if not is_hidden(name):
                yield from _glob(folders, parts, _join(folder, name), depth + 1)
    elif rest:
        for name in listing.folders:
            if _matches(name, first):
                yield from _glob(folders, rest, _join(folder, name), depth + 1)
    else:
        yield from (_join(folder, name) for name in listing.files if _matches(name, first))


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _sort_out(store: Store, files: Iterable[str], strays: list[Stray], named: Iterable[str] = ()) -> ShardList:
    """Separate shards from other files. Images outside shards are summed up in one line per folder."""
    wanted = set(named)
    found = ShardList(store, [], list(strays))
    images: dict[str, list[str]] = {}
    for name in dict.fromkeys(files):
        if name in wanted or is_shard(name):
            found.names.append(name)
        elif (other := stray(name) or _hidden_shard(store, name)) is not None:
            if other.reason.startswith("an image"):
                images.setdefault(name.rpartition("/")[0], []).append(name)
            else:
                found.strays.append(other)
    for folder, names in images.items():
        reason = "an image in no shard" if len(names) == 1 else f"{len(names):,} images in no shard"
        found.strays.append(Stray(names[0] if len(names) == 1 else f"{folder or '.'}/", reason))
    found.strays.sort()
    return found


def _hidden_shard(store: Store, name: str) -> Stray | None:
    """Describe a local tar without an extension; None for any other file."""
    file = name.rpartition("/")[2]
    if store.local is None or "." in file:
        return None
    try:
        with store.reader(name) as opened:
            head = opened.read(HEAD)
    except OSError:
        return None
    return Stray(name, "a tar without .tar in its name: rename it", lost=True) if looks_like_tar(head) else None


def _splits(names: list[str]) -> str:
    """Describe the splits that shards belong to, "" if there are fewer than two."""
    counts = Counter(split for split in map(split_of, names) if split)
    return ", ".join(f"{split}: {count}" for split, count in sorted(counts.items())) if len(counts) > 1 else ""


def _several_splits(store: Store, names: list[str], splits: str) -> str:
    train = next((name for name in names if split_of(name) == "train"), names[0])
    parts = train.split("/")
    level = next(number for number, part in enumerate(parts) if split_of(part))
    parts[level:] = [parts[level]] if parts[level + 1 :] else ["train*"]
    one = "/".join([str(store), *parts])
    return f"{store} holds shards of several splits ({splits}): choose one, such as '{one}', or all by '{store}/**'"


def _no_shards(store: Store, found: ShardList, pattern: str = "") -> str:
    where = f"{store}/{pattern}" if pattern else str(store)
    if store.local is not None and not store.local.exists():
        return f"{store} is not there: give a folder of shards, a .tar or a pattern"
    text = f"{where} holds no .tar files: give a folder of shards, a .tar or a pattern"
    records = [other for other in found.strays if other.name.lower().endswith(".rec")]
    if records:
        text = f"{where} holds records, not shards: `wds-face convert recordio` reads {records[0].name}"
    elif any("image" in other.reason for other in found.strays):
        text = f"{where} holds images, not shards: `wds-face convert imagefolder` reads one folder per person"
    elif store.local is not None and not _MAGIC.search(pattern) and (hint := recognise.hint(store.local / pattern)):
        text = f"{where} holds no .tar files{hint}"
    elif found.strays:
        text += f" (found {found.strays[0].name}: {found.strays[0].reason})"
    return text
