"""From shards to PK batches: full, complete, seeded, with and without workers."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import MakeFolder
from wds_face import (
    Augmenter,
    DatasetError,
    ImageFolder,
    Index,
    MedicalMaskOcclusion,
    OcclusionMaskWrapper,
    Options,
    PKStream,
    SyntheticOcclusionMask,
    ToTensorWithMask,
    convert,
    normalize,
)


@pytest.fixture
def shards(faces: Path, tmp_path: Path) -> Path:
    convert(ImageFolder(faces), tmp_path / "out", Options(shard_size=60_000), workers=1)
    return tmp_path / "out"


def epoch(stream: PKStream, workers: int = 0, number: int = 0) -> list[Any]:
    loader = stream.loader(num_workers=workers)
    loader.set_epoch(number)
    return list(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(shards: Path, workers: int) -> None:
    batches = epoch(PKStream(shards, p=4, k=3, image_size=24, output="uint8"), workers)
    for images, labels in batches:
        assert (images.shape, images.dtype) == ((12, 3, 24, 24), torch.uint8)
        assert (labels.shape, labels.dtype) == ((12,), torch.int64)
        assert len(set(labels.tolist())) == 4
        assert torch.equal(labels.reshape(4, 3), labels.reshape(4, 3)[:, :1].expand(4, 3))
    seen = {image.numpy().tobytes() for images, _ in batches for image in images}
    assert len(seen) == 60, "each of the 60 different pictures comes at least once"


def test_pixels_and_labels_are_those_of_the_files(faces: Path, shards: Path) -> None:
    classes = Index.open(shards).classes
    wanted = {
        (path.parent.name, np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")).tobytes())
        for path in faces.glob("*/*.jpg")
    }
    found = {
        (classes[label], image.permute(1, 2, 0).contiguous().numpy().tobytes())
        for images, labels in epoch(PKStream(shards, p=5, k=2, image_size=24, output="uint8"))
        for image, label in zip(images, labels.tolist(), strict=True)
    }
    assert found == wanted


def test_seed_and_epoch_decide(shards: Path) -> None:
    def labels(seed: int, number: int) -> list[list[int]]:
        return [found.tolist() for _, found in epoch(PKStream(shards, p=4, k=2, seed=seed), number=number)]

    assert labels(0, 0) == labels(0, 0)
    assert labels(0, 0) != labels(0, 1)
    assert labels(0, 0) != labels(1, 0)


def test_persistent_workers_see_the_epoch_change(shards: Path) -> None:
    loader = PKStream(shards, p=4, k=2).loader(num_workers=1, persistent_workers=True)
    first = [labels.tolist() for _, labels in loader]
    loader.set_epoch(1)
    second = [labels.tolist() for _, labels in loader]
    loader.set_epoch(0)
    assert [labels.tolist() for _, labels in loader] == first != second


def test_images_are_resized_if_asked(shards: Path) -> None:
    images, _ = next(iter(PKStream(shards, p=2, k=2, image_size=48)))
    assert images.shape == (4, 3, 48, 48)


def test_labels_only_in_the_key(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "out", Options(labels="key"), workers=1)
    assert {label for _, labels in epoch(PKStream(tmp_path / "out", p=4, k=2)) for label in labels.tolist()} == set(
        range(20)
    )


def test_stages_can_be_taken_out_and_put_elsewhere(shards: Path) -> None:
    import webdataset as wds

    plan, read = PKStream(shards, p=4, k=2).pipeline[:2]
    batches = list(wds.DataPipeline(plan, read, wds.map(lambda batch: [sample["cls"] for sample in batch.samples])))
    assert batches == [labels.tolist() for _, labels in PKStream(shards, p=4, k=2)]


def test_fewer_identities_than_p(shards: Path) -> None:
    with pytest.raises(DatasetError, match="20 identities, fewer than p=21"):
        PKStream(shards, p=21, k=1)
    with pytest.raises(DatasetError, match="0 identities with 99 images or more, fewer than p=1"):
        PKStream(shards, p=1, k=1, min_images=99)


def test_the_default_window_of_a_small_data_set(shards: Path) -> None:
    assert PKStream(shards, p=4, k=2).state_dict()["window"] == 64
    assert PKStream(shards, p=4, k=2, window=3).state_dict()["window"] == 3


def test_float_images_are_the_normalised_uint8_ones(shards: Path) -> None:
    def first(**options: Any) -> torch.Tensor:
        return next(iter(PKStream(shards, p=4, k=2, image_size=24, **options)))[0]

    whole = first(output="uint8")
    assert first().dtype == torch.float32
    assert torch.allclose(first(), (whole.float() / 255 - 0.5) / 0.5, atol=1e-6)
    assert torch.equal(first(), normalize(whole))
    assert torch.equal(first(channels="bgr", output="uint8"), whole.flip(1))
    assert whole.is_contiguous()


@pytest.mark.parametrize("workers", [0, 2])
def test_augmented_and_occluded_batches(shards: Path, workers: int) -> None:
    def stream(**options: Any) -> PKStream:
        options = {"augmenter": Augmenter(0.5, 0.5, 0.5), "occlusion": MedicalMaskOcclusion(prob=0.5), **options}
        return PKStream(shards, p=8, k=4, flip=0.5, **options)

    plain = {tuple(labels.tolist()): images for images, labels in epoch(PKStream(shards, p=8, k=4), workers)}
    masked = 0
    for images, labels, masks in epoch(stream(), workers):
        assert (images.shape, images.dtype, masks.shape, masks.dtype) == (
            (32, 3, 112, 112), torch.float32, (32, 1, 112, 112), torch.float32
        )  # fmt: skip
        assert images.min() >= -1
        assert images.max() <= 1
        assert set(masks.unique().tolist()) <= {0.0, 1.0}
        assert not torch.equal(plain[tuple(labels.tolist())], images), "the same images, but changed"
        masked += int((masks.flatten(1).min(1).values == 0).sum())
    count = 32 * len(plain)
    assert 0.3 * count < masked < 0.7 * count

    again, other = epoch(stream(), workers), epoch(stream(), workers, number=1)
    assert all(torch.equal(a, b) for one, two in zip(again, epoch(stream(), workers), strict=True)
               for a, b in zip(one, two, strict=True))  # fmt: skip
    assert not torch.equal(again[0][0], other[0][0])
    whole = epoch(stream(output="uint8"), workers)[0]
    assert (whole[0].dtype, whole[2].dtype) == (torch.uint8, torch.uint8)
    assert torch.equal(whole[2].float(), again[0][2])


def test_masks_at_feature_map_size(shards: Path) -> None:
    for occlusion in (MedicalMaskOcclusion(prob=1.0, mask_size=7), SyntheticOcclusionMask(prob=1.0)):
        _, _, masks = next(iter(PKStream(shards, p=4, k=2, occlusion=occlusion)))
        assert (masks.shape, masks.dtype) == ((8, 1, 7, 7), torch.float32)
        assert masks.min() == 0
        assert masks.max() == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_composed_transform_takes_their_place(shards: Path, workers: int) -> None:
    from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip

    transform = Compose([
        RandomHorizontalFlip(),
        MedicalMaskOcclusion(prob=0.5),
        ToTensorWithMask(),
        OcclusionMaskWrapper(Normalize(mean=[0.5] * 3, std=[0.5] * 3)),
    ])  # fmt: skip
    first = epoch(PKStream(shards, p=8, k=4, transform=transform), workers)
    for images, labels, masks in first:
        assert images.shape == (32, 3, 112, 112)
        assert labels.shape == (32,)
        assert masks.shape == (32, 1, 112, 112)
    torch.manual_seed(int(torch.randint(1 << 30, ())))  # whatever its state
    for one, two in zip(first, epoch(PKStream(shards, p=8, k=4, transform=transform), workers), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_global_generators_are_left_as_they_were(shards: Path) -> None:
    def states() -> list[Any]:
        return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002

    before = states()
    list(PKStream(shards, p=8, k=4, transform=ToTensorWithMask()))
    assert states() == before


def test_what_does_not_fit_is_said_at_once(shards: Path) -> None:
    with pytest.raises(ValueError, match="transform replaces augmenter, occlusion and flip"):
        PKStream(shards, p=2, k=2, transform=ToTensorWithMask(), flip=0.5)
    with pytest.raises(ValueError, match='output is "float" or "uint8"'):
        PKStream(shards, p=2, k=2, output="half")
    with pytest.raises(ValueError, match=r"flip must be a probability.*1\.5"):
        PKStream(shards, p=2, k=2, flip=1.5)
    with pytest.raises(TypeError, match="augmenter must be"):
        PKStream(shards, p=2, k=2, augmenter=ToTensorWithMask())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must return a tensor.*ToTensorWithMask"):
        next(iter(PKStream(shards, p=2, k=2, transform=lambda image: image)))


@pytest.mark.parametrize(
    "wrong",
    [{"p": 0}, {"p": 2.5}, {"k": -1}, {"k": True}, {"seed": -1}, {"seed": "a"}, {"seed": 1 << 32}],
)
def test_numbers_out_of_range_are_refused_at_once(shards: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be a whole number"):
        PKStream(shards, **{"p": 2, "k": 2, **wrong})


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no index\.json"):
        PKStream(tmp_path, p=2, k=2)


def test_an_index_of_other_shards_is_noticed(shards: Path, make_folder: MakeFolder, tmp_path: Path) -> None:
    other = make_folder({f"{i}": 1 + i % 5 for i in range(20)}, "other")
    convert(ImageFolder(other), tmp_path / "b", Options(shard_size=60_000), workers=1)
    for name in ("index.json", "identities.npy", "classes.tsv", "checksums.npy", "skipped.tsv"):
        (shards / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(DatasetError, match=r"the index says .*wds-face verify"):
        list(PKStream(shards, p=4, k=2))


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_a_few_identities_suffice_for_any_number_of_workers(
    make_folder: MakeFolder, tmp_path: Path, workers: int
) -> None:
    root = make_folder({f"{i:02d}": 3 for i in range(17)})
    convert(ImageFolder(root), tmp_path / "out", Options(shard_size=10_000), workers=1)
    for number in range(3):
        batches = epoch(PKStream(tmp_path / "out", p=8, k=2, image_size=24), workers, number)
        assert {label for _, labels in batches for label in labels.tolist()} == set(range(17))


def test_what_lanes_mix_is_counted_without_the_tar(shards: Path) -> None:
    """At most: a header for each image, and two blocks for its label; images may have gaps behind them."""
    index = Index.open(shards)
    nbytes, kept = int(index.identities["nbytes"].sum()), 0
    for shard in index.shards:
        with tarfile.open(shards / shard.name) as tar:
            kept += sum(member.size for member in tar if member.name.endswith(".jpg"))
    mixed = PKStream(shards, p=4, k=2, lanes=1).summary()["bytes_mixed"]
    assert kept <= mixed <= kept + 512 * index.images < nbytes
