"""Code written against the system that wds_face replaces runs when its import line is changed, and means the same.

The blocks are those of that system's description, as they stand there. Where the description itself is at hand, each
is looked up in it.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import SHARED
from tests.validation.sets import write_bin
from wds_face import get_val_data, make_memmap, read_memmap
from wds_face.validation import BENCHMARKS

IMPORTS = """
from random import random
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip
from wds_face import (
    AugmentRecordDataset, CustomImageFolderDataset, DataModule, FiveValidationDataset, MedicalMaskOcclusion,
    OcclusionMaskWrapper, RandomErasing, RandomIdentitySampler, RandomOcclusion, RandomSizedRectCrop, RectScale,
    SyntheticOcclusionMask, ToTensorWithMask,
)
"""

MEDICAL = """
MedicalMaskOcclusion(
    mask_path='maskPic.jpg',
    prob=0.5,
    ref_points=None  # Default: CASIA WebFace standard
)
"""

SYNTHETIC = """
SyntheticOcclusionMask(
    prob=0.5,
    min_size=0.1,      # 10% of image dimension
    max_size=0.4,      # 40% of image dimension
    max_patches=3,     # Up to 3 occlusion patches
    feature_map_size=7 # Target feature map resolution
)
"""

WRAPPER = """
transform = Compose([
    MedicalMaskOcclusion(prob=0.5),
    OcclusionMaskWrapper(RandomHorizontalFlip()),
    ToTensorWithMask(),
    OcclusionMaskWrapper(Normalize(mean=[0.5]*3, std=[0.5]*3))
])
"""

OTHERS = [
    "RandomOcclusion(min_size=0.2, max_size=1.0)",
    "RectScale(height=112, width=112, interpolation=Image.BILINEAR)",
    "RandomSizedRectCrop(height=112, width=112, crop_factor=0.8)",
    "RandomErasing(EPSILON=0.5, mean=[0.485, 0.456, 0.406])",
]

SAMPLER = """
K = 4  # instances per identity
P = batch_size // K  # identities per batch

sampler = RandomIdentitySampler(dataset, num_instances=K)

dataloader = DataLoader(
    dataset,
    batch_size=P * K,
    sampler=sampler,
    shuffle=False  # Sampler handles shuffling
)
"""

TRAINING = """
train_transform = Compose([
    lambda img: img.transpose(Image.FLIP_LEFT_RIGHT) 
                if random() > 0.5 else img,
    MedicalMaskOcclusion(prob=0.5),
    ToTensorWithMask(),
    lambda x: (Normalize(mean=[0.5]*3, std=[0.5]*3)(x[0]), x[1])
])

dataset = CustomImageFolderDataset(
    root='data/train',
    transform=train_transform,
    low_res_augmentation_prob=0.2,
    crop_augmentation_prob=0.1,
    photometric_augmentation_prob=0.3
)

sampler = RandomIdentitySampler(dataset, num_instances=4)
loader = DataLoader(dataset, batch_size=64, sampler=sampler)
"""  # noqa: W291 (as it stands there)

CUSTOM = """
mask_occlusion = MedicalMaskOcclusion(
    mask_path='custom_mask.png',
    prob=0.5,
    ref_points=[(48, 72), (34, 92), (63, 92)]  # Custom landmarks
)
"""

CHECK = """
result = transform(img)
assert isinstance(result, tuple), "Expected (image, mask)"
"""

VALIDATION = """
val_dataset = FiveValidationDataset(
    val_data_dict={'agedb_30': (imgs, issame), ...},
    concat_mem_file_name='memfile.dat'
)

val_loader = DataLoader(
    val_dataset,
    batch_size=128,
    shuffle=False,
    num_workers=4
)
"""

MEMFILES = """
from evaluate_utils import get_val_data
get_val_data('path/to/faces_emore')
"""

PREPARED = """
data_module = DataModule(...)
data_module.prepare_data()  # Creates memfiles
"""

BLOCKS = [VALIDATION, MEMFILES, PREPARED, MEDICAL, SYNTHETIC, WRAPPER, *OTHERS, SAMPLER, TRAINING, CUSTOM, CHECK]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the blocks read."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for identity in range(40):
        folder = tmp_path / "data" / "train" / f"class_{identity:02d}"
        folder.mkdir(parents=True)
        for number in range(2 + identity % 5):
            pixels = np.kron(rng.integers(60, 200, (14, 14, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
            Image.fromarray(pixels).save(folder / f"img_{number:03d}.jpg")
    picture = np.zeros((60, 100, 4), np.uint8)
    picture[10:50, 20:80] = (90, 160, 200, 255)
    Image.fromarray(picture).save(tmp_path / "custom_mask.png")
    Image.fromarray(picture).save(tmp_path / "maskPic.jpg", "PNG")  # what it was: a PNG under another name
    return tmp_path


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Without a generator of their own the transforms draw from torch's."""
    torch.manual_seed(0)
    random.seed(0)


def run(code: str, **given: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = dict(given)
    exec(IMPORTS, namespace)
    exec(code, namespace)
    return namespace


def value(code: str) -> Any:
    return run(f"made = ({code.strip()}\n)")["made"]


@pytest.fixture
def img() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(60, 200, (112, 112, 3), dtype=np.uint8))


def test_the_blocks_are_those_of_the_description() -> None:
    text = SHARED / "mission" / "dataset-and-data-processing.md"
    if not text.is_file():
        pytest.skip("the description is not at hand")
    found = text.read_text()
    for block in BLOCKS:
        assert block.strip() in found
    classes = "|".join(re.findall(r"[A-Z]\w+", IMPORTS.partition("wds_face")[2]))
    shown = [
        code for code in re.findall(r"```python\n(.*?)```", found, re.DOTALL) if re.search(rf"({classes})\(", code)
    ]
    ours = [code for code in shown if "def __" not in code and "    ...," not in code]  # not how they were implemented
    assert all(any(block.strip() in code for block in BLOCKS) for code in ours)


def test_medical_mask(project: Path, img: Image.Image) -> None:
    transform = value(MEDICAL)
    pairs = [transform(img) for _ in range(40)]
    for image, mask in pairs:
        assert (image.mode, image.size, mask.mode, mask.size) == ("RGB", (112, 112), "L", (112, 112))
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    assert {bool((np.asarray(mask) == 255).all()) for _, mask in pairs} == {True, False}, "some have none"


def test_synthetic_mask(img: Image.Image) -> None:
    transform = value(SYNTHETIC)
    masks = [transform(img)[1] for _ in range(40)]
    assert all(mask.shape == (7, 7) and set(np.unique(mask)) <= {0.0, 1.0} for mask in masks)
    assert {bool((mask == 1).all()) for mask in masks} == {True, False}


def test_wrapped_transforms(img: Image.Image) -> None:
    transform = run(WRAPPER)["transform"]
    for _ in range(20):
        image, mask = transform(img)
        assert (image.shape, image.dtype, mask.shape, mask.dtype) == (
            (3, 112, 112), torch.float32, (1, 112, 112), torch.float32
        )  # fmt: skip
        assert image.min() >= -1
        assert image.max() <= 1
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
    run(CHECK, transform=transform, img=img)


@pytest.mark.parametrize("code", OTHERS)
def test_other_transforms(code: str, img: Image.Image) -> None:
    out = value(code)(img)
    assert (out.mode, out.size) == ("RGB", (112, 112))
    assert isinstance(value(code)((img, Image.new("L", (112, 112), 255))), tuple)


def test_erasing_a_tensor(img: Image.Image) -> None:
    """It stood behind ToTensor."""
    erasing, tensor = value(OTHERS[3]), run("made = ToTensorWithMask()")["made"](img)
    outs = [erasing(tensor) for _ in range(30)]
    changed = [out for out in outs if not torch.equal(out, tensor)]
    assert 0 < len(changed) < 30
    where = (changed[0] != tensor).any(0)
    assert torch.allclose(changed[0][:, where], torch.tensor([0.485, 0.456, 0.406])[:, None])


def test_custom_mask(project: Path) -> None:
    """A blue rectangle: it is where the mask says, and is centred on the nose that was given."""
    skin = Image.new("RGB", (112, 112), (190, 140, 120))
    transform = run(CUSTOM)["mask_occlusion"]
    centres = []
    for _ in range(60):
        image, mask = map(np.asarray, transform(skin))
        hidden = mask == 0
        assert (image[hidden] != (190, 140, 120)).any(1).all()
        assert (image[mask == 255] == (190, 140, 120)).all(1).mean() > 0.9, "the edges are blended"
        if hidden.any():
            centres.append(np.nonzero(hidden)[1].mean())
    assert 15 < len(centres) < 45
    assert abs(np.mean(centres) - 48) < 2


def test_standard_training(project: Path) -> None:
    batches = list(run(TRAINING)["loader"])
    for images, labels, masks in batches:
        count = len(labels)
        assert (images.shape, masks.shape) == ((count, 3, 112, 112), (count, 1, 112, 112))
        assert labels.dtype == torch.int64
        assert images.min() >= -1
        assert images.max() <= 1
        assert set(masks.unique().tolist()) <= {0.0, 1.0}
        groups = labels.reshape(-1, 4)
        assert torch.equal(groups, groups[:, :1].expand(-1, 4)), "4 of each identity stand together"
    assert sorted(torch.cat([labels for _, labels, _ in batches])[::4].tolist()) == list(range(40))


def test_sampler(project: Path) -> None:
    dataset = run("made = CustomImageFolderDataset('data/train', ToTensorWithMask(), output_dir='experiments/debug')")
    made = run(SAMPLER, dataset=dataset["made"], batch_size=64)
    images, labels = next(iter(made["dataloader"]))
    assert images.shape == (64, 3, 112, 112)
    assert len(set(labels.tolist())) == made["P"] == 16
    assert (project / "experiments/debug/training_samples/sample.jpg").is_file()


@pytest.fixture
def faces_emore(project: Path) -> Path:
    """A folder with the five benchmarks, as they are handed around."""
    root = project / "path" / "to" / "faces_emore"
    for number, name in enumerate(BENCHMARKS):
        write_bin(root / f"{name}.bin", pairs=20 + number, seed=number)
    return root


def test_memfiles_are_made(faces_emore: Path) -> None:
    exec(MEMFILES.replace("evaluate_utils", "wds_face"), {})
    for number, name in enumerate(BENCHMARKS):
        found = read_memmap(faces_emore / name / "memfile" / "mem_file.dat")
        assert found.shape == (2 * (20 + number), 3, 112, 112)
        assert len(np.load(faces_emore / f"{name}_list.npy")) == 20 + number


def test_standard_validation(faces_emore: Path) -> None:
    data = get_val_data(faces_emore)
    images, lists = (data[0], data[1], data[2], data[6], data[8]), (data[3], data[4], data[5], data[7], data[9])
    make_memmap("memfile.dat", np.concatenate(images))
    rest = dict(zip(BENCHMARKS, zip(images, lists, strict=True), strict=True))
    code = VALIDATION.replace(", ...}", ", **rest}")  # what is left out there
    loader = run(code, imgs=images[0], issame=lists[0], rest=rest)["val_loader"]
    shapes = [tuple(tuple(column.shape) for column in batch) for batch in loader]
    assert shapes == [((128, 3, 112, 112), (128,), (128,), (128,)), ((92, 3, 112, 112), (92,), (92,), (92,))]
    columns = [torch.cat(column) for column in zip(*loader, strict=True)]
    assert [column.dtype for column in columns] == [torch.float32, torch.bool, torch.int64, torch.int64]
    assert np.array_equal(columns[0].numpy(), np.concatenate(images))
    assert columns[1].tolist() == [val for issame in lists for val in issame for _ in (0, 1)]
    assert columns[2].tolist() == [
        BENCHMARKS[name] for name, issame in zip(BENCHMARKS, lists, strict=True) for _ in 2 * list(issame)
    ]
    assert columns[3].tolist() == list(range(220))


def test_the_data_module(faces_emore: Path, project: Path) -> None:
    """With the arguments that it has there; it makes the same batches as without it."""
    code = PREPARED.replace("...", "data_root='.', train_data_path='data/train', val_data_path='path/to/faces_emore', "
                            "batch_size=64, num_workers=1, val_num_workers=1, train_data_subset=False, "
                            "low_res_augmentation_prob=0.2, crop_augmentation_prob=0.1, "
                            "photometric_augmentation_prob=0.3, swap_color_channel=False, use_mxrecord=False, "
                            "output_dir='experiments/debug'")  # fmt: skip
    data = run(code)["data_module"]
    assert (faces_emore / "lfw" / "memfile" / "mem_file.dat").is_file()
    data.setup("fit")
    images, labels, masks = next(iter(data.train_dataloader()))
    assert (images.shape, labels.shape, masks.shape) == ((64, 3, 112, 112), (64,), (64, 1, 112, 112))
    assert len(set(labels.tolist())) == 16
    assert [tuple(column.shape) for column in next(iter(data.val_dataloader()))] == [(64, 3, 112, 112), *[(64,)] * 3]
    assert (project / "experiments/debug/training_samples/sample.jpg").is_file()
