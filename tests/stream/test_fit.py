"""Images of other sizes in the stream: what is done with them, and what is said about it."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import PILToTensor

from tests.support import command, jpeg
from wds_face import MedicalMaskOcclusion, PKStream, SyntheticOcclusionMask
from wds_face.conversion.convert import convert
from wds_face.sources import ImageFolder

OPTIONS: dict[str, Any] = {"p": 3, "k": 2, "image_size": 24, "output": "uint8"}


def png(width: int, height: int) -> bytes:
    """White, so that what is not of the image can be told from it."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (255, 255, 255)).save(file, "PNG")
    return file.getvalue()


def folder_of(path: Path, sizes: list[tuple[int, int]]) -> Path:
    """Two white images of each size, an identity for each."""
    for number, size in enumerate(sizes):
        for image in range(2):
            file = path / f"p{number:02d}" / f"{image}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(*size))
    return path


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Half of the images have the size of the batches, half are twice as wide as high."""
    folder = folder_of(tmp_path / "wide", [(24, 24), (60, 30)] * 4)
    convert(ImageFolder(folder), tmp_path / "shards", workers=1)
    return tmp_path / "shards"


def without_sizes(shards: Path) -> Path:
    """The same data set with an index that does not say what sizes its images have."""
    for name in ("index.json", "identities.npy", "checksums.npy", "skipped.tsv"):
        (shards / name).unlink()
    assert command("index", shards, "--workers", 1) == 0
    return shards


@pytest.mark.parametrize("transform", [None, PILToTensor()], ids=["ours", "transform"])
@pytest.mark.parametrize(("fit", "white"), [("stretch", 24 * 24), ("crop", 24 * 24), ("pad", 24 * 12)])
def test_the_fit_is_that_of_both_paths(wide: Path, transform: Any, fit: Any, white: int) -> None:
    counts = set()
    for images, _ in PKStream(wide, fit=fit, transform=transform, **OPTIONS):
        counts |= set((images == 255).all(1).sum((1, 2)).tolist())
    assert counts == {24 * 24, white}


def test_stretching_is_the_default(wide: Path) -> None:
    plain = [images.numpy() for images, _ in PKStream(wide, **OPTIONS)]
    stretched = [images.numpy() for images, _ in PKStream(wide, fit="stretch", **OPTIONS)]
    assert all(np.array_equal(one, two) for one, two in zip(plain, stretched, strict=True))


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_the_batches_do_not_depend_on_workers(wide: Path, fit: Any) -> None:
    options = {**OPTIONS, "occlusion": SyntheticOcclusionMask(prob=1), "flip": 0.5}
    whole = list(PKStream(wide, fit=fit, **options))
    for workers in (1, 2):
        others = list(PKStream(wide, fit=fit, **options).loader(num_workers=workers))
        assert len(whole) == len(others)
        for one, other in zip(whole, others, strict=True):
            assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(one, other, strict=True))


def test_masks_lie_on_the_result(wide: Path) -> None:
    """The picture of a medical mask covers the same pixels, however the image came to its size."""
    masks = {}
    for fit in ("stretch", "crop", "pad"):
        stream = PKStream(wide, fit=fit, occlusion=MedicalMaskOcclusion(prob=1), **OPTIONS)  # type: ignore[arg-type]
        masks[fit] = np.concatenate([mask.numpy() for _, _, mask in stream])
    assert (masks["stretch"] == 0).any()
    assert np.array_equal(masks["stretch"], masks["crop"])
    assert np.array_equal(masks["stretch"], masks["pad"])


def test_a_state_goes_on_with_another_fit(wide: Path) -> None:
    """Which images meet in a batch does not depend on it."""
    stream = PKStream(wide, fit="pad", **OPTIONS)
    batches = list(stream)
    first = PKStream(wide, fit="pad", **OPTIONS)
    next(iter(first))
    state = json.loads(json.dumps(first.state_dict()))
    other = PKStream(wide, fit="crop", **OPTIONS)
    other.load_state_dict(state)
    assert [labels.tolist() for _, labels in other] == [labels.tolist() for _, labels in batches[1:]]


def test_another_fit_is_an_error(wide: Path) -> None:
    with pytest.raises(ValueError, match="fit is"):
        PKStream(wide, fit="squash", **OPTIONS)  # type: ignore[arg-type]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if " are not 24x24" in record.getMessage()]


def test_it_is_logged_once_from_the_index(wide: Path, caplog: pytest.LogCaptureFixture) -> None:
    stream = PKStream(wide, **OPTIONS)
    list(stream)
    list(stream)
    (line,) = said(caplog)
    assert line.startswith(f"{wide}: 50.0% of the images are not 24x24 (24x24 50.0%, 60x30 50.0%)")
    assert "stretched" in line
    assert 'fit="crop"' in line
    assert logging.WARNING in {record.levelno for record in caplog.records}
    caplog.clear()
    PKStream(wide, fit="pad", **OPTIONS)
    assert "padded with black" in said(caplog)[0]
    caplog.clear()
    PKStream(wide, fit="crop", **OPTIONS)
    assert "cropped to their centred square" in said(caplog)[0]


def test_square_images_of_another_size_are_resized(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert(ImageFolder(folder_of(tmp_path / "f", [(30, 30)] * 4)), tmp_path / "shards", workers=1)
    PKStream(tmp_path / "shards", **OPTIONS)
    (line,) = said(caplog)
    assert line.endswith("100% of the images are not 24x24 (30x30 100%); they are resized to it")


def test_nothing_is_logged_where_all_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert(ImageFolder(folder_of(tmp_path / "f", [(24, 24)] * 4)), tmp_path / "shards", workers=1)
    for shards in (tmp_path / "shards", without_sizes(tmp_path / "shards")):
        list(PKStream(shards, **OPTIONS))
    assert not said(caplog)


@pytest.mark.parametrize("transform", [None, PILToTensor()], ids=["ours", "transform"])
def test_it_is_logged_once_when_such_an_image_is_met(
    wide: Path, transform: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stream = PKStream(without_sizes(wide), transform=transform, **OPTIONS)
    assert not said(caplog)
    list(stream)
    list(stream)
    (line,) = said(caplog)
    assert "such as one of 60x30; they are stretched" in line


EPOCHS = """
import sys
from wds_face import PKStream

if __name__ == "__main__":
    stream = PKStream(sys.argv[1], p=3, k=2, image_size=24)
    loader = stream.loader(num_workers=2, multiprocessing_context=sys.argv[2])
    for epoch in range(2):
        loader.set_epoch(epoch)
        for batch in loader:
            pass
"""


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_it_is_logged_once_for_all_workers(wide: Path, context: str, tmp_path: Path) -> None:
    """In a process of its own, as workers write to its standard error."""
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {context} here")
    script = tmp_path / "epochs.py"
    script.write_text(EPOCHS)
    shards = without_sizes(wide)
    done = subprocess.run(
        [sys.executable, str(script), str(shards), context], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stderr.count(" are not 24x24") == 1, done.stderr


def test_images_that_replace_others_fit_too(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", [(60, 30)] * 4)
    shards = tmp_path / "shards"
    broken = bytearray(jpeg(0))
    frame = broken.index(b"\xff\xc0")
    broken[frame + 5 : frame + 9] = bytes(4)  # 0 x 0 pixels, which convert does not look at
    (folder / "p00" / "0.png").unlink()
    (folder / "p00" / "0.jpg").write_bytes(broken)
    convert(ImageFolder(folder), shards, workers=1)
    stream = PKStream(shards, fit="pad", **OPTIONS)
    counts = {count for images, _ in stream for count in (images == 255).all(1).sum((1, 2)).tolist()}
    assert stream.stats()["images_replaced"] > 0
    assert counts == {24 * 12}
