"""What the callback for `transformers.Trainer` refuses; the trainer itself is in tests/stream/test_frameworks.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import transformers
from torch.utils.data import DataLoader

from tests.support import MakeFolder
from wds_face import ImageFolder, Options, PKStream, WdsFaceError, convert
from wds_face.huggingface import LoaderStateCallback
from wds_face.stream import PKLoader


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> Path:
    folder = make_folder({f"{i:02d}": 3 for i in range(21)})
    convert(ImageFolder(folder), tmp_path / "out", Options(shard_size=20_000), workers=1)
    return tmp_path / "out"


def make_loader(shards: Path) -> PKLoader:
    return PKStream(shards, p=3, k=3, image_size=24).loader()


def begin(callback: LoaderStateCallback, loader: Any, tmp_path: Path, saved: Any = None, **arguments: Any) -> None:
    """Tell the callback that training begins, with what it saved if it goes on."""
    state = transformers.TrainerState(global_step=3 if saved else 0)
    if saved:
        state.stateful_callbacks = saved
    args = transformers.TrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, report_to=[], **arguments)
    callback.on_train_begin(args, state, transformers.TrainerControl(), train_dataloader=loader)


def test_the_state_goes_through_the_trainers_own(shards: Path, tmp_path: Path) -> None:
    first = LoaderStateCallback()
    loader = make_loader(shards)
    assert len(loader) == 7
    begin(first, loader, tmp_path)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    saved = {"LoaderStateCallback": first.state()}
    again = make_loader(shards)
    begin(LoaderStateCallback(), again, tmp_path, saved, ignore_data_skip=True)
    assert again.state_dict() == loader.state_dict()
    assert len(list(again)) == 4

    with pytest.raises(WdsFaceError, match=r"TrainingArguments\(ignore_data_skip=True\)"):
        begin(LoaderStateCallback(), make_loader(shards), tmp_path, saved)
    with pytest.raises(WdsFaceError, match="gradient_accumulation_steps=2 does not divide the 7 batches"):
        begin(
            LoaderStateCallback(),
            make_loader(shards),
            tmp_path,
            saved,
            ignore_data_skip=True,
            gradient_accumulation_steps=2,
        )
    list(batches)
    at_end = {"LoaderStateCallback": first.state()}
    begin(
        LoaderStateCallback(),
        make_loader(shards),
        tmp_path,
        at_end,
        ignore_data_skip=True,
        gradient_accumulation_steps=2,
    )


def test_other_loaders_and_checkpoints_are_refused(shards: Path, tmp_path: Path) -> None:
    plain: DataLoader[Any] = DataLoader(PKStream(shards, p=3, k=3), batch_size=None)
    with pytest.raises(WdsFaceError, match=r"return stream\.loader\(\) from get_train_dataloader"):
        begin(LoaderStateCallback(), plain, tmp_path)
    with pytest.raises(WdsFaceError, match="saved by a trainer without LoaderStateCallback"):
        begin(LoaderStateCallback(), make_loader(shards), tmp_path, {"TrainerControl": {}}, ignore_data_skip=True)
