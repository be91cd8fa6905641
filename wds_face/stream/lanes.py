"""How an epoch is divided, where the user does not say: by the data alone, so that it is the same on any machine."""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray

from wds_face.shards.tar import BLOCK

Ints = NDArray[np.int64]

# Bytes of a segment, which is one range request of an object store: small enough that a lane has many to mix.
_SEGMENT = 256 << 10, 2 << 20
_SEGMENTS = 64

# Divided without rest by most numbers of GPUs times workers.
_LANES = (1, 2, 4, 8, 12, 24, 48)
# Of a lane at least, in p identities and in batches: fewer mix badly, and the last batch of each may be filled.
_IDENTITIES, _BATCHES = 4, 40
# Of the groups, what may come twice before it is said.
_TWICE = 0.05


def groups_of(images: Ints, k: int, every: bool) -> Ints:
    """How often each identity comes in an epoch: once, or as often as its images fill groups of k."""
    return -(-images // k) if every else np.ones(len(images), np.int64)


def default_lanes(images: Ints, p: int, k: int, every: bool) -> int:
    """The most lanes of which each has identities to mix and batches enough."""
    batches = int(groups_of(images, k, every).sum()) // p
    most = min(len(images) // (_IDENTITIES * p), batches // _BATCHES)
    return max(lanes for lanes in _LANES if lanes <= max(1, most))


def segment_size(nbytes: int, lanes: int) -> int:
    """Bytes of a segment: 2 MB, or less where a lane would not have 64 of them, but 256 kB at least."""
    return min(max(nbytes // (lanes * _SEGMENTS), _SEGMENT[0]), _SEGMENT[1])


def default_window(images: Ints, segments: Ints, p: int) -> int:
    """Segments that hold 8 p identities, 64 at least."""
    return max(_SEGMENTS, -(-8 * p * (len(segments) - 1) // max(1, len(images))))


def epoch_length(images: Ints, p: int, k: int, every: bool, lanes: int) -> int:
    """Batches of each lane: all have as many."""
    groups = groups_of(images, k, every)
    return max(-(-int(groups.sum()) // (p * lanes)), -(-int(groups.max()) // lanes))


def packed_size(nbytes: int, images: int, labels: str) -> int:
    """Bytes of images without the tar around them, at most: a header each, and a member for a label has two blocks."""
    return max(0, nbytes - images * BLOCK * (3 if labels == "cls" else 1))


def reading_factor(lanes: int, readers: int) -> int:
    """How many of *readers*, ranks times workers, read each lane; 1 where their number divides that of the lanes."""
    return readers // gcd(readers, lanes)


def summary(
    images: Ints, p: int, k: int, every: bool, lanes: int, *, mixed: int = 0, world_size: int = 1, num_workers: int = 0
) -> dict[str, int]:
    """What an epoch will be.

    Args:
        images: of each row.
        p, k, every, lanes: see :class:`~wds_face.stream.plan.Epoch`.
        mixed: bytes that a lane mixes at a time.
        world_size, num_workers: who reads it.

    Returns:
        ``identities``, ``images``: of the data; ``batches``: of each rank; ``groups``: of k images, that there are;
        ``groups_twice``: that fill the last batches; ``groups_twice_least``: that would with one lane, since an
        identity comes once in a batch; ``images_twice``: that fill groups of identities whose number of images is no
        multiple of k; ``batches_twice``: that come again so that all ranks have as many; ``readers``: ranks times
        workers; ``reading_factor``: how many of them read the same; ``lanes``; ``bytes_mixed``: at a time, by the lanes
        of one reader.
    """
    groups = groups_of(images, k, every)
    batches = epoch_length(images, p, k, every, lanes) * lanes
    readers = world_size * max(1, num_workers)
    return {
        "identities": len(images),
        "images": int(images.sum()),
        "batches": -(-batches // world_size),
        "groups": int(groups.sum()),
        "groups_twice": batches * p - int(groups.sum()),
        "groups_twice_least": epoch_length(images, p, k, every, 1) * p - int(groups.sum()),
        "images_twice": int((groups * k - images).clip(0).sum()),
        "batches_twice": -batches % world_size,
        "readers": readers,
        "reading_factor": reading_factor(lanes, readers),
        "lanes": lanes,
        "bytes_mixed": lanes // gcd(readers, lanes) * mixed,
    }


def advice(plan: dict[str, int], buffer_bytes: int | None) -> list[str]:
    """What to change about *plan*, a summary; *buffer_bytes* of a reader, None where reading twice costs nothing."""
    said = []
    if plan["groups_twice"] - plan["groups_twice_least"] > plan["groups"] * _TWICE:
        said.append(
            f"{plan['groups_twice']} groups come twice, beside {plan['groups']} in all, to fill the last batches of "
            f"{plan['lanes']} lanes: take fewer"
        )
    if buffer_bytes is None:
        return said
    if plan["reading_factor"] > 1:
        said.append(
            f"each byte is read {plan['reading_factor']} times, by as many of the {plan['readers']} readers (ranks x "
            f"workers): take a number that divides lanes={plan['lanes']}, or set lanes to a multiple of it"
        )
    if plan["bytes_mixed"] > buffer_bytes:
        said.append(
            f"the lanes of a reader mix {plan['bytes_mixed'] >> 20} MB at a time, more than its buffer_bytes of "
            f"{buffer_bytes >> 20} MB, so what is dropped is read again: set buffer_bytes to as much, or fewer lanes"
        )
    return said
