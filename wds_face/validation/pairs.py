"""A verification set of one's own: pairs of images from shards."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wds_face.errors import SourceError
from wds_face.images import EXTENSIONS
from wds_face.shards.index import Index
from wds_face.shards.samples import extension
from wds_face.shards.tar import walk
from wds_face.validation.bins import Encoded

Ints = NDArray[np.int64]

_ROUNDS = 200  # in which a pair that was drawn before is drawn again


def draw_pairs(
    url: str | os.PathLike[str],
    pairs: int,
    *,
    seed: int = 0,
    max_images: int | None = None,
    image_size: int = 112,
    storage_options: dict[str, Any] | None = None,
) -> tuple[Encoded, NDArray[np.bool_]]:
    """Pairs of images of one person and of two, in turn, none of them twice: their images, and bool ``[pairs]``.

    Identities are drawn evenly, then images of each, so that one with many images does not come more often.

    Args:
        url: of a data set that ``wds-face convert`` made.
        pairs: how many, half of them of one person.
        seed: of the choice, which depends on nothing else but the data set.
        max_images: leave out identities with more. With ``PKStream(min_images=max_images + 1)`` the pairs are of
            people that the network has not seen.
        image_size: images of another size are resized to this.
        storage_options: of fsspec.

    Raises:
        SourceError: there are not so many pairs.
        DatasetError: there is no complete data set.
    """
    index = Index.open(url, storage_options)
    images = index.identities["images"].astype(np.int64)
    rows = np.arange(len(images)) if max_images is None else np.flatnonzero(images <= max_images)
    rng = np.random.default_rng([seed, pairs])
    genuine = _draw(rng, rows[images[rows] > 1], images, (pairs + 1) // 2, same=True)
    impostor = _draw(rng, rows, images, pairs // 2, same=False)
    if len(genuine) + len(impostor) < pairs:
        of = "" if max_images is None else f" of people with at most {max_images} images"
        found = f"{len(genuine):,} pairs of one person and {len(impostor):,} of two were found"
        raise SourceError(f"{index.store}: {found}{of}: ask for fewer than {pairs:,}")
    wanted = np.empty((pairs, 2, 2), np.int64)  # of each image the row, and which of its images
    wanted[::2], wanted[1::2] = genuine, impostor
    files = _read(index, wanted.reshape(-1, 2))
    return Encoded(files, str(index.store), image_size), np.arange(pairs) % 2 == 0


def _draw(rng: np.random.Generator, rows: Ints, images: Ints, number: int, *, same: bool) -> Ints:
    """``[number, 2, 2]``, or fewer where there are no more."""
    found: dict[tuple[tuple[int, int], ...], None] = {}
    for _ in range(_ROUNDS):
        if len(found) == number or not len(rows):
            break
        who = rows[rng.integers(len(rows), size=(number, 2))]
        if same:
            who[:, 1] = who[:, 0]
        which = rng.integers(images[who])
        for pair in np.stack([who, which], axis=2).tolist():
            first, second = sorted(map(tuple, pair))
            if first != second and (first[0] == second[0]) == same and len(found) < number:
                found.setdefault((first, second))
    return np.array(list(found), np.int64).reshape(-1, 2, 2)


def _read(index: Index, wanted: Ints) -> list[bytes]:
    """The bytes of images, each given by its row and its number in it. A row is read once."""
    files = [b""] * len(wanted)
    by_row = np.argsort(wanted[:, 0], kind="stable")
    for part in np.split(by_row, np.flatnonzero(np.diff(wanted[by_row, 0])) + 1):
        row = index.identities[wanted[part[0], 0]]
        start, end = int(row["offset"]), int(row["offset"] + row["nbytes"])
        (run,) = index.store.ranges([index.shards[row["shard"]].name], [start], [end])
        if isinstance(run, Exception):
            raise run
        members = [member for member in walk(memoryview(run), ends=False) if extension(member) in EXTENSIONS]
        for place in part.tolist():
            member = members[wanted[place, 1]]
            files[place] = run[member.data : member.data + member.size]
    return files
