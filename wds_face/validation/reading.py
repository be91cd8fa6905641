"""Validation sets by name, as AdaFace's ``evaluate_utils.py`` gives them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wds_face.errors import DatasetError, SourceError
from wds_face.location import local_path
from wds_face.validation.benchmarks import BENCHMARKS
from wds_face.validation.convert import convert_validation
from wds_face.validation.images import Images
from wds_face.validation.sets import ValidationSet, check_concat, find_sets, open_set

Issame = NDArray[np.bool_]


def get_val_pair(
    path: str | os.PathLike[str],
    name: str,
    use_memfile: bool = True,
    *,
    channels: Literal["rgb", "bgr"] | None = None,
) -> ValidationSet:
    """A validation set: its images, float32 ``[2 n, 3, 112, 112]`` in [-1, 1], and bool ``[n]``.

    Its memfile is made, of uint8, if there is only ``<name>.bin`` or a carray; two processes may do so at once. What
    differs from the text it follows: a memfile that another run left half-made is not taken for whole, and none is
    opened for writing or mapped.

    Args:
        path: the folder of the sets.
        name: of the set.
        use_memfile: False to take the images from ``<name>.bin`` or the carray.
        channels: the order that they must have; by default they come as they are. Of a memfile that is made, see
            :func:`~wds_face.convert_validation`.

    Returns:
        The images, which are read when they are indexed (:class:`~wds_face.validation.images.Images`), and which pairs
        are of one person.

    Raises:
        SourceError: there is no such set, or it is damaged.
        DatasetError: its images have another order of channels.
    """
    found = find_sets(path, ("memfile", "concat") if use_memfile else ("bin", "carray"))
    if name not in found and use_memfile:
        check_concat(path)
        convert_validation(path, path, [name], channels=channels)
        found = {name: "memfile"}
    if name not in found:
        raise SourceError(f"{Path(path)} has no {name}.bin, and no carray {name}/ with {name}_list.npy")
    images, issame = open_set(path, name, found[name])
    if channels not in (None, images.channels):
        raise DatasetError(
            f"{Path(path)}: the images of {name} are {images.channels}, not {channels}: make them with `wds-face "
            f"convert validation --channels {channels}`, or ask for {images.channels}"
        )
    return images, issame


def get_val_sets(
    path: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    *,
    channels: Literal["rgb", "bgr"] | None = None,
) -> dict[str, ValidationSet]:
    """Validation sets by name, for :class:`~wds_face.FiveValidationDataset`; see :func:`get_val_pair`.

    Args:
        path: the folder of the sets.
        names: by default all that are there, the five benchmarks first.
        channels: the order that all must have.

    Raises:
        SourceError: there is none, or not one of these names.
        DatasetError: images have another order of channels.
    """
    if not local_path(path, "path").exists():
        raise SourceError(f"{local_path(path, 'path')} is not there: give a folder of validation sets")
    names = list(find_sets(path)) if names is None else names
    if not names:
        check_concat(path)
        raise SourceError(
            f"{Path(path)} has no validation set: a .bin, a carray or a memfile, as {', '.join(BENCHMARKS)}"
        )
    return {name: get_val_pair(path, name, channels=channels) for name in names}


def get_val_data(
    data_path: str | os.PathLike[str],
) -> tuple[Images, Images, Images, Issame, Issame, Issame, Images, Issame, Images, Issame]:
    """The five benchmarks, in the order of AdaFace's code; their memfiles are made if need be.

    :func:`get_val_sets` gives any number of them by name.

    Returns:
        agedb_30, cfp_fp, lfw, agedb_30_issame, cfp_fp_issame, lfw_issame, cplfw, cplfw_issame, calfw, calfw_issame.

    Raises:
        SourceError: one is not there.
    """
    sets = get_val_sets(data_path, list(BENCHMARKS))
    (agedb, agedb_same), (cfp, cfp_same), (lfw, lfw_same), (cplfw, cplfw_same), (calfw, calfw_same) = sets.values()
    return agedb, cfp, lfw, agedb_same, cfp_same, lfw_same, cplfw, cplfw_same, calfw, calfw_same
