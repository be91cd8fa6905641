"""Embeddings of a validation set, by a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from wds_face.validation.verification import Flags, Ints, as_array, as_flags


class Embedded(NamedTuple):
    """Embeddings of the rows of a validation set, as :func:`~wds_face.evaluate_benchmarks` takes them.

    Attributes:
        embeddings: float32 [m, d].
        issame: bool [m].
        dataname: int64 [m], the number of the benchmark.
        index: int64 [m], the position in the whole data set.
    """

    embeddings: NDArray[np.float32]
    issame: Flags
    dataname: Ints
    index: Ints  # type: ignore[assignment]  # a tuple's own index() is not missed


def embed(
    model: Callable[[torch.Tensor], Any],
    loader: Iterable[Sequence[Any]],
    *,
    flip: bool = True,
    device: torch.device | str | None = None,
) -> Embedded:
    """Embed a validation set: ``evaluate_benchmarks(*embed(model, loader))``.

    A torch module is in eval mode meanwhile; afterwards, also after an error, each of its parts is as it was.

    Args:
        model: any callable of images that returns embeddings [B, d], or a tuple that begins with them, as the nets of
            AdaFace do. It is not moved. Images are cast to the dtype of a module's first parameter, so that float16 and
            bfloat16 networks accept them; embeddings are summed in float32.
        loader: yields (images float32 [B, 3, 112, 112], issame [B], dataname [B], index [B]).
        flip: add the embedding of the mirrored image, neither normalised, as InsightFace does.
        device: where images go; by default where the model's first parameter is, else the CPU.

    Raises:
        TypeError: if the model returns no tensor.
        ValueError: if it returns one of another shape, or the loader yields no batches or others.
    """
    parts = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    modes = [part.training for part in parts]
    parameter = next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None
    if device is None:
        device = torch.device("cpu") if parameter is None else parameter.device
    dtype = parameter.dtype if parameter is not None and parameter.is_floating_point() else None
    embeddings, columns = [], []
    try:
        if isinstance(model, torch.nn.Module):
            model.eval()
        with torch.inference_mode():
            for batch in loader:
                if len(batch) != 4:
                    raise ValueError(f"a batch must be (images, issame, dataname, index), not {len(batch)} parts")
                images = batch[0].to(device, dtype, non_blocking=True)
                found = _embedding(model, images)
                if flip:
                    found += _embedding(model, images.flip(-1))
                embeddings.append(found.cpu())
                # Copied, because tensors that came from a worker keep a file open each.
                columns.append([as_array(column).copy() for column in batch[1:]])
    finally:
        if isinstance(model, torch.nn.Module):
            model.train(modes[0])  # what a model of its own does there; this sets all parts alike
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
    if not embeddings:
        raise ValueError("the loader yields no batches")
    issame, dataname, index = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Embedded(torch.cat(embeddings).numpy(), as_flags(issame), dataname.astype(np.int64), index.astype(np.int64))


def _embedding(model: Callable[[torch.Tensor], Any], images: torch.Tensor) -> torch.Tensor:
    """float32 [B, d], a copy: a compiled model may write its next result into the same memory."""
    found = model(images)
    if isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"the model must return a tensor or a tuple that begins with one, not {type(found).__name__}")
    if found.ndim != 2 or len(found) != len(images):
        raise ValueError(f"the model must return ({len(images)}, d) for {len(images)} images, not {tuple(found.shape)}")
    return found.to(torch.float32, copy=True)
