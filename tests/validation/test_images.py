"""Images in files index like arrays, and take no memory."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.validation.sets import normalized
from wds_face import DatasetError, make_memmap, normalize
from wds_face.validation.images import ArrayImages, Images, Joined, Memfile, as_images

PIXELS = np.random.default_rng(0).integers(0, 256, (11, 3, 8, 6), dtype=np.uint8)
FLOATS = normalized(PIXELS)


@pytest.fixture
def kinds(tmp_path: Path) -> dict[str, Images]:
    """The same images in every way."""
    make_memmap(tmp_path / "bytes", PIXELS)
    make_memmap(tmp_path / "floats", FLOATS)
    make_memmap(tmp_path / "more", np.concatenate([PIXELS[:2], PIXELS, PIXELS[:3]]))
    return {
        "bytes": Memfile(tmp_path / "bytes"),
        "floats": Memfile(tmp_path / "floats"),
        "part": Memfile(tmp_path / "more", 2, 13),
        "array": ArrayImages(PIXELS),
        "floating": ArrayImages(FLOATS.astype(np.float64)),
        "mapped": ArrayImages(np.memmap(tmp_path / "bytes", np.uint8, "r", shape=PIXELS.shape)),
        "joined": Joined([ArrayImages(PIXELS[:4]), Memfile(tmp_path / "bytes", 4, 9), ArrayImages(FLOATS[9:])]),
    }


KINDS = ["bytes", "floats", "part", "array", "floating", "mapped", "joined"]
NUMBERS = st.integers(-11, 10)
INDEXES = st.one_of(
    NUMBERS,
    NUMBERS.map(np.int64),
    st.slices(11),
    st.lists(NUMBERS, min_size=1),
    st.lists(NUMBERS, min_size=1).map(np.array),
    st.lists(st.booleans(), min_size=11, max_size=11).map(np.array),
    st.tuples(NUMBERS, st.just(1)),
    st.tuples(st.just(...), st.slices(6)),
    st.tuples(st.just(...), st.integers(0, 5)),
    st.tuples(st.slices(11), st.just(...), st.slices(8), st.slices(6)),
    st.just(...),
    st.just(()),
    st.tuples(st.slices(11), st.just(slice(None)), st.integers(0, 7)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=INDEXES)
@pytest.mark.parametrize("kind", KINDS)
def test_indexing_is_that_of_numpy(kind: str, index: Any, kinds: dict[str, Images]) -> None:
    found = kinds[kind][index]
    assert found.dtype == np.float32
    assert found.shape == FLOATS[index].shape
    assert np.array_equal(found, FLOATS[index])


@pytest.mark.parametrize("kind", KINDS)
def test_as_an_array(kind: str, kinds: dict[str, Images]) -> None:
    images = kinds[kind]
    assert (images.shape, images.dtype, images.ndim, len(images)) == (FLOATS.shape, np.float32, 4, 11)
    assert np.array_equal(np.asarray(images), FLOATS)
    assert np.asarray(images, np.float64).dtype == np.float64
    assert np.array_equal(np.stack(list(images)), FLOATS)
    assert torch.equal(torch.tensor(images[:3]), normalize(torch.from_numpy(PIXELS[:3])))
    assert np.array_equal(images.pixels(3, 7), PIXELS[3:7])
    for beyond in (11, -12, None, (None, 0), ([0, 1], [0, 1]), np.zeros((2, 2), int), (0, 0, 0, 0, 0), (..., ...)):
        with pytest.raises(IndexError):
            images[beyond]


def test_what_is_changed_stays_here(kinds: dict[str, Images]) -> None:
    for kind in KINDS:
        kinds[kind][:][:] = 0
        assert np.array_equal(kinds[kind][:], FLOATS)


def test_floats_that_come_of_no_pixels(tmp_path: Path) -> None:
    make_memmap(tmp_path / "a", FLOATS * 0.99)
    with pytest.raises(DatasetError, match="keep them as float32"):
        Memfile(tmp_path / "a").pixels(0, 11)
    assert np.array_equal(Memfile(tmp_path / "a")[:], FLOATS * np.float32(0.99))


@pytest.mark.parametrize(
    ("shape", "dtype"), [((4, 3, 8), np.uint8), ((4, 1, 8, 8), np.uint8), ((4, 3, 8, 8), np.int64)]
)
def test_what_are_no_images(shape: tuple[int, ...], dtype: Any, tmp_path: Path) -> None:
    make_memmap(tmp_path / "a", np.zeros(shape, dtype))
    with pytest.raises(DatasetError, match="images"):
        Memfile(tmp_path / "a")


def test_whole_numbers_that_are_no_bytes() -> None:
    with pytest.raises(DatasetError, match="images are uint8, or floats"):
        as_images(PIXELS.astype(np.int64))


def test_sizes_that_differ() -> None:
    with pytest.raises(DatasetError, match="images of one size"):
        Joined([as_images(PIXELS), as_images(PIXELS[..., :4])])


def _sum(images: Images) -> float:
    return float(images[2:7].sum())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes(method: str, kinds: dict[str, Images]) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(_sum, [kinds["bytes"], kinds["joined"]]) == [_sum(kinds["bytes"])] * 2


def test_a_file_that_is_cut_or_replaced_meanwhile(tmp_path: Path) -> None:
    make_memmap(tmp_path / "a", PIXELS)
    images, packed = Memfile(tmp_path / "a"), pickle.dumps(Memfile(tmp_path / "a"))
    os.truncate(tmp_path / "a", 1000)
    with pytest.raises(DatasetError, match="was cut while it was in use"):
        images[9]
    with pytest.raises(DatasetError, match="has changed since it was opened"):
        pickle.loads(packed)


def test_files_are_closed(tmp_path: Path) -> None:
    make_memmap(tmp_path / "a", PIXELS)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        Memfile(tmp_path / "a")[0]
    assert len(os.listdir("/proc/self/fd")) == before


MEMORY = '''
import sys
import numpy as np
from torch.utils.data import DataLoader
from wds_face import FiveValidationDataset
from wds_face.validation import Memfile

def unique():
    """Without what a file backs: pages of libraries that others map too come and go with those others."""
    text = open("/proc/self/smaps_rollup").read().split()
    return int(text[text.index("Private_Dirty:") + 1]) * 1024

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

images = Memfile(sys.argv[1])
dataset = FiveValidationDataset({"lfw": (images, np.zeros(len(images) // 2, bool))})
loader = DataLoader(dataset, batch_size=128)
next(iter(loader))
before, top = (unique(), resident()), (0, 0)
for number, batch in enumerate(loader):
    if number % 10 == 0:
        top = max(top[0], unique()), max(top[1], resident())
print(len(dataset), top[0] - before[0], top[1] - before[1])
'''


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_whole_set_takes_a_tenth_of_its_floats_at_most(dtype: Any, tmp_path: Path) -> None:
    """12,000 images, 1.8 GB as float32: of memory that is the process's own, and of all that is resident in it."""
    shape = (12_000, 3, 112, 112)
    with (tmp_path / "a").open("wb") as file:
        file.truncate(int(np.prod(shape)) * np.dtype(dtype).itemsize)  # holes take no disk, and are read as zeros
    (tmp_path / "a.conf").write_text(f'{{"shape": {list(shape)}, "dtype": "{np.dtype(dtype)}"}}')
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "a")], capture_output=True, text=True, timeout=300, check=True
    )
    images, own, resident = map(int, done.stdout.split())
    assert images == 12_000
    assert max(own, resident) < 4 * int(np.prod(shape)) / 10
