"""How many images identities have: the numbers to choose P, K and ``min_images`` by."""

from __future__ import annotations

from typing import Any

import numpy as np

from wds_face.shards.index import Index

#: Lower ends of the bins of :func:`census`.
BINS = (1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500, 1000)


def census(index: Index, *, k: int = 4) -> dict[str, Any]:
    """Counts of a data set, JSON-able.

    Args:
        index: of the data set.
        k: images per identity in a batch; identities with fewer are counted.

    Returns:
        ``identities``, ``images``, ``shards``, ``bytes`` of tar; ``images_per_identity`` with min, median, mean, max;
        ``below_k`` with k, identities, share and the share of all images that they have; ``histogram``: a list of
        (least, most, identities), ``most`` None for the last; ``sizes`` of the images as
        returned by :meth:`~wds_face.shards.sizes.Sizes.to_json`, or None if the index does not record them.
    """
    images = index.identities["images"].astype(np.int64)
    few = images < k
    edges = [*BINS, np.iinfo(np.int64).max]
    counts, _ = np.histogram(images, edges)
    last = max(np.flatnonzero(counts).tolist(), default=0)
    most = [low - 1 for low in BINS[1:]] + [None]
    total = max(int(images.sum()), 1)
    return {
        "identities": len(images),
        "images": int(images.sum()),
        "shards": len(index.shards),
        "bytes": sum(shard.nbytes for shard in index.shards),
        "images_per_identity": {
            "min": int(images.min()) if len(images) else 0,
            "median": float(np.median(images)) if len(images) else 0.0,
            "mean": total / max(len(images), 1),
            "max": int(images.max()) if len(images) else 0,
        },
        "below_k": {
            "k": k,
            "identities": int(few.sum()),
            "share": float(few.mean()) if len(images) else 0.0,
            "share_of_images": float(images[few].sum() / total),
        },
        "histogram": [(BINS[i], most[i], int(counts[i])) for i in range(last + 1)],
        "sizes": None if index.sizes is None else index.sizes.to_json(),
        "made": index.made,
    }
