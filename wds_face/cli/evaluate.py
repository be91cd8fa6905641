"""``wds-face evaluate``: how well a network tells people apart."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wds_face.cli import options
from wds_face.cli.options import print_json
from wds_face.cli.paths import LocalPath, OutputFile
from wds_face.errors import SourceError, WdsFaceError
from wds_face.units import plural

if TYPE_CHECKING:
    from torch import nn

    from wds_face.validation import Embedded, FiveValidationDataset, Verification

_PICTURES = (".png", ".svg", ".pdf")


@click.command(short_help="10-fold accuracy and TAR at FAR of a network, or of its embeddings.")
@click.argument("val", type=LocalPath(exists=True, file_okay=False))
@click.option(
    "--embeddings",
    type=LocalPath(exists=True, dir_okay=False),
    metavar="FILE",
    help="A .npy with a row for each image of the sets, in their order.",
)
@click.option(
    "--model", metavar="MODULE:NAME", help="A torch network, or a function or class that makes one: net:ir_50."
)
@click.option(
    "--weights",
    type=LocalPath(exists=True, dir_okay=False),
    metavar="FILE",
    help="With --model: its state dict, or a checkpoint of Lightning, arcface_torch or others that holds it.",
)
@click.option(
    "--weights-prefix",
    metavar="NAMES",
    help="Prefix of the network's parameter names in --weights, as in state_dict.model. [default: detected].",
)
@options.sets
@click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="What the network was trained on, to be checked.")
@click.option("--flip/--no-flip", default=True, show_default=True, help="Add the embedding of the mirrored image.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True, metavar="N")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    metavar="N",
    help="Worker processes that read images; 0 for none.",
)
@click.option("--device", metavar="DEVICE", help="Torch device [default: cuda if available].")
@click.option("--save", type=OutputFile(), metavar="FILE", help="Save the embeddings, for use with --embeddings.")
@click.option("--roc", type=OutputFile(), metavar="FILE", help="Plot the ROC curve to a .png, .svg or .pdf file.")
@options.as_json
@options.quiet
def evaluate(
    *, val: str, embeddings: str | None, model: str | None, weights: str | None, weights_prefix: str | None,
    names: str | None,
    channels: Any, flip: bool, batch_size: int, workers: int, device: str | None, save: str | None, roc: str | None,
    as_json: bool, quiet: bool,
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
    from wds_face.validation.roc import require_matplotlib  # noqa: PLC0415

    if (embeddings is None) == (model is None):
        raise click.UsageError("give either --model or --embeddings.")
    if weights_prefix is not None and weights is None:
        raise click.UsageError("--weights-prefix applies to --weights: give both.")
    if weights is not None and model is None:
        raise click.UsageError("--weights are of a --model: give that too.")
    if roc is not None:
        if Path(roc).suffix.lower() not in _PICTURES:
            raise click.BadParameter(f"{roc} must end in {', '.join(_PICTURES)}.", param_hint="--roc")
        require_matplotlib()  # fail before the work starts
    wanted = [name.strip() for name in names.split(",") if name.strip()] if names else None
    dataset = FiveValidationDataset(get_val_sets(val, wanted, channels=channels))
    if embeddings is not None:
        found = _saved(embeddings, dataset)
    else:
        network = _network(str(model), weights, weights_prefix, device, quiet=quiet)
        found = _embedded(network, dataset, flip=flip, batch_size=batch_size, workers=workers, progress=not quiet)
    if save is not None:
        _save(save, found)
    try:
        results = evaluate_benchmarks(*found, names=dataset.dataname_to_idx)
    except ValueError as error:
        raise click.ClickException(f"{val}: {error}; --names chooses sets") from None
    if as_json:
        print_json({name: _plain(result) for name, result in results.items()})
    elif not quiet:
        click.echo(table(results))
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
            f"{file} has the shape {list(rows.shape)}: a row for each of {plural(len(dataset), 'image')} is needed.",
            param_hint="--embeddings",
        )
    return Embedded(rows, dataset.all_issame, dataset.all_dataname, np.arange(len(dataset)))


def _embedded(
    network: nn.Module,
    dataset: FiveValidationDataset,
    *,
    flip: bool,
    batch_size: int,
    workers: int,
    progress: bool,
) -> Embedded:
    from torch.utils.data import DataLoader  # noqa: PLC0415

    from wds_face.progress import bar  # noqa: PLC0415
    from wds_face.validation import embed  # noqa: PLC0415

    loader = DataLoader(dataset, batch_size=batch_size, num_workers=workers)
    with bar("embedding", len(dataset), progress) as shown:

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


def _network(name: str, weights: str | None, prefix: str | None, device: str | None, *, quiet: bool) -> nn.Module:
    """The network that ``module:name`` is, or makes."""
    import torch  # noqa: PLC0415

    from wds_face.validation.weights import load_weights  # noqa: PLC0415

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
        try:
            unused = load_weights(made, weights, prefix)
        except SourceError as error:
            raise click.BadParameter(f"{error}.".replace("?.", "?"), param_hint="--weights") from None
        if unused and not quiet:
            more = f", … ({len(unused)} in all)" if unused[3:] else ""
            click.echo(f"note: unused entries of {weights}: {', '.join(unused[:3])}{more}", err=True)
    try:
        return made.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError) as error:
        raise click.BadParameter(str(error).partition("\n")[0][:200], param_hint="--device") from None


def _plain(result: Verification) -> dict[str, Any]:
    return {
        "pairs": result.pairs,
        "accuracy": result.accuracy,
        "accuracy_std": result.accuracy_std,
        "threshold": float(result.thresholds.mean()),
        "tar": {f"{far:g}": value for far, value in result.tar.items()},
        "auc": result.auc,
    }
