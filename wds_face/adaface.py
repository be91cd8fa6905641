"""Translate the hyperparameters of AdaFace's and OAML's ``main.py`` into arguments of our ``DataModule``."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from typing import Any

from wds_face.stream import PKStream
from wds_face.transforms import Augmenter

_log = logging.getLogger("wds_face")

# Options of the network, the optimizer and the trainer, which their main.py passes to their DataModule too.
# https://github.com/mk-minchul/AdaFace/blob/c60eaa786a42c03444f3df7096dbaf9d57ae010d/config.py
# https://github.com/adam-a-i/OAML/blob/208da5cd27460f8c9228b824dd3ef286e21cbf5e/config.py
_NOT_ABOUT_DATA = frozenset(
    [
        "accumulate_grad_batches",
        "arch",
        "custom_num_class",
        "distributed_backend",
        "epochs",
        "evaluate",
        "fast_dev_run",
        "gpus",
        "h",
        "head",
        "k_nearest",
        "lr",
        "lr_gamma",
        "lr_milestones",
        "m",
        "momentum",
        "niqab_data_path",
        "occlusion_loss_weight",
        "prefix",
        "resume_from_checkpoint",
        "s",
        "save_all_models",
        "start_from_model_statedict",
        "t_alpha",
        "test_run",
        "total_batch_size",
        "use_16bit",
        "use_occlusion_weighting",
        "use_wandb",
        "weight_decay",
    ]
)


def stream_options(options: Mapping[str, Any], swap_color_channel: bool | None) -> dict[str, Any]:
    """Return the options that a :class:`~wds_face.PKStream` takes. Logs the names of AdaFace's and OAML's others.

    Args:
        options: Arguments of a ``DataModule`` beyond its own.
        swap_color_channel: As given to our ``DataModule``, where it means the opposite of theirs.

    Raises:
        TypeError: An option belongs neither to the stream nor to AdaFace or OAML.
    """
    known = set(inspect.signature(PKStream).parameters) - {"url", "p", "k"}
    unknown = [name for name in options if name not in known and name not in _NOT_ABOUT_DATA]
    if unknown:
        raise TypeError(f"DataModule() got an unexpected keyword argument {unknown[0]!r}")
    ignored = sorted(name for name in options if name not in known)
    if ignored and swap_color_channel is None:
        _log.warning("DataModule ignores what is not about data: %s", ", ".join(ignored))
    elif ignored:
        _log.warning(
            "DataModule ignores what is not about data: %s; swap_color_channel=%s gives %s here, the opposite of "
            "AdaFace and OAML: DataModule.adaface takes it as they do",
            ", ".join(ignored),
            swap_color_channel,
            "BGR" if swap_color_channel else "RGB",
        )
    return {name: value for name, value in options.items() if name in known}


def adaface_arguments(shards: str | os.PathLike[str] | None, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a ``DataModule`` that trains as AdaFace does; see ``DataModule.adaface``.

    Args:
        shards: Shards to read instead of the folders or records that *hparams* name; None to read those.
        hparams: AdaFace's hyperparameters, and arguments of a ``DataModule``, which override AdaFace's settings.

    Raises:
        ValueError: Both *channels* and *swap_color_channel* are given.
    """
    arguments = dict(hparams)
    if shards is not None:
        replaced = [name for name in ("train_data_path", "use_mxrecord") if arguments.pop(name, None)]
        if replaced:
            _log.warning("DataModule.adaface reads %s and ignores %s", shards, " and ".join(replaced))
    swapped = arguments.pop("swap_color_channel", None)
    if swapped is not None and arguments.get("channels") is not None:
        raise ValueError("channels and swap_color_channel are two names of one thing: give only one of them")
    if arguments.get("channels") is None:
        arguments["channels"] = "rgb" if swapped else "bgr"
    arguments.setdefault("num_instances", 1)
    arguments.setdefault("occlusion", None)
    arguments.setdefault("seed", 42)
    if arguments.get("augmenter") is None and arguments.get("transform") is None:
        arguments["augmenter"] = Augmenter(
            crop_prob=arguments.pop("crop_augmentation_prob", 0.2),
            photometric_prob=arguments.pop("photometric_augmentation_prob", 0.2),
            low_res_prob=arguments.pop("low_res_augmentation_prob", 0.2),
            jitter=0.5,
        )
    return arguments
