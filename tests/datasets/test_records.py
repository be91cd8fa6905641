"""What the record data sets have of their own: layouts, labels, damage, processes."""

from __future__ import annotations

import io
import pickle
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import ToTensor

from tests.datasets.support import complaint
from wds_face import RecordError, SourceError
from wds_face.datasets import AugmentRecordDataset, BaseMXDataset, RandomIdentitySampler
from wds_face.git_lfs import POINTER
from wds_face.recordio import RecordWriter, pack

Label = float | list[float]


def write(folder: Path, records: list[tuple[int, Label, bytes]], name: str = "train.rec") -> Path:
    """Records of (key, label, image), as ``mxnet.recordio.pack`` writes them."""
    folder.mkdir(exist_ok=True)
    with RecordWriter(folder / name) as writer:
        for key, label, data in records:
            writer.write(key, pack((0, label, key, 0), data))
    return folder


def holds(dataset: BaseMXDataset, expected: list[tuple[bytes, int]]) -> bool:
    """Whether these are its images and labels."""
    samples = [dataset.read_sample(i) for i in range(len(dataset))]
    same = [
        (np.asarray(image) == np.asarray(Image.open(io.BytesIO(data)))).all()
        for (image, _), (data, _) in zip(samples, expected, strict=True)
    ]
    labels = [label for _, label in expected]
    return all(same) and [label for _, label in samples] == labels == dataset.targets.tolist()


# --- layouts


def test_header_and_identity_ranges_are_no_samples(tmp_path: Path, jpegs: list[bytes]) -> None:
    records: list[tuple[int, Label, bytes]] = [(0, [5.0, 7.0], b"")]
    records += [(1 + i, [float(i // 2), 1.0], jpegs[i]) for i in range(4)]
    records += [(5, [1.0, 3.0], b""), (6, [3.0, 5.0], b"")]
    for order in (records, records[1:] + records[:1]):
        dataset = BaseMXDataset(write(tmp_path / "r", order))
        assert holds(dataset, [(jpegs[i], i // 2) for i in range(4)])
        assert dataset.skipped == []


def test_an_image_at_key_zero_and_labels_of_any_length(tmp_path: Path, jpegs: list[bytes]) -> None:
    long = [4.0, -1.0, *([0.5] * 235)]
    records: list[tuple[int, Label, bytes]] = [(0, 3.0, jpegs[0]), (9, [4.0], jpegs[1]), (4, long, jpegs[2])]
    folder = write(tmp_path / "r", records)
    expected = [(jpegs[0], 3), (jpegs[1], 4), (jpegs[2], 4)]
    assert holds(BaseMXDataset(folder), expected)
    assert holds(BaseMXDataset(str(folder / "train.rec")), expected)
    (folder / "train.idx").unlink()
    assert holds(BaseMXDataset(folder), expected)


def test_payloads_of_several_parts(tmp_path: Path, jpegs: list[bytes]) -> None:
    from wds_face.recordio import MAGIC

    data = jpegs[0].ljust(len(jpegs[0]) + -len(jpegs[0]) % 4) + MAGIC.to_bytes(4, "little") * 2
    assert holds(BaseMXDataset(write(tmp_path / "r", [(0, 7.0, data), (1, 1.0, jpegs[1])])), [(data, 7), (jpegs[1], 1)])


def test_targets_are_read_without_the_images(tmp_path: Path) -> None:
    """The payloads are no images, and nobody notices until one is wanted."""
    folder = write(tmp_path / "r", [(i, float(i // 3), b"no image") for i in range(30)])
    dataset = AugmentRecordDataset(folder)
    assert dataset.targets.dtype == np.int64
    sampler = RandomIdentitySampler(dataset, 3)
    assert sorted(sampler) == list(range(30))


def test_samples_as_items_and_swapped(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(0, 3.0, jpegs[0])])
    plain, swapped = BaseMXDataset(folder), BaseMXDataset(folder, True)
    assert plain[0][1] == swapped[0][1] == 3
    assert (np.asarray(plain[0][0]) == np.asarray(swapped[0][0])[..., ::-1]).all()


def test_other_formats_come_as_rgb(tmp_path: Path) -> None:
    records: list[tuple[int, Label, bytes]] = []
    for key, (mode, form) in enumerate(
        (("L", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("P", "GIF"), ("RGB", "WEBP"))
    ):
        file = io.BytesIO()
        Image.new(mode, (8, 8)).save(file, form)
        records.append((key, 0.0, file.getvalue()))
    dataset = BaseMXDataset(write(tmp_path / "r", records))
    assert [dataset[i][0].mode for i in range(len(records))] == ["RGB"] * len(records)


# --- what is wrong


def test_a_record_that_cannot_be_decoded_is_named(tmp_path: Path, jpegs: list[bytes]) -> None:
    huge = io.BytesIO()
    Image.new("1", (9000, 9000)).save(huge, "PNG")
    bad = [b"no image", jpegs[0][: len(jpegs[0]) // 2], huge.getvalue()]
    folder = write(tmp_path / "r", [(70 + i, 1.0, data) for i, data in enumerate([*bad, jpegs[0]])])
    dataset = AugmentRecordDataset(folder, ToTensor())
    for i, why in enumerate(("is not an image", "cannot be decoded", "9000 x 9000 pixels")):
        with pytest.raises(RecordError, match=rf"train\.rec: the record of key {70 + i} at byte \d+ .*{why}") as caught:
            dataset[i]
        assert "\n" not in str(caught.value)
    assert dataset[3][1] == 1
    error = complaint(DataLoader(dataset, num_workers=1))
    assert isinstance(error, RecordError)
    assert "train.rec: the record of key 70 " in str(error)


def test_without_an_index_records_are_named_by_number(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(0, [3.0, 3.0], b""), (8, 0.0, jpegs[0]), (9, 0.0, b"no image")])
    (folder / "train.idx").unlink()
    with pytest.raises(RecordError, match=r"train\.rec: the record of key 2 at byte"):
        BaseMXDataset(folder)[1]


def test_what_is_left_out_is_told(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(0, 0.0, jpegs[0]), (1, float("nan"), jpegs[1]), (2, 1.0, b""), (3, 2.0, jpegs[3])])
    with pytest.warns(UserWarning, match=r"train\.rec: 2 left out, first train\.rec at byte \d+: ") as caught:
        dataset = AugmentRecordDataset(folder)
    assert len(caught) == 1
    assert {item.reason for item in dataset.skipped} == {"empty", "label is not a number"}
    assert holds(dataset, [(jpegs[0], 0), (jpegs[3], 2)])


def test_a_truncated_file_is_refused_unless_it_is_to_be_salvaged(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(i, float(i), jpegs[i]) for i in range(3)])
    whole = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(whole[:-40])
    for make in (BaseMXDataset, AugmentRecordDataset):
        with pytest.raises(
            SourceError, match=r"train\.rec at byte \d+: broken record.* copy train\.rec again, or salv"
        ):
            make(folder)
    with pytest.warns(UserWarning, match="broken record"):
        dataset = AugmentRecordDataset(folder, salvage=True)
    assert holds(dataset, [(jpegs[0], 0), (jpegs[1], 1)])


def test_an_index_of_another_file_is_refused(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(i, float(i), jpegs[i]) for i in range(5)])
    other = write(tmp_path / "other", [(0, 0.0, jpegs[0]), (1, 1.0, jpegs[9])])
    (folder / "train.idx").write_bytes((other / "train.idx").read_bytes())
    with pytest.raises(SourceError, match=r"train\.idx: does not belong to train\.rec: 3 of 5 .*give idx=\"ignore\""):
        BaseMXDataset(folder)
    assert holds(BaseMXDataset(folder, idx="ignore"), [(jpegs[i], i) for i in range(5)])
    with pytest.warns(UserWarning, match="1 left out, first train.idx: does not belong"):
        assert len(BaseMXDataset(folder, salvage=True)) == 5


def test_a_trusted_index_decides(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(i, float(i), jpegs[i]) for i in range(5)])
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    (folder / "train.idx").write_text("".join(lines[::2]))
    with pytest.warns(UserWarning, match=r"2 left out, first .*: not in the \.idx"):
        assert holds(BaseMXDataset(folder, idx="trust"), [(jpegs[i], i) for i in (0, 2, 4)])
    with pytest.raises(ValueError, match="idx is"):
        BaseMXDataset(folder, idx="guess")  # type: ignore[arg-type]


def test_git_lfs_pointers(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(0, 0.0, jpegs[0]), (1, 1.0, POINTER + b"\noid sha256:0\nsize 9\n")])
    with pytest.raises(RecordError, match=r"key 1 at byte .* is a Git LFS pointer, not the file itself: run `git lfs"):
        BaseMXDataset(folder)[1]
    (folder / "train.rec").write_bytes(POINTER + b"\noid sha256:0\nsize 9\n")
    with pytest.raises(RecordError, match=r"train\.rec: a Git LFS pointer, not the file itself: run `git lfs pull`"):
        BaseMXDataset(folder)


@pytest.mark.parametrize("label", [2.5, 2.0**70, -0.25])
def test_labels_that_are_not_whole(tmp_path: Path, jpegs: list[bytes], label: float) -> None:
    folder = write(tmp_path / "r", [(4, 1.0, jpegs[0]), (5, label, jpegs[1])])
    with pytest.raises(RecordError, match=r"train\.rec: the label of key 5 is .*, not a whole number"):
        BaseMXDataset(folder)


def test_no_records(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", tmp_path / "missing.rec"):
        with pytest.raises(SourceError):
            BaseMXDataset(path)
    with pytest.raises(SourceError, match="no image record"):
        BaseMXDataset(write(tmp_path / "r", [(0, [1.0, 1.0], b"")]))


def test_a_file_that_was_replaced(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(i, 0.0, jpegs[i]) for i in range(3)])
    dataset = BaseMXDataset(folder)
    other = pickle.loads(pickle.dumps(dataset))
    dataset.read_sample(0)
    write(folder, [(0, 0.0, jpegs[9])])
    assert holds(dataset, [(jpegs[i], 0) for i in range(3)])  # it has the old one open
    with pytest.raises(RecordError, match=r"train\.rec has changed since the data set was made: make it again"):
        other.read_sample(0)


# --- in use


def test_a_worker_that_was_spawned(tmp_path: Path, jpegs: list[bytes]) -> None:
    """It gets the data set pickled, and opens the file itself."""
    folder = write(tmp_path / "r", [(i, float(i), jpegs[i]) for i in range(4)])
    dataset = AugmentRecordDataset(folder, ToTensor(), photometric_augmentation_prob=0.5, output_dir=tmp_path / "out")
    dataset.read_sample(0)
    loader = DataLoader(dataset, 2, num_workers=1, multiprocessing_context="spawn")
    assert [labels.tolist() for _, labels in loader] == [[0, 1], [2, 3]]
    assert (tmp_path / "out" / "training_samples" / "sample.jpg").is_file()


def test_headers_are_read_faster_than_images(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(i, float(i // 10), jpegs[i % 60]) for i in range(5000)])
    start = time.process_time()
    dataset = BaseMXDataset(folder)
    making = time.process_time() - start
    start = time.process_time()
    for i in range(500):
        dataset.read_sample(i)
    assert making < time.process_time() - start


def test_real_records(lfw_rec: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = AugmentRecordDataset(lfw_rec, ToTensor(), crop_augmentation_prob=0.1)
    assert len(dataset) == 1631
    assert len(np.unique(dataset.targets)) == 400
    sampler = RandomIdentitySampler(dataset, 4)
    loader = DataLoader(dataset, 64, sampler=sampler, num_workers=2)
    seen: list[int] = []
    for images, labels in loader:
        assert images.shape[1:] == (3, 112, 112)
        seen += labels[::4].tolist()
    assert sorted(seen) == sorted(set(dataset.targets.tolist()))


def test_channels_are_in_the_order_of_opencv_reversed(lfw_rec: Path) -> None:
    """A face is more red than blue."""
    dataset: Any = BaseMXDataset(lfw_rec)
    red, _, blue = np.mean([np.asarray(dataset[i][0]).mean((0, 1)) for i in range(100)], 0)
    assert red > blue + 10
