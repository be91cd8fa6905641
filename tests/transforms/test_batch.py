"""A batch is what the same transforms make of one image at a time."""

from __future__ import annotations

import io
import pickle
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.transforms.levels import assert_share
from tests.transforms.pictures import colored, noisy, small_mask
from wds_face.transforms import (
    ARCFACE_112,
    Augmenter,
    MedicalMaskOcclusion,
    Occlusion,
    RandomErasing,
    RandomOcclusion,
    SyntheticOcclusionMask,
)
from wds_face.transforms.batch import BatchTransform, UndecodableError
from wds_face.transforms.resize import resize

U8 = npt.NDArray[np.uint8]


def encoded(image: U8, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


class Told(np.random.Generator):
    """A generator that says what it was told to."""

    def __init__(self, row: npt.NDArray[np.float64]) -> None:
        super().__init__(np.random.PCG64(0))
        self.row = row.tolist()

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        drawn, self.row = self.row[:size], self.row[size:]
        return np.array(drawn)


OCCLUSIONS: dict[str, Any] = {
    "none": lambda rng: None,
    "medical": lambda rng: MedicalMaskOcclusion(small_mask(), 0.7, ARCFACE_112, rng=rng),
    "medical 7": lambda rng: MedicalMaskOcclusion(small_mask(), 0.7, mask_size=7, rng=rng),
    "synthetic": lambda rng: SyntheticOcclusionMask(0.7, rng=rng),
    "synthetic at full size": lambda rng: SyntheticOcclusionMask(0.7, feature_map_size=None, rng=rng),
    "occlusion": lambda rng: RandomOcclusion(rng=rng),
    "erasing": lambda rng: RandomErasing(0.7, rng=rng),
}
AUGMENTERS: dict[str, Any] = {
    "none": lambda rng: None,
    "default": lambda rng: Augmenter(0.5, 0.5, 0.5, rng=rng),
    "adaface": lambda rng: Augmenter.adaface(0.5, 0.5, 0.5, rng=rng),
}


@pytest.mark.parametrize("occlusion", OCCLUSIONS)
@pytest.mark.parametrize("augmenter", AUGMENTERS)
def test_a_batch_is_what_the_callables_make_of_its_images(augmenter: str, occlusion: str) -> None:
    faces = [colored(seed=seed) for seed in range(12)]
    transform = BatchTransform(AUGMENTERS[augmenter](None), OCCLUSIONS[occlusion](None), flip=0.5)
    images, masks = transform([encoded(face) for face in faces], np.random.default_rng(1))
    assert (images.shape, images.dtype) == ((12, 112, 112, 3), np.uint8)
    rows = np.random.default_rng(1).random((12, transform.draws))
    for number, (face, row) in enumerate(zip(faces, rows, strict=True)):
        rng: Any = Told(row)
        augment, occlude = AUGMENTERS[augmenter](rng), OCCLUSIONS[occlusion](rng)
        wanted = face if augment is None else augment(face)
        wanted = wanted[:, ::-1].copy() if rng.random(1)[0] < 0.5 else wanted
        if occlude is None:
            assert masks is None
        else:
            assert masks is not None
            small = occlude.mask_size is not None
            visible: Any = np.ones((7, 7), np.float32) if small else np.full((112, 112), 255, np.uint8)
            wanted, mask = occlude((wanted, visible))
            assert np.array_equal(masks[number], mask)
            assert masks.dtype == mask.dtype
        assert np.array_equal(images[number], wanted)
        assert rng.row == [], "every number was used"


def test_what_happens_to_an_image_depends_on_its_position_only() -> None:
    transform = BatchTransform(Augmenter(0.5, 0.5, 0.5), SyntheticOcclusionMask(), flip=0.5)
    faces = [encoded(colored(seed=seed)) for seed in range(8)]
    images, masks = transform(faces, np.random.default_rng(2))
    others, their = transform([faces[0]] * 3 + faces[3:], np.random.default_rng(2))
    assert masks is not None
    assert their is not None
    assert np.array_equal(images[3:], others[3:])
    assert np.array_equal(images[0], others[0])
    assert np.array_equal(masks, their)


def test_flips_are_as_often_as_asked_and_before_the_occlusion() -> None:
    face = colored(24, 24)
    transform = BatchTransform(flip=0.3, image_size=24)
    images, masks = transform([encoded(face)] * 1000, np.random.default_rng(3))
    assert masks is None
    flipped = [np.array_equal(image, face[:, ::-1]) for image in images]
    assert all(np.array_equal(image, face) for image, yes in zip(images, flipped, strict=True) if not yes)
    assert_share(sum(flipped), 1000, 0.3)
    for flip in (0, 1):
        images, _ = BatchTransform(flip=flip, image_size=24)([encoded(face)] * 20, np.random.default_rng(4))
        assert (images == (face[:, ::-1] if flip else face)).all()


@pytest.mark.parametrize("shape", [(112, 112), (250, 250), (96, 112), (1, 1), (50, 300)])
def test_images_of_other_sizes_are_resized_first(shape: tuple[int, int]) -> None:
    image = noisy(*shape)
    images, _ = BatchTransform(image_size=112)([encoded(image)], np.random.default_rng(5))
    assert np.array_equal(images[0], resize(image, 112, 112))
    images, _ = BatchTransform(image_size=40)([encoded(image)], np.random.default_rng(5))
    assert np.array_equal(images[0], resize(image, 40, 40))


def test_jpeg_grey_and_alpha_images() -> None:
    grey = noisy()[..., 0]
    alpha = np.dstack([colored(), np.full((112, 112), 9, np.uint8)])
    images, _ = BatchTransform()([encoded(grey), encoded(alpha), encoded(colored(), "JPEG")], np.random.default_rng(6))
    assert np.array_equal(images[0], np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(images[1], colored())
    assert np.abs(images[2].astype(int) - colored()).mean() < 3


def test_the_mask_says_where_the_batch_has_changed() -> None:
    faces = [encoded(np.full((112, 112, 3), 128, np.uint8))] * 20
    images, masks = BatchTransform(None, SyntheticOcclusionMask(1, feature_map_size=None))(
        faces, np.random.default_rng(7)
    )
    assert masks is not None
    assert ((images != 128).any(3) <= (masks == 0)).all()
    assert ((images != 128).any(3) == (masks == 0)).mean() > 0.99


@pytest.mark.parametrize("broken", [b"", b"no image", encoded(colored())[:60], encoded(colored(), "JPEG")[:3]])
@pytest.mark.parametrize("position", [0, 2])
def test_what_cannot_be_decoded_is_named_by_its_position(broken: bytes, position: int) -> None:
    batch = [encoded(colored())] * 3
    batch[position] = broken
    with pytest.raises(UndecodableError, match=f"^image {position} of the batch cannot be decoded") as error:
        BatchTransform(None, SyntheticOcclusionMask())(batch, np.random.default_rng(8))
    assert error.value.number == position


def test_the_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(UndecodableError(3)))
    assert error.number == 3
    assert str(error) == str(UndecodableError(3))


@pytest.mark.parametrize("occlusion", OCCLUSIONS)
def test_an_empty_batch(occlusion: str) -> None:
    images, masks = BatchTransform(Augmenter(), OCCLUSIONS[occlusion](None))([], np.random.default_rng(9))
    assert images.shape == (0, 112, 112, 3)
    assert masks is None or len(masks) == 0


def test_bytes_of_any_kind_are_decoded() -> None:
    data = encoded(colored())
    batch: list[Any] = [data, bytearray(data), memoryview(data)]
    images, _ = BatchTransform()(batch, np.random.default_rng(10))
    assert (images == colored()).all()


def test_batches_can_be_sent_to_another_process() -> None:
    transform = BatchTransform(Augmenter(1, 1, 1), MedicalMaskOcclusion(small_mask(), 1), flip=0.5)
    faces = [encoded(colored())] * 3
    images, masks = transform(faces, np.random.default_rng(11))
    others, their = pickle.loads(pickle.dumps(transform))(faces, np.random.default_rng(11))
    assert masks is not None
    assert np.array_equal(images, others)
    assert np.array_equal(masks, their)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"augmenter": 3}, TypeError, "augmenter must be"),
        ({"augmenter": SyntheticOcclusionMask()}, TypeError, "augmenter must be"),
        ({"occlusion": "mask"}, TypeError, "occlusion must be"),
        ({"occlusion": Augmenter()}, TypeError, "occlusion must be"),
        ({"occlusion": MedicalMaskOcclusion}, TypeError, "occlusion must be"),
        ({"flip": 1.5}, ValueError, "^flip must be a probability"),
        ({"flip": "0.5"}, ValueError, "^flip must be a probability"),
        ({"flip": float("nan")}, ValueError, "^flip must be a probability"),
        ({"image_size": 0}, ValueError, "^image_size must be"),
        ({"image_size": 112.0}, ValueError, "^image_size must be"),
        ({"image_size": None}, ValueError, "^image_size must be"),
    ],
)
def test_wrong_arguments_are_one_clear_error(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        BatchTransform(**arguments)


def test_a_flipped_batch_is_aligned() -> None:
    # a white field on black: the occlusion's mask goes with what is seen, not with what was flipped
    face = np.zeros((112, 112, 3), np.uint8)
    images, masks = BatchTransform(None, RandomOcclusion(0.3, 0.5), flip=1.0)(
        [encoded(face)] * 10, np.random.default_rng(12)
    )
    assert masks is not None
    assert np.array_equal((images == 255).all(3), masks == 0)
    assert isinstance(RandomOcclusion(), Occlusion)
    assert cv2.countNonZero(masks[0]) < 112 * 112


def test_the_occlusion_must_see_rgb_as_the_batch_does() -> None:
    with pytest.raises(ValueError, match="the occlusion must have channels='rgb'"):
        BatchTransform(occlusion=MedicalMaskOcclusion(channels="bgr"))


def test_an_image_too_large_for_opencv_is_one_that_cannot_be_decoded() -> None:
    header = b"IHDR" + (40000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    chunk = b"\0\0\0\x0d" + header + zlib.crc32(header).to_bytes(4, "big")
    data = b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"
    with pytest.raises(UndecodableError):
        BatchTransform()([data], np.random.default_rng(0))


def test_an_augmenter_of_ones_own_is_asked() -> None:
    class Black(Augmenter):
        def apply(self, image: Any, draws: Any) -> Any:
            return image * 0 if draws[0] < 0.5 else image

    images, _ = BatchTransform(Black(), image_size=24)([encoded(colored())] * 20, np.random.default_rng(1))
    assert 0 < sum(not image.any() for image in images) < 20
