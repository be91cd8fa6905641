"""A report on a data set: looked at, drawn, and written."""

from __future__ import annotations

import os
import shlex
from typing import Any, Literal

from wds_face.errors import DatasetError
from wds_face.location import local_path
from wds_face.report.about import about
from wds_face.report.page import page
from wds_face.report.sample import read_sample
from wds_face.report.survey import survey
from wds_face.report.training import FLIP, Trainer
from wds_face.shards.index import Index
from wds_face.storage import open_store
from wds_face.transforms.checks import count
from wds_face.units import plural

_BATCHES = 2
_DEFAULT_P = 16


def write_report(
    url: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    p: int | None = None,
    k: int = 4,
    epoch: Literal["images", "identities"] = "images",
    samples: int = 2000,
    seed: int = 0,
    points: Literal["arcface", "casia"] = "arcface",
    storage_options: dict[str, Any] | None = None,
    progress: bool = False,
) -> int:
    """Write a page that shows a data set at a glance: one HTML file that needs no other.

    The same data, seed and options give the same page. It holds photographs and names out of the data: treat it as
    these.

    Args:
        url: the data set's folder, a path or an fsspec URL.
        path: the file to write, in a folder that is there. It appears whole or not at all.
        p: Identities in a batch; by default 16, or as many as there are.
        k, epoch: of the batches and the plan, see :class:`~wds_face.PKStream`.
        samples: how many images to look at.
        seed: of the sample, and of the stream.
        points: where noses and mouths are, for medical masks: ``"arcface"`` for faces aligned to 112 x 112, ``"casia"``
            for the older template.
        storage_options: of fsspec.
        progress: show a bar on a terminal.

    Returns:
        The bytes of the page.

    Raises:
        DatasetError: there is no complete data set, it cannot be read, or it has fewer than *p* identities.
        PathError: *path* is a URL.
        ValueError: a number is out of its range.
    """
    target = local_path(path, "path").absolute()
    k = count("k", k)
    samples = count("samples", samples)
    if p is not None:
        p = count("p", p)
    index = Index.open(url, storage_options)
    if not index.images:
        raise DatasetError(f"{index.store} holds no image")
    asked = _DEFAULT_P if p is None else p
    identities = len(index.identities)
    if p is not None and p > identities:
        raise DatasetError(f"{index.store} has {plural(identities, 'identity')}, fewer than p={p}")
    p = min(asked, identities)
    known = about(index, k)
    trainer = Trainer(index, p=p, k=k, epoch=epoch, seed=seed, points=points)
    looked = survey(read_sample(index, samples, seed, progress=progress))
    training = trainer.look()
    batches = list(trainer.batches(min(_BATCHES, training.summary["batches"]))) if looked.looks else []
    options = {"-p": p, "-k": k, "--epoch": epoch, "--samples": samples, "--seed": seed, "--points": points}
    said = " ".join(f"{name} {value}" for name, value in options.items())
    html = page(
        *(known, looked, training, batches),
        seed=seed,
        p=asked,
        command=f"wds-face report {shlex.quote(known.url)} {said}",
        transforms=(
            f"<code>Augmenter()</code>, <code>flip={FLIP:g}</code> and <code>MedicalMaskOcclusion()</code> with the "
            f"points of {points}"
        ),
    )
    data = html.encode()
    open_store(target.parent).put(target.name, data)
    return len(data)
