"""The DataModule in Lightning's Trainer: the same batches on any number of processes, and on from any step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DistributedSampler

from tests.lightning_job import make_data, sum_of
from tests.support import MakeFolder
from tests.validation.sets import write_adaface, write_bin
from wds_face import (
    Augmenter,
    DataModule,
    DatasetError,
    ImageFolder,
    MedicalMaskOcclusion,
    Options,
    PKStream,
    RandomIdentitySampler,
    ToTensorWithMask,
    convert,
)
from wds_face.recordio import RecordWriter, pack

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> Path:
    folder = make_folder({f"{i:02d}": 1 + i * i % 9 for i in range(31)})
    convert(ImageFolder(folder), tmp_path / "shards", Options(shard_size=20_000), workers=1)
    return tmp_path / "shards"


@pytest.fixture
def val(tmp_path: Path) -> Path:
    for seed, name in enumerate(["lfw", "own"]):
        write_bin(tmp_path / "val" / f"{name}.bin", pairs=7 + seed, seed=seed)
    return tmp_path / "val"


def job(shards: Path, val: Path, out: Path, **more: Any) -> dict[str, Any]:
    """One of :mod:`tests.lightning_job`."""
    out.mkdir(exist_ok=True)
    places = {"shards": str(shards), "val": str(val), "out": str(out)}
    size = {"devices": 1, "workers": 0, "epochs": 2, "steps": -1}
    return {**places, **size, "every": 3, "at_end": False, "resume": None, "hold": None, **more}


def started(*jobs: dict[str, Any]) -> subprocess.Popen[str]:
    """Jobs one after the other, in a process group of their own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.lightning_job", json.dumps(jobs)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def reference(shards: Path, val: Path, folder: Path) -> list[tuple[int, str]]:
    """Epoch and sum of the batches of two epochs, without Lightning."""
    data = make_data(job(shards, val, folder / "reference"))
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    found = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        found += [(epoch, sum_of(batch)) for batch in loader]
    return found


def ended(process: subprocess.Popen[str]) -> str:
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    return said


def rows(out: Path, kind: str = "train") -> list[list[Row]]:
    """What each rank saw."""
    files = sorted(out.glob(f"{kind}.rank*.jsonl"))
    return [[json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")] for file in files]


def merged(ranks: list[list[Row]]) -> list[tuple[int, str]]:
    """Epoch and sum of the batches of all ranks, in their order over all."""
    assert len({len(steps) for steps in ranks}) == 1, "every rank has as many"
    return [(row["epoch"], row["sum"]) for steps in zip(*ranks, strict=True) for row in steps]


def state(checkpoint: Path) -> Row:
    """Of the stream, in a checkpoint."""
    found: Row = torch.load(checkpoint, weights_only=False)["DataModule"]["train"]
    return found


def test_killed_and_gone_on_with(shards: Path, val: Path, tmp_path: Path) -> None:
    """Two processes train, validate, and are killed; two, and one, go on with the very next batch."""
    whole = reference(shards, val, tmp_path)
    assert len(set(whole)) == len(whole), "every epoch has its own order"
    length = sum(epoch == 0 for epoch, _ in whole)
    killed = tmp_path / "killed"
    process = started(job(shards, val, killed, devices=2, workers=1, hold=[1, 5]))
    while (1, 5) not in {(row["epoch"], row["batch"]) for rank in rows(killed) for row in rank}:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    at = state(killed / "last.ckpt")
    assert (at["epoch"], 0 < at["batch"] < length) == (1, True), "in the middle of the second epoch"
    ranks = [[row for row in rank if row["epoch"] == 0] for rank in rows(killed)]
    assert merged(ranks) == whole[:length], "no rank has what another has"
    assert ranks[0][0]["columns"] == 3, "images, labels and masks"
    seen = [index for rank in rows(killed, "val") for row in rank if row["epoch"] == 0 for index in row["index"]]
    assert sorted(set(seen)) == list(range(30)), "both ranks together see every image"

    for devices, workers in ((2, 0), (1, 1)):
        again = tmp_path / f"again-{devices}"
        resume = str(killed / "last.ckpt")
        ended(started(job(shards, val, again, devices=devices, workers=workers, resume=resume)))
        assert merged(rows(again)) == whole[length + at["batch"] :]


def test_a_checkpoint_at_the_end_of_an_epoch(shards: Path, val: Path, tmp_path: Path) -> None:
    """The next epoch follows, whatever the state says of the one that is over."""
    jobs = []
    for workers in (0, 1):
        half = tmp_path / f"half-{workers}"
        jobs.append(job(shards, val, half, workers=workers, epochs=1, every=None, at_end=True))
        jobs.append(job(shards, val, half, workers=workers, resume=str(half / "last.ckpt")))
    ended(started(*jobs))
    whole = reference(shards, val, tmp_path)
    for workers in (0, 1):
        assert merged(rows(tmp_path / f"half-{workers}")) == whole


class Nothing(LightningModule):
    """Looks at batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[tuple[torch.Tensor, ...]] = []

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        self.seen.append(batch)
        return self.layer(torch.zeros(1)).sum()  # type: ignore[no-any-return]

    def test_step(self, batch: tuple[torch.Tensor, ...], number: int) -> None:
        self.seen.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def trainer(**options: Any) -> Trainer:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }
    return Trainer(accelerator="cpu", devices=1, **quiet, **options)


def test_testing_and_channels(shards: Path, tmp_path: Path) -> None:
    images, issame = write_adaface(tmp_path / "bgr", "lfw")
    data = DataModule(shards, val_data_path=tmp_path / "bgr", swap_color_channel=True, val_num_workers=0, batch_size=8)
    assert data.channels == "bgr"
    model = Nothing()
    trainer().test(model, data, verbose=False)
    found = torch.cat([batch[0] for batch in model.seen])
    assert torch.equal(found, torch.from_numpy(images))
    assert torch.cat([batch[1] for batch in model.seen])[::2].tolist() == issame
    rgb = DataModule(shards, val_data_path=tmp_path / "bgr", val_num_workers=0)
    with pytest.raises(DatasetError, match=r"the images of lfw are bgr, not rgb: make them with .* or ask for bgr"):
        rgb.prepare_data()


def test_channels_of_training(shards: Path) -> None:
    options: dict[str, Any] = {"batch_size": 8, "num_workers": 0, "occlusion": None, "flip": 0.0}
    rgb, bgr = (next(iter(DataModule(shards, channels=channels, **options).train_dataloader()))[0]
                for channels in ("rgb", "bgr"))  # fmt: skip
    assert torch.equal(rgb, bgr.flip(1))
    assert not torch.equal(rgb, bgr)


@pytest.fixture
def records(tmp_path: Path, jpegs: list[bytes]) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    with RecordWriter(folder / "train.rec") as writer:
        for key in range(60):
            writer.write(key, pack((0, float(key % 13), key, 0), jpegs[key]))
    return folder


@pytest.mark.parametrize("use_mxrecord", [False, True])
def test_without_shards(use_mxrecord: bool, make_folder: MakeFolder, records: Path, tmp_path: Path) -> None:
    """Folders, in ``imgs`` as AdaFace has them, and records: the sampler is ours, and Lightning leaves it."""
    make_folder({f"{i:02d}": 2 + i % 4 for i in range(13)}, "emore/imgs")
    path = "records" if use_mxrecord else "emore"
    data = DataModule(
        data_root=tmp_path, train_data_path=path, use_mxrecord=use_mxrecord, batch_size=8, num_workers=0,
        augmenter=Augmenter(0.5, 0.5, 0.5), output_dir=tmp_path / "debug",
    )  # fmt: skip
    assert data.num_classes == 13
    model = Nothing()
    fit = trainer(max_epochs=2, num_sanity_val_steps=0)
    fit.fit(model, data)
    assert isinstance(fit.train_dataloader.sampler, RandomIdentitySampler)
    assert isinstance(fit.train_dataloader.sampler, DistributedSampler), "so that Lightning puts none of its own"
    images, labels, masks = model.seen[0]
    assert (images.shape[:2], labels.shape, masks.shape[:2]) == ((8, 3), (8,), (8, 1))
    assert labels.tolist()[::4] == labels.tolist()[3::4]
    first, second = ([batch[1].tolist() for batch in model.seen[i * 7 : i * 7 + 7]] for i in range(2))
    assert first != second
    assert (tmp_path / "debug" / "training_samples" / "sample.jpg").is_file()


def test_what_goes_in_front(shards: Path) -> None:
    plain = DataModule(shards, batch_size=8, num_workers=0, occlusion=None, output="uint8", image_size=24)
    assert [column.shape for column in next(iter(plain.train_dataloader()))] == [(8, 3, 24, 24), (8,)]
    own = DataModule(shards, batch_size=8, num_workers=0, transform=ToTensorWithMask())
    images, _ = next(iter(own.train_dataloader()))
    assert (images.shape, bool((images >= 0).all())) == ((8, 3, 112, 112), True)
    data = DataModule(shards, batch_size=8, num_instances=2, num_workers=0, occlusion=MedicalMaskOcclusion(prob=1.0))
    _, labels, masks = next(iter(data.train_dataloader()))
    assert len(set(labels.tolist())) == 4
    assert np.all(masks.flatten(1).min(1).values.numpy() == 0)
    assert data.val_dataloader() == []
    assert data.state_dict()["train"]["batch"] == 1


def hparams(**more: Any) -> dict[str, Any]:
    """What AdaFace's main.py passes: the defaults of its config.py, and what it adds."""
    return {
        "data_root": "", "train_data_path": "faces_emore/imgs", "val_data_path": "faces_emore", "use_mxrecord": False,
        "train_data_subset": False, "swap_color_channel": False, "prefix": "default", "gpus": 1,
        "distributed_backend": "ddp", "use_16bit": False, "epochs": 24, "seed": 42, "batch_size": 8, "lr": 0.1,
        "lr_milestones": [8, 12, 14], "lr_gamma": 0.1, "num_workers": 0, "fast_dev_run": False, "evaluate": False,
        "resume_from_checkpoint": "", "start_from_model_statedict": "", "use_wandb": False, "custom_num_class": -1,
        "arch": "ir_18", "momentum": 0.9, "weight_decay": 1e-4, "head": "adaface", "m": 0.5, "h": 0.0, "s": 64.0,
        "t_alpha": 0.01, "low_res_augmentation_prob": 0.0, "crop_augmentation_prob": 0.0,
        "photometric_augmentation_prob": 0.0, "accumulate_grad_batches": 1, "test_run": False, "save_all_models": False,
        "output_dir": None, "total_batch_size": 256,
    } | more  # fmt: skip


def test_the_hyperparameters_of_adaface_are_taken(
    make_folder: MakeFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_folder({f"{i:02d}": 2 + i % 4 for i in range(13)}, "emore/imgs")
    oaml = {"k_nearest": 32, "niqab_data_path": "", "occlusion_loss_weight": 0.1, "use_occlusion_weighting": False}
    data = DataModule(**hparams(data_root=tmp_path, train_data_path="emore", val_data_path=None, **oaml))
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("DataModule ignores what is not about data: accumulate_grad_batches, arch, custom_num_class")
    assert "use_wandb, weight_decay; swap_color_channel=False gives RGB here, the opposite of AdaFace and OAML" in line
    images, labels, masks = next(iter(data.train_dataloader()))
    assert (images.shape, labels.shape, masks.shape) == ((8, 3, 24, 24), (8,), (8, 1, 24, 24))
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        DataModule(**hparams(batchsize=3))
    with pytest.raises(TypeError, match="unexpected keyword argument 'lane'"):
        DataModule("shards", lane=3)


@pytest.mark.parametrize("swapped", [False, True])
def test_adaface_on_folders(make_folder: MakeFolder, tmp_path: Path, swapped: bool) -> None:
    """Every image once, without a mask, in the channels that AdaFace's own lines give."""
    folder = make_folder({f"{i:02d}": 2 + i % 4 for i in range(13)}, "emore/imgs")
    wanted = set()
    for file in folder.glob("*/*.jpg"):
        sample = Image.open(file).convert("RGB")
        sample = Image.fromarray(np.asarray(sample)[:, :, ::-1])  # as in its dataset/image_folder_dataset.py
        if swapped:
            sample = Image.fromarray(np.asarray(sample)[:, :, ::-1])
        wanted.add(np.asarray(sample).transpose(2, 0, 1).tobytes())
    data = DataModule.adaface(
        **hparams(data_root=tmp_path, train_data_path="emore", val_data_path=None, swap_color_channel=swapped), flip=0.0
    )
    assert data.channels == ("rgb" if swapped else "bgr")
    batches = list(data.train_dataloader())
    assert {len(batch) for batch in batches} == {2}, "images and labels, no masks"
    images = torch.cat([batch[0] for batch in batches])
    assert len(images) == len(list(folder.glob("*/*.jpg"))) > 13
    assert {pixels(image) for image in images} == wanted
    sampler: Any = data.train_dataloader().sampler
    assert isinstance(sampler, DistributedSampler), "so that Lightning puts none of its own"
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first


def pixels(image: torch.Tensor) -> bytes:
    """The bytes that were normalised to [-1, 1]."""
    return (image * 127.5 + 127.5).round().to(torch.uint8).numpy().tobytes()


def test_adaface_on_shards(shards: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = hparams(val_data_path=None, train_data_path="faces_emore")
    options: dict[str, Any] = {"flip": 0.0, "output": "uint8"}
    bgr = DataModule.adaface(shards, **given, **options)
    assert "reads" in caplog.text
    assert "ignores train_data_path" in caplog.text
    loader = bgr.train_dataloader()
    batches = list(loader)
    assert {len(batch) for batch in batches} == {2}
    assert all(len(set(labels.tolist())) == len(labels) for _, labels in batches)
    seen = {image.numpy().tobytes() for images, _ in batches for image in images}
    rgb = DataModule.adaface(shards, **{**given, "swap_color_channel": True}, **options)
    other = {image.flip(0).numpy().tobytes() for images, _ in rgb.train_dataloader() for image in images}
    assert seen == other
    assert {image.flip(0).numpy().tobytes() for images, _ in batches for image in images} != seen
    stream = loader.dataset
    assert isinstance(stream, PKStream)
    assert stream.summary()["images"] <= sum(len(labels) for _, labels in batches)


def test_what_adaface_does_where_nothing_is_given(shards: Path) -> None:
    data = DataModule.adaface(shards, batch_size=8, num_workers=0)
    assert data.augmenter is not None
    probabilities = (data.augmenter.crop_prob, data.augmenter.photometric_prob, data.augmenter.low_res_prob)
    assert probabilities == (0.2, 0.2, 0.2)
    assert (data.augmenter.jitter, data.flip, data.occlusion, data.num_instances) == (0.5, 0.5, None, 1)
    assert data.seed == 42
    with pytest.raises(ValueError, match="two names of one thing"):
        DataModule.adaface(shards, channels="rgb", swap_color_channel=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give shards, or train_data_path"),
        ({"shards": "a", "train_data_path": "b"}, "give shards, or train_data_path"),
        ({"train_data_path": "b", "lanes": 3}, "lanes: for shards only"),
        ({"shards": "a", "channels": "rgb", "swap_color_channel": True}, "contradicts channels='rgb'"),
        ({"shards": "a", "batch_size": 2}, "num_instances must be from 1 to batch_size 2, not 4"),
        ({"shards": "a", "transform": ToTensorWithMask(), "occlusion": MedicalMaskOcclusion()}, "transform replaces"),
        ({"shards": "a", "transform": ToTensorWithMask(), "low_res_augmentation_prob": 0.1}, "transform replaces"),
        (
            {"shards": "a", "augmenter": Augmenter(0, 0, 0), "low_res_augmentation_prob": 0.1},
            "give either an augmenter",
        ),
        ({"shards": "a", "train_data_subset": True}, "train_data_subset"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataModule(**options)
