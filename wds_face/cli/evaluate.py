"""``wds-face evaluate``: how well a network tells people apart."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wds_face.errors import WdsFaceError

if TYPE_CHECKING:
    from torch import nn

    from wds_face.validation import Embedded, FiveValidationDataset, Verification

_PICTURES = (".png", ".svg", ".pdf")


@click.command(short_help="10-fold accuracy and TAR at FAR of a network, or of its embeddings.")
@click.argument("val", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--embeddings",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A .npy with a row for each image of the sets, in their order.",
)
@click.option(
    "--model", metavar="MODULE:NAME", help="A torch network, or a function or class that makes one: net:ir_50."
)
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="With --model: its state dict, or a checkpoint that holds it.",
)
@click.option("--names", metavar="A,B", help="Only these sets [default: all that are there].")
@click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="What the network was trained on, to be checked.")
@click.option("--flip/--no-flip", default=True, show_default=True, help="Add the embedding of the mirrored image.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True, metavar="N")
@click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True, metavar="N", help="Processes.")
@click.option("--device", metavar="DEVICE", help="Of torch [default: cuda if there is one].")
@click.option(
    "--save", type=click.Path(dir_okay=False), metavar="FILE", help="Keep the embeddings, as --embeddings takes."
)
@click.option("--roc", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the ROC: a .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def evaluate(
    *, val: str, embeddings: str | None, model: str | None, weights: str | None, names: str | None,
    channels: Any, flip: bool, batch_size: int, workers: int, device: str | None, save: str | None, roc: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Verification on the sets in VAL, by the protocol of LFW: accuracy over 10 folds, and TAR at FAR.

    VAL is a folder of .bin files or memfiles; see `wds-face convert validation`. Memfiles are made where there are
    none. Images are RGB or BGR as the sets say.

    \b
    Examples:
      wds-face evaluate val/ --model net:ir_50 --weights backbone.pth --roc roc.png
      wds-face evaluate val/ --embeddings lfw.npy --names lfw
    """
    from wds_face.validation import FiveValidationDataset, evaluate_benchmarks, get_val_sets, save_roc, table  # noqa: PLC0415

    if (embeddings is None) == (model is None):
        raise click.UsageError("give either --model or --embeddings.")
    if weights is not None and model is None:
        raise click.UsageError("--weights are of a --model: give that too.")
    if roc is not None and (Path(roc).suffix.lower() not in _PICTURES or not Path(roc).absolute().parent.is_dir()):
        raise click.BadParameter(
            f"{roc} must end in {', '.join(_PICTURES)}, in a folder that is there.", param_hint="--roc"
        )
    wanted = [name.strip() for name in names.split(",") if name.strip()] if names else None
    dataset = FiveValidationDataset(get_val_sets(val, wanted, channels=channels))
    if embeddings is not None:
        found = _saved(embeddings, dataset)
    else:
        network = _network(str(model), weights, device)
        found = _embedded(network, dataset, flip=flip, batch_size=batch_size, workers=workers)
    if save is not None:
        _save(save, found)
    try:
        results = evaluate_benchmarks(*found, names=dataset.dataname_to_idx)
    except ValueError as error:
        raise click.ClickException(f"{val}: {error}; --names chooses sets") from None
    click.echo(json.dumps({name: _plain(result) for name, result in results.items()}) if as_json else table(results))
    if roc is not None:
        save_roc(roc, results)


def _saved(file: str, dataset: FiveValidationDataset) -> Embedded:
    import numpy as np  # noqa: PLC0415

    from wds_face.validation import Embedded  # noqa: PLC0415

    try:
        rows = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError):
        rows = None
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu":
        raise click.BadParameter(f"{file} is no .npy of numbers.", param_hint="--embeddings")
    if rows.ndim != 2 or len(rows) != len(dataset):
        raise click.BadParameter(
            f"{file} has the shape {list(rows.shape)}: a row for each of {len(dataset):,} images is needed.",
            param_hint="--embeddings",
        )
    return Embedded(rows, dataset.all_issame, dataset.all_dataname, np.arange(len(dataset)))


def _embedded(
    network: nn.Module, dataset: FiveValidationDataset, *, flip: bool, batch_size: int, workers: int
) -> Embedded:
    from torch.utils.data import DataLoader  # noqa: PLC0415

    from wds_face.progress import bar  # noqa: PLC0415
    from wds_face.validation import embed  # noqa: PLC0415

    loader = DataLoader(dataset, batch_size=batch_size, num_workers=workers)
    with bar("embedding", len(dataset), True) as shown:

        def counted() -> Any:
            for batch in loader:
                yield batch
                shown.update(len(batch[0]))

        try:
            return embed(network, counted(), flip=flip)
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, WdsFaceError):
                raise
            said = str(error).partition("\n")[0]
            raise click.ClickException(
                f"the network did not take images {list(dataset[0][0].shape)}: {said}"
            ) from error


def _save(file: str, found: Embedded) -> None:
    import io  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    from wds_face.storage import open_store  # noqa: PLC0415

    data = io.BytesIO()
    np.save(data, found.embeddings)
    path = Path(os.path.abspath(file))
    open_store(path.parent).put(path.name, data.getvalue())


def _network(name: str, weights: str | None, device: str | None) -> nn.Module:
    """The network that ``module:name`` is, or makes."""
    import torch  # noqa: PLC0415

    module, _, attribute = name.partition(":")
    hint = "--model"
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise click.BadParameter(
            f"{name}: {error}. Write it like net:ir_50, for net.py here.", param_hint=hint
        ) from None
    if not isinstance(made, torch.nn.Module) and callable(made):
        try:
            made = made()
        except TypeError as error:
            why = f"{name} cannot be called without arguments ({error}): write a function that gives them."
            raise click.BadParameter(why, param_hint=hint) from None
    if not isinstance(made, torch.nn.Module):
        raise click.BadParameter(f"{name} is {type(made).__name__}, and makes no network.", param_hint=hint)
    if weights is not None:
        _load(made, weights)
    try:
        return made.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError) as error:
        raise click.BadParameter(str(error).partition("\n")[0][:200], param_hint="--device") from None


def _load(network: nn.Module, weights: str) -> None:
    """Load a state dict, also out of a checkpoint, where its names begin with those of who trained it."""
    import pickle  # noqa: PLC0415 (for its error)

    import torch  # noqa: PLC0415

    hint = "--weights"
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        raise click.BadParameter(f"{weights} is no state dict: save one by torch.save.", param_hint=hint) from None
    while isinstance(state, dict) and (inner := [key for key in ("state_dict", "model", "recognizer") if key in state]):
        state = state[inner[0]]
    names = list(network.state_dict())
    if not names:
        raise click.BadParameter("the network has nothing to load them into.", param_hint=hint)
    there = state if isinstance(state, dict) else {}
    ends = (str(key).removesuffix(names[0]) for key in there if str(key).endswith(names[0]))
    prefix = next((start for start in ends if all(start + name in there for name in names)), None)
    if prefix is None:
        raise click.BadParameter(f"{weights} does not have what the network needs: {names[0]}, …", param_hint=hint)
    try:
        network.load_state_dict({name: there[prefix + name] for name in names})
    except RuntimeError as error:
        raise click.BadParameter(f"{weights}: {str(error).splitlines()[-1].strip()}", param_hint=hint) from None


def _plain(result: Verification) -> dict[str, Any]:
    return {
        "pairs": result.pairs,
        "accuracy": result.accuracy,
        "accuracy_std": result.accuracy_std,
        "threshold": float(result.thresholds.mean()),
        "tar": {f"{far:g}": value for far, value in result.tar.items()},
        "auc": result.auc,
    }
