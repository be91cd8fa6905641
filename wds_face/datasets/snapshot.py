"""One augmented sample, saved for a look at it."""

from __future__ import annotations

import os
import uuid
from typing import Any

from PIL import Image
from torch.utils.data import get_worker_info

from wds_face.location import local_path
from wds_face.transforms.forms import image_array


class Snapshot:
    """Saves the first sample that it is shown as ``<output_dir>/training_samples/sample.jpg``.

    One is saved for each data set, by the main process or by worker 0, whichever is first. It replaces that of an
    earlier run.

    Args:
        output_dir: created if it is not there.
        reverse: the samples' channels are in the order BGR, so turn them to save.

    Raises:
        PathError: it is a URL.
        OSError: the folder cannot be made, or later the file not written.
    """

    def __init__(self, output_dir: str | os.PathLike[str], *, reverse: bool = False) -> None:
        self.path = local_path(output_dir, "output_dir") / "training_samples" / "sample.jpg"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._reverse = reverse
        # Stands in the file, so that the worker 0 of the next epoch, a new process, sees that its data set has one.
        self._mark = f"wds_face {uuid.uuid4().hex}".encode()
        self._done = False

    def take(self, sample: Any) -> None:
        """Save this sample (PIL image or uint8 array ``[H, W, 3]``), unless one was."""
        if self._done:
            return
        self._done = True
        worker = get_worker_info()
        if (worker is not None and worker.id != 0) or self._saved():
            return
        pixels, _ = image_array(sample)
        draft = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.tmp")  # in the same folder, for os.replace
        try:
            image = Image.fromarray(pixels[..., ::-1] if self._reverse else pixels)
            image.save(draft, "JPEG", quality=95, comment=self._mark)
            os.replace(draft, self.path)
        finally:
            draft.unlink(missing_ok=True)

    def _saved(self) -> bool:
        try:
            with Image.open(self.path) as image:
                return image.info.get("comment") == self._mark
        except (OSError, SyntaxError, ValueError):  # none, or something else by that name
            return False
