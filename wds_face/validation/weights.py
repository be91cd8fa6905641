"""Load the weights of a network from the checkpoints that trainers write, without running anything in them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from wds_face.errors import SourceError
from wds_face.location import local_path
from wds_face.units import plural

# Depth to which nested dicts are searched.
_DEEPEST = 6
# Maximum number of names in a message.
_LISTED = 4
# Counts batches. Checkpoints older than PyTorch 0.4.1 do not have it, and it does not change what a network computes.
_OPTIONAL = "num_batches_tracked"


def load_weights(network: nn.Module, path: str | os.PathLike[str], prefix: str | None = None) -> list[str]:
    """Load weights into a network, from a state dict or a checkpoint that holds it at any depth.

    The names in a file are those of its dicts and tensors, joined by dots: a Lightning checkpoint has
    ``state_dict.model.conv1.weight``, one of arcface_torch ``state_dict_backbone.conv1.weight``. The prefix of the
    network's own names is detected.

    Args:
        network: Network to load into. It must have weights.
        path: Local file that ``torch.save`` wrote.
        prefix: Prefix of the network's names in the file, such as ``"state_dict.model."``; detected by default.

    Returns:
        The names of tensors after the same prefix that were not used.

    Raises:
        SourceError: The file is not a checkpoint, lacks weights of the network, has weights of other shapes, or holds
            the network several times.
    """
    file = local_path(path, "weights")
    there = dict(_tensors(_read(file)))
    if not there:
        raise SourceError(f"{file} holds no tensors: save the state_dict() of the network by torch.save")
    wanted = list(network.state_dict())
    needed = [name for name in wanted if not name.endswith(_OPTIONAL)]
    if not needed:
        raise SourceError("the network has nothing to load them into")
    if prefix is None:
        prefix = _find_prefix(str(file), network, there, needed)
    missing = [name for name in needed if prefix + name not in there]
    unused = [name for name in there if name.startswith(prefix) and name.removeprefix(prefix) not in wanted]
    if missing:
        raise SourceError(_describe_missing(str(file), prefix, missing, unused, len(needed)))
    try:
        network.load_state_dict({name: there[prefix + name] for name in wanted if prefix + name in there}, strict=False)
    except RuntimeError as error:
        raise SourceError(f"{file}: {str(error).splitlines()[-1].strip()}") from None
    return unused


class _Ignored:
    """Replaces every object in a file that is not a tensor, a container or a number. Does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _read(file: os.PathLike[str]) -> Any:
    """Read a file that torch.save wrote, without running anything in it."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pass
    except (RuntimeError, EOFError, ValueError, LookupError, UnicodeDecodeError):
        raise SourceError(f"{file} is no state dict: save one by torch.save") from None
    # Lightning stores the hyperparameters next to the weights, which may be objects of any class.
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        with torch.serialization.safe_globals([(_Ignored, name) for name in names]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError):
        raise SourceError(
            f"{file} is no state dict, or holds other objects that would have to be run: save the state_dict() of the "
            "network alone, by torch.save"
        ) from None


def _tensors(state: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors in dicts within dicts, by their names joined by dots."""
    if not isinstance(state, dict) or depth > _DEEPEST:
        return
    for key, value in state.items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{key}", value
        else:
            yield from _tensors(value, f"{prefix}{key}.", depth + 1)


def _find_prefix(file: str, network: nn.Module, there: dict[str, torch.Tensor], needed: list[str]) -> str:
    """Return the prefix of the network's names in a file; if no prefix has all of them, the one that has most."""
    prefixes = _prefixes(there, needed)
    whole = [start for start in prefixes if all(start + name in there for name in needed)]
    if not whole:
        return _best(prefixes, there, needed)
    if "" in whole:
        return ""
    if len(whole) > 1:
        shapes = {name: value.shape for name, value in network.state_dict().items()}
        whole = [start for start in whole if all(there[start + name].shape == shapes[name] for name in needed)] or whole
    if len(whole) > 1:
        where = ", ".join(map(repr, whole[:_LISTED]))
        raise SourceError(f"{file} holds these weights {len(whole)} times, after {where}: choose with --weights-prefix")
    return whole[0]


def _prefixes(there: dict[str, torch.Tensor], needed: list[str]) -> list[str]:
    """Return the prefixes of the network's first or last name in the names of a file, in file order."""
    found: dict[str, None] = {}
    for name in there:
        for end in (needed[0], needed[-1]):
            start = name.removesuffix(end)
            if name.endswith(end) and (not start or start.endswith(".")):
                found[start] = None
    return list(found)


def _best(prefixes: list[str], there: dict[str, torch.Tensor], needed: list[str]) -> str:
    """Return the prefix with which most of the network's names exist."""
    return max(prefixes or [""], key=lambda prefix: sum(prefix + name in there for name in needed))


def _describe_missing(file: str, prefix: str, missing: list[str], unused: list[str], needed: int) -> str:
    where = f" after {prefix!r}" if prefix else ""
    text = (
        f"{file} does not have what the network needs{where}: {_listed(missing)} ({len(missing)} of {needed} missing)"
    )
    if unused:
        text += f"; it has {_listed(unused)} ({plural(len(unused), 'name')} not of the network)"
    return f"{text}. Is --model the network that was trained, and is --weights-prefix right?"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", …" if names[_LISTED:] else "")
