"""Log once per stream, not once per worker, that images differ in size from the batches."""

from __future__ import annotations

import logging

from wds_face.shards.sizes import Sizes, share
from wds_face.stream.counters import Counters
from wds_face.transforms.fit import Fit

_log = logging.getLogger("wds_face")

_EFFECTS: dict[Fit, str] = {
    "stretch": "are resized to it",
    "crop": "are cropped to their centred square and resized to it",
    "pad": "are resized to fit in, and padded with black",
}
_SQUASHED = (
    "are stretched to it, which changes the proportions of faces: align them first (docs/images.md), or choose "
    'fit="crop" or fit="pad"'
)


class OtherSizes:
    """Logs how a stream handles images of other sizes.

    Args:
        data_set: Name of the data set, for the message.
        image_size: Width and height of the images in a batch.
        fit: See :func:`~wds_face.transforms.fit.fit_to_square`.
        counters: Counters that the workers share, which record whether the line was logged.
    """

    def __init__(self, data_set: str, image_size: int, fit: Fit, counters: Counters) -> None:
        self.data_set = data_set
        self.image_size = image_size
        self.fit = fit
        self.counters = counters
        self._logged = False

    def log_recorded(self, sizes: Sizes | None) -> None:
        """Log the line from the sizes in the index, before any image is read. Does nothing if it has none."""
        others = 0 if sizes is None else sizes.other_than(self.image_size)
        if sizes is None or not others:
            return
        which = f"{share(others, sizes.images)} of the images are not {self._target} ({sizes.describe()})"
        self._log(which, squashed=self.fit == "stretch" and sizes.not_square > 0)

    def __call__(self, height: int, width: int) -> None:
        """Log the line for an image of another size, unless it was logged already."""
        if not self._logged:
            which = f"there are images that are not {self._target}, such as one of {width}x{height}"
            self._log(which, squashed=self.fit == "stretch" and height != width)

    @property
    def _target(self) -> str:
        return f"{self.image_size}x{self.image_size}"

    def _log(self, which: str, *, squashed: bool) -> None:
        self._logged = True
        if self.counters.first_time("images of other sizes"):
            _log.warning("%s: %s; they %s", self.data_set, which, _SQUASHED if squashed else _EFFECTS[self.fit])
