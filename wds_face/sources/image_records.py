"""List the image records of a ``.rec`` file, and check that none are missing.

The evidence that a file is complete, most reliable first:

- The records themselves. Each states its length, so a file that ends inside one is cut off, and bytes that do not begin
  a record are damage. Records are never guessed.
- The ``.idx``. If it names every image record, nothing else, and no key twice, it belongs to the file. If it also names
  records past the end of the file, the file is cut off, even if the cut is between two records. Any other ``.idx`` does
  not belong to the file.
- The header of InsightFace's layout (key 0, two labels, no image). Its first label is the key after the last image, so
  fewer images mean a cut. It is a float32, and compared as one. Without an ``.idx``, keys are assumed to have no gaps,
  and only a header at the start of the file counts, since a later one may be an identity range.
- The ``property`` file. Its number of identities is often wrong in redistributed data sets, so it counts only if fewer
  are found and neither an ``.idx`` nor a header shows that the file is complete.

A file that was cut exactly between two records and has no ``.idx``, header or ``property`` looks complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from wds_face.errors import RecordError, SourceError
from wds_face.recordio import RecordReader, unpack
from wds_face.sources.source import Skipped

IdxUse = Literal["check", "trust", "ignore"]

#: The value of ``ImageRecords.keys`` for a record without a key.
NO_KEY = -1


class ImageRecords(NamedTuple):
    """The records of a file that are images, in the order of the file."""

    table: NDArray[Any]
    """Their headers, :data:`wds_face.recordio.HEADERS` ``[n]``."""
    keys: NDArray[np.int64]
    """Their keys, ``[n]``; where no index is used, their positions among the records that can be read."""
    skipped: list[Skipped]
    """Images that cannot be read, and damage to the file."""
    notes: list[str]
    """Lines for the user about anything unusual that loses no image."""
    idx: Literal["used", "ignored", "absent"]
    """Whether the ``.idx`` was used."""
    idx_misfit: bool
    """Whether there is an ``.idx`` that does not belong to the file, and so is not used."""


def image_records(path: Path, idx: IdxUse = "check") -> ImageRecords:
    """List the images of a ``.rec`` file by the headers of its records.

    Args:
        path: The ``.rec`` file. An ``.idx`` of the same name next to it is its index.
        idx: Use of the index. ``"check"``: it must belong to the file; otherwise it is reported and not used.
            ``"trust"``: only the images that it lists are taken. ``"ignore"``: it is not read.

    Raises:
        SourceError: There is no image in the file, or it is a Git LFS pointer.
        RecordError: The file cannot be read, or (``"trust"``) its index.
        ValueError: ``idx`` has another value.
    """
    if idx not in get_args(IdxUse):
        raise ValueError(f'idx is "check", "trust" or "ignore", not {idx!r}')
    with RecordReader(path) as reader:
        if not reader.nbytes:
            raise SourceError(f"{path} is empty")
        listing = _list_records(reader, idx)
        listing.report_contents(reader)
        if idx != "trust":
            listing.report_header(reader)
    image = listing.image
    if not image.any():
        why = f": {listing.skipped[0].item}: {listing.skipped[0].reason}" if listing.skipped else ""
        raise SourceError(f"{path} holds no image record{why}")
    table = listing.table[image]
    notes = _compare_property(path, len(np.unique(table["label"])), listing)
    keys = np.flatnonzero(image) if listing.keys is None else listing.keys[image]
    use: Literal["used", "ignored", "absent"] = "used"
    if listing.keys is None:
        use = "absent" if reader.idx is None else "ignored"
    return ImageRecords(table, keys, listing.skipped, notes, use, listing.idx_misfit)


@dataclass
class _Listing:
    """Records in the order of the file, and their problems."""

    table: NDArray[Any]
    """Their headers, :data:`wds_face.recordio.HEADERS` ``[n]``."""
    keys: NDArray[np.int64] | None
    """Their keys, ``[n]``; None if no index is used."""
    skipped: list[Skipped] = field(default_factory=list)
    damage: list[tuple[int, int]] = field(default_factory=list)
    """Stretches of bytes that hold no record: first byte, and the byte after the last."""
    whole: bool = False
    """Whether an index or a header shows that no record is missing at the end."""
    idx_misfit: bool = False
    image: NDArray[np.bool_] = field(init=False)
    """Records that hold an image, ``[n]``; known after :meth:`report_contents`."""

    @property
    def damaged(self) -> bool:
        """Whether damage to the file or its index was found."""
        return any(entry.kind == "container" for entry in self.skipped)

    def report_contents(self, reader: RecordReader) -> None:
        """Find the images, and report unreadable records."""
        name = reader.path.name
        table = self.table
        broken = ~table["ok"]
        empty = (table["nbytes"] == 0) & ~broken
        index_record = empty & (table["flag"] == 2) & ~self._keys_of_images()
        odd = ~np.isfinite(table["label"]) & ~broken & ~empty
        for offset in table["offset"][broken].tolist():
            self.skipped.append(_broken_record(reader, offset))
        for offset in table["offset"][empty & ~index_record].tolist():
            self.skipped.append(Skipped(f"{name} at byte {offset}", "empty"))
        for offset in table["offset"][odd].tolist():
            self.skipped.append(Skipped(f"{name} at byte {offset}", "label is not a number"))
        self.image = ~(broken | empty | odd)

    def report_header(self, reader: RecordReader) -> None:
        """Report the file as cut off if it has fewer images than its header announces, and refuse joined files.

        Images have the keys 1 to ``first`` - 1; missing identity ranges behind them lose nothing.
        """
        header = self._header()
        if header is None:
            return
        first, end = unpack(reader.at(int(self.table["offset"][header])))[0].label.tolist()
        if not 0 < first <= end < np.inf:
            return
        self._refuse_joined(reader, header, first)
        there = len(self.table) if self.keys is None else int(self.keys.max()) + 1
        if np.float32(there) >= np.float32(first):
            self.whole = True
        elif not self.damaged:
            announced = f"its header announces {first - 1:,.0f} images, {there - 1:,} are there"
            why = f"cut off at byte {reader.nbytes}: {announced}"
            self.skipped.append(Skipped(reader.path.name, why, "container"))

    def _refuse_joined(self, reader: RecordReader, header: int, first: float) -> None:
        """Refuse a file with more images than its header announces, some of them after identity ranges.

        Labels of joined files are numbers of different data sets, so the same number stands for several people.

        Raises:
            SourceError: The file was joined from several.
        """
        images = np.flatnonzero(self.image)
        ranges = np.flatnonzero(self.table["ok"] & (self.table["flag"] == 2) & (self.table["nbytes"] == 0))
        ranges = ranges[ranges != header]
        if not len(images) or not len(ranges) or np.float32(len(images) + 1) <= np.float32(first):
            return
        if images[-1] > ranges[0]:
            raise SourceError(
                f"{reader.path}: holds {len(images):,} images, its header announces {first - 1:,.0f}: it looks like "
                "several record files that were joined, whose labels mean different people; convert each on its own"
            )

    def _header(self) -> int | None:
        """Return the row of InsightFace's header; None if there is none."""
        candidates = self.table["ok"] & (self.table["flag"] == 2) & (self.table["nbytes"] == 0)
        if self.keys is None:
            rows = np.flatnonzero(candidates & (self.table["offset"] == 0))
        else:
            rows = np.flatnonzero(candidates & (self.keys == 0))
        return int(rows[0]) if len(rows) else None

    def _keys_of_images(self) -> NDArray[np.bool_]:
        """Return which records the header counts as images; an empty one among them is a lost image.

        Keys are compared in float32, the type of the header. Rounding preserves the order, so no range record is
        mistaken for an image.
        """
        header = self._header()
        if header is None or self.keys is None:
            return np.zeros(len(self.table), bool)
        first = np.float32(self.table["label"][header])
        images: NDArray[np.bool_] = (self.keys.astype(np.float32) < first) & (self.keys != NO_KEY)
        images[header] = False
        return images


def _list_records(reader: RecordReader, idx: IdxUse) -> _Listing:
    if reader.idx is None or idx == "ignore":
        return _walk(reader)
    if idx == "trust":
        return _follow_index(reader)
    try:
        keys, offsets = reader.keys, reader.offsets
    except RecordError as error:
        listing = _walk(reader)
        why = str(error).removeprefix(f"{reader.idx}: ")
        listing.skipped.insert(0, Skipped(reader.idx.name, why, "container"))
        listing.idx_misfit = True
        return listing
    order = np.argsort(offsets, kind="stable")
    table = reader.headers(offsets[order])
    if _covers(table, reader.nbytes) and len(np.unique(keys)) == len(keys):
        return _Listing(table, keys[order], whole=True)
    listing = _walk(reader)
    _compare_index(reader, listing, keys, offsets)
    return listing


def _covers(table: NDArray[Any], nbytes: int) -> bool:
    """Return True if records follow each other from the first byte of the file to the last."""
    if not len(table) or not table["ok"].all():
        return False
    starts = np.append(table["offset"], nbytes)
    ends = np.append(0, table["end"])
    return bool((starts == ends).all())


def _walk(reader: RecordReader) -> _Listing:
    """List the records from front to back; report and skip stretches that hold none."""
    offsets: list[int] = []
    skipped: list[Skipped] = []
    damage: list[tuple[int, int]] = []
    start = 0
    while start < reader.nbytes:
        try:
            for offset, _ in reader.scan(start):
                offsets.append(offset)  # one by one, to keep those before an error
            break
        except RecordError as error:
            start = reader.resync(error.offset)
            reason = f"broken record: {_cause(error)} ({start - error.offset:,} bytes passed over)"
            skipped.append(Skipped(f"{reader.path.name} at byte {error.offset}", reason, "container"))
            damage.append((error.offset, start))
    return _Listing(reader.headers(offsets), None, skipped, damage)


def _compare_index(
    reader: RecordReader, listing: _Listing, keys: NDArray[np.int64], offsets: NDArray[np.int64]
) -> None:
    """Give the records their keys if the index belongs to the file; otherwise report the index."""
    assert reader.idx is not None
    name = reader.path.name
    table = listing.table
    starts = table["offset"]
    images = ~(table["ok"] & (table["nbytes"] == 0) & (table["flag"] == 2))
    missing = int((images & ~np.isin(starts, offsets)).sum())
    beyond = offsets >= reader.nbytes
    strays = int((~np.isin(offsets, starts) & ~beyond & ~_within(offsets, listing.damage)).sum())
    repeated = 2 * len(keys) - len(np.unique(keys)) - len(np.unique(offsets))
    faults = []
    if missing:
        faults.append(f"{missing:,} of {int(images.sum()):,} records {'is' if missing == 1 else 'are'} not in it")
    if strays:
        faults.append(f"{strays:,} of its {len(keys):,} lines {'points' if strays == 1 else 'point'} to no record")
    if repeated:
        faults.append(f"{repeated:,} of its {len(keys):,} lines {'repeats' if repeated == 1 else 'repeat'} another's")
    if faults:
        reason = f"does not belong to {name}: {', '.join(faults)}"
        listing.skipped.insert(0, Skipped(reader.idx.name, reason, "container"))
        listing.idx_misfit = True
        return
    order = np.argsort(offsets)
    places = np.searchsorted(offsets[order], starts)
    listed = np.isin(starts, offsets)
    listing.keys = np.full(len(starts), NO_KEY)
    listing.keys[listed] = keys[order][places[listed]]
    listing.whole = True
    if beyond.any():
        more = int(beyond.sum())
        lists = f"{reader.idx.name} lists {more:,} more {'record' if more == 1 else 'records'}"
        listing.skipped.insert(0, Skipped(name, f"cut off at byte {reader.nbytes}: {lists}", "container"))


def _within(offsets: NDArray[np.int64], stretches: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return which offsets lie within any of the sorted stretches."""
    if not stretches:
        return np.zeros(len(offsets), bool)
    begins, ends = np.array(stretches, np.int64).T
    before = np.searchsorted(begins, offsets, "right") - 1
    return np.asarray((before >= 0) & (offsets < ends[before]), bool)


def _follow_index(reader: RecordReader) -> _Listing:
    """List the records that the index names. As in mxnet, the last line of a repeated key counts."""
    assert reader.idx is not None
    keys = reader.keys
    offsets = reader.offsets
    name = reader.idx.name
    _, last = np.unique(keys[::-1], return_index=True)
    counts = np.zeros(len(keys), bool)
    counts[len(keys) - 1 - last] = True
    skipped = [Skipped(f"{name} key {key}", "duplicate key", "container") for key in keys[~counts].tolist()]
    keys = keys[counts]
    offsets = offsets[counts]
    _, first = np.unique(offsets, return_index=True)
    again = np.ones(len(keys), bool)
    again[first] = False
    for key, offset in zip(keys[again].tolist(), offsets[again].tolist(), strict=True):
        reason = f"second key of the record at byte {offset} of {reader.path.name}"
        skipped.append(Skipped(f"{name} key {key}", reason, "container"))
    table = reader.headers(offsets[first])
    skipped += _unlisted(reader, table)
    return _Listing(table, keys[first], skipped, whole=True)


def _unlisted(reader: RecordReader, table: NDArray[Any]) -> list[Skipped]:
    """Return the stretches of the file that a trusted index does not name."""
    good = table[table["ok"]]
    begins = np.append(0, np.minimum(good["end"], reader.nbytes))
    ends = np.append(good["offset"], reader.nbytes)
    gaps = zip(begins[ends > begins].tolist(), ends[ends > begins].tolist(), strict=True)
    broken = table["offset"][~table["ok"]]
    return [
        Skipped(f"{reader.path.name} bytes {begin} to {end}", "not in the .idx", "other")
        for begin, end in gaps
        if not ((broken >= begin) & (broken < end)).any()  # a broken record is reported by itself
    ]


def _broken_record(reader: RecordReader, offset: int) -> Skipped:
    """Return the entry of a record that cannot be parsed."""
    item = f"{reader.path.name} at byte {offset}"
    try:
        reader.at(offset)
    except RecordError as error:
        return Skipped(item, f"broken record: {_cause(error)}", "container")
    return Skipped(item, "broken record: too short for its header", "item")


def _cause(error: RecordError) -> str:
    """Return the message of a :class:`RecordReader` without the position."""
    return str(error).rpartition(f"byte {error.offset}: ")[2]


def _compare_property(path: Path, identities: int, listing: _Listing) -> list[str]:
    """Compare the number of identities with the ``property`` file. Returns notes, or reports the file as cut off."""
    try:
        first = (path.parent / "property").read_text(encoding="ascii", errors="replace").split(",")[0].strip()
    except OSError:
        return []
    if not first.isdecimal() or int(first) == identities:
        return []
    announced = f"the property file announces {int(first):,} identities, the images of {path.name} have {identities:,}"
    if identities > int(first) or listing.whole or listing.damaged:
        return [announced]
    why = f"may be cut off: {announced}, and neither an .idx nor a header shows that it is whole"
    listing.skipped.append(Skipped(path.name, why, "container"))
    return []
