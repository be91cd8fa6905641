"""Keep the state of a loader in the checkpoints of ``transformers.Trainer``."""

from __future__ import annotations

from typing import Any

from wds_face.errors import WdsFaceError
from wds_face.stream import PKLoader

try:
    from transformers import TrainerCallback
    from transformers.trainer_callback import ExportableState
except ImportError as error:
    raise WdsFaceError("transformers is not installed: pip install 'transformers[torch]'") from error


class LoaderStateCallback(TrainerCallback, ExportableState):  # type: ignore[misc,unused-ignore]
    """Saves the state of the training loader in each checkpoint, and resumes from it.

    For a ``transformers.Trainer`` whose ``get_train_dataloader`` returns a :class:`~wds_face.stream.PKLoader`. The
    state is part of ``trainer_state.json``. Set ``TrainingArguments(ignore_data_skip=True)``: the loader continues with
    the next batch by itself, without reading those before it.

    Raises:
        WdsFaceError: When training begins, if the trainer has another kind of loader or would skip batches itself, or
            if a run is resumed in the middle of an epoch whose number of batches is not a multiple of
            ``gradient_accumulation_steps``, as the trainer would not step after the last batches.
    """

    def __init__(self) -> None:
        self._loader: PKLoader | None = None

    def state(self) -> dict[str, Any]:
        """Return the loader's state in the form that the trainer saves."""
        saved = None if self._loader is None else self._loader.state_dict()
        return {"args": {}, "attributes": {"saved": saved}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Remember the loader, and load its state if training resumes."""
        loader = objects.get("train_dataloader")
        if not isinstance(loader, PKLoader):
            raise WdsFaceError(
                "LoaderStateCallback needs the loader of a PKStream: return stream.loader() from get_train_dataloader"
            )
        self._loader = loader
        if state.global_step == 0:
            return
        if not args.ignore_data_skip:
            raise WdsFaceError(
                "the trainer would skip batches that the loader has skipped already: set "
                "TrainingArguments(ignore_data_skip=True)"
            )
        saved = state.stateful_callbacks.get(type(self).__name__, {}).get("attributes", {}).get("saved")
        if saved is None:
            raise WdsFaceError("the checkpoint has no state of the loader, as it was saved without LoaderStateCallback")
        loader.load_state_dict(saved)
        accumulated = args.gradient_accumulation_steps
        in_the_middle = 0 < loader.stream.batches_from(saved["batch"]) < len(loader)
        if in_the_middle and len(loader) % accumulated:
            raise WdsFaceError(
                f"gradient_accumulation_steps={accumulated} does not divide the {len(loader)} batches of an epoch, "
                "so the trainer cannot resume in the middle of one: choose a divisor, or resume from a checkpoint "
                "at the end of an epoch"
            )
