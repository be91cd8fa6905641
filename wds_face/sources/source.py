"""What a source of faces must offer to be converted. A new kind of source is one file that does this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from wds_face.pool import Workers

#: Does everything here; the default of :meth:`Source.scan`.
ALONE = Workers(1)


def quiet(_: int) -> None:
    """No progress; the default of :meth:`Source.scan`."""


def keep(_: Workers) -> None:
    """Do nothing; the default of :attr:`Inventory.release`."""


class Image(NamedTuple):
    """An encoded image. ``item`` names it within its source, for reports; ``extension`` has no dot."""

    item: str
    extension: str
    data: bytes | memoryview


SkippedKind = Literal["item", "container", "other"]


class Skipped(NamedTuple):
    """Something in a source that a conversion leaves out, and why.

    Attributes:
        item: Name relative to the source, so that lists from different machines can be compared.
        reason: Short reason why it is left out.
        kind: ``"item"``: an image, a record or a sample that cannot be read. ``"container"``: damage to a file that
            holds many items (a shard, a record file, an ``.idx``). ``"other"``: anything else, such as a text file, a
            hidden folder, or an identity with too few images; nothing is lost.
    """

    item: str
    reason: str
    kind: SkippedKind = "item"


class Part(Protocol):
    """Some identities of a source, small enough to be sent to a worker process or machine."""

    @property
    def fingerprint(self) -> bytes:
        """Changes whenever other images would be read."""
        ...

    def read(self) -> Iterator[Iterable[Image | Skipped]]:
        """The images of each identity in turn, in a fixed order; what cannot be read comes as ``Skipped``."""
        ...


@dataclass(frozen=True)
class Inventory:
    """The identities of a source, in the order of their labels-to-be."""

    names: list[str]
    """Original names: of the folder, or the label in the record or shard."""
    images: NDArray[np.int64]
    """Images of each identity, ``[n]``."""
    nbytes: NDArray[np.int64]
    """Encoded bytes of each identity, ``[n]``."""
    part: Callable[[NDArray[np.int64]], Part]
    """The part that holds the identities with these positions, in this order."""
    skipped: list[Skipped] = field(default_factory=list)
    """What the scan left out."""
    notes: list[str] = field(default_factory=list)
    """What the user should know but nothing was left out for."""
    remedy: str = ""
    """Remedy for a damaged container, for the error message; empty if only a good copy helps."""
    facts: dict[str, Any] = field(default_factory=dict)
    """How the source was read, JSON-able, for example ``{"label_from": "cls"}``. Recorded in ``index.json``."""
    release: Callable[[Workers], object] = keep
    """Removes temporary data that the parts are read from, such as local copies. Call it after reading all parts."""


class Source(Protocol):
    """Where faces come from."""

    kind: str
    """A word for it."""

    @property
    def recursive(self) -> bool:
        """Whether sub-folders of the location are read too."""
        ...

    @property
    def location(self) -> str:
        """The path or URL that is read; nothing may be written within it."""
        ...

    def scan(self, workers: Workers = ..., progress: Callable[[int], object] = ...) -> Inventory:
        """Find every identity without reading the images.

        Args:
            workers: to share the work with.
            progress: told how many images were found since the last time.

        Raises:
            SourceError: this is no source of this kind.
        """
        ...


def by_identity(
    identity: NDArray[np.int64], nbytes: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Group images by identity, keeping their order within each.

    Args:
        identity: identity of each image, ``[m]``, values in 0..count-1.
        nbytes: encoded bytes of each image, ``[m]``.
        count: the number of identities, n.

    Returns:
        order ``[m]`` (images, identity by identity), starts ``[n + 1]`` into it, images ``[n]`` and bytes ``[n]``.
    """
    order = np.argsort(identity, kind="stable")
    images = np.bincount(identity, minlength=count).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(images)]).astype(np.int64)
    sums = np.concatenate([[0], np.cumsum(nbytes[order])])
    return order, starts, images, (sums[starts[1:]] - sums[starts[:-1]]).astype(np.int64)


def runs(starts: NDArray[np.int64], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The positions ``starts[row] … starts[row + 1]`` of each row."""
    return [np.arange(starts[row], starts[row + 1]) for row in rows]
