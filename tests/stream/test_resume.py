"""Promises 4 and 5: the same batches on any number of ranks and workers, and from any step on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import webdataset as wds
from torch.utils.data import DataLoader

from tests.resuming import Job, Step, fresh, masked, merged, steps, streamed
from tests.support import MakeFolder
from wds_face import ImageFolder, Options, PKStream, WebDataset, convert

WORLDS = (1, 2, 3, 4, 8)
WORKERS = (0, 1, 2, 5)


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> str:
    """37 identities of 1 to 9 images, one of 60: nothing divides anything."""
    folder = make_folder({f"{i:02d}": 60 if i == 11 else 1 + i * i % 9 for i in range(37)})
    convert(ImageFolder(folder), tmp_path / "out", Options(shard_size=20_000), workers=1)
    return str(tmp_path / "out")


OPTIONS: list[dict[str, Any]] = [
    {"p": 5, "k": 3, "seed": 7, "lanes": 2, "window": 2},
    {"p": 5, "k": 3, "seed": 7, "lanes": 3, "epoch": "identities"},
]


def check(found: list[Step], whole: list[Step], start: int) -> None:
    """*found* is what comes from batch *start* on, and then, where ranks do not divide it, the first batches again."""
    left = len(whole) - start
    assert [step.sums for step in found[:left]] == [step.sums for step in whole[start:]]
    assert [step.labels for step in found[left:]] == [step.labels for step in whole[: len(found) - left]]


@pytest.mark.parametrize("options", OPTIONS, ids=["images", "identities"])
def test_any_number_of_ranks_and_workers_streams_the_same(shards: str, options: dict[str, Any]) -> None:
    whole = streamed(Job(shards, options, epoch=3))[0]
    assert len({step.sums for step in whole}) == len(whole) > 8
    for world in WORLDS:
        for workers in WORKERS if world < 4 else WORKERS[:2]:
            ranks = streamed(Job(shards, options, world, workers, epoch=3))
            assert len(ranks[0]) == len(masked(shards, rank=0, world_size=world, **options)), "len is exact"
            assert len(merged(ranks)) - len(whole) == -len(whole) % world
            check(merged(ranks), whole, 0)


@pytest.mark.parametrize("options", OPTIONS, ids=["images", "identities"])
def test_every_step_is_resumed_in_a_fresh_process_on_any_number_of_ranks_and_workers(
    shards: str, options: dict[str, Any]
) -> None:
    whole = streamed(Job(shards, options, epoch=2))[0]
    jobs = [
        Job(shards, options, world, WORKERS[(step + world) % (4 if world < 4 else 2)], 2, whole[step].state)
        for step in range(len(whole))
        for world in WORLDS
    ]
    for job, ranks in zip(jobs, fresh(jobs), strict=True):
        assert len(ranks) == job.world
        check(merged(ranks), whole, json.loads(job.state)["batch"])


def test_states_of_several_ranks_go_on_on_any_other_number(shards: str) -> None:
    whole = streamed(Job(shards, OPTIONS[0]))[0]
    for world in (2, 3):
        ranks = streamed(Job(shards, OPTIONS[0], world, workers=2))
        assert [step.state for step in ranks[0]] == [step.state for step in ranks[-1]], "the same on every rank"
        for number, step in enumerate(ranks[0][:-1]):
            assert json.loads(step.state)["batch"] == (number + 1) * world
            again = streamed(Job(shards, OPTIONS[0], 3 if world == 2 else 4, 0, 0, step.state))
            check(merged(again), whole, (number + 1) * world)


def test_a_resumed_run_can_be_resumed(shards: str) -> None:
    whole = streamed(Job(shards, OPTIONS[0]))[0]
    state = whole[3].state
    for world, workers in ((2, 1), (1, 2), (3, 0)):
        ranks = streamed(Job(shards, OPTIONS[0], world, workers, 0, state))
        check(merged(ranks), whole, json.loads(state)["batch"])
        state = ranks[0][1].state
    assert json.loads(state)["batch"] == 4 + 2 * 2 + 2 * 1 + 2 * 3


def test_a_state_at_the_end_of_an_epoch_goes_on_with_the_next(shards: str) -> None:
    whole = streamed(Job(shards, OPTIONS[0], epoch=1))[0]
    stream = masked(shards, **OPTIONS[0])
    loader = stream.loader()
    loader.load_state_dict(json.loads(streamed(Job(shards, OPTIONS[0]))[0][-1].state))
    loader.set_epoch(0)
    assert list(loader) == [], "nothing is left of it"
    loader.set_epoch(1)
    check(steps(loader, loader.state_dict), whole, 0)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_an_epoch_is_resumed_once(shards: str, workers: int, persistent: bool) -> None:
    stream = masked(shards, **OPTIONS[0])
    first = streamed(Job(shards, OPTIONS[0]))[0]
    loader = stream.loader(workers, persistent_workers=persistent and workers > 0)
    check(steps(loader, loader.state_dict), first, 0)
    loader.load_state_dict(json.loads(first[4].state))
    check(steps(loader, loader.state_dict), first, 5)
    check(steps(loader, loader.state_dict), first, 0)
    loader.load_state_dict(json.loads(first[4].state))
    loader.set_epoch(1)
    check(steps(loader, loader.state_dict), streamed(Job(shards, OPTIONS[0], epoch=1))[0], 0)


def test_breaking_off_and_beginning_again(shards: str) -> None:
    stream = masked(shards, **OPTIONS[0])
    whole = streamed(Job(shards, OPTIONS[0]))[0]
    loader = stream.loader(2, persistent_workers=True)
    for number, _ in enumerate(loader):
        if number == 2:
            break
    assert loader.state_dict()["batch"] == 3
    check(steps(loader, loader.state_dict), whole, 0)
    for number, _ in enumerate(loader):
        if number == 3:
            break
    state = loader.state_dict()
    loader.load_state_dict(state)
    check(steps(loader, loader.state_dict), whole, 4)


def test_a_state_before_the_first_step(shards: str) -> None:
    loader = masked(shards, **OPTIONS[0]).loader()
    loader.set_epoch(5)
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (5, 0)
    list(loader)
    assert loader.state_dict()["batch"] == len(loader)
    loader.set_epoch(6)
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (6, 0)


def test_the_state_is_small_json_without_names_of_places(shards: str) -> None:
    state = json.dumps(masked(shards, **OPTIONS[0]).state_dict())
    assert len(state) < 300
    assert shards not in state


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 8}, "another seed: 7, this stream has 8"),
        ({"p": 6}, "another p: 5"),
        ({"k": 2}, "another k"),
        ({"lanes": 4}, "another lanes"),
        ({"window": 3}, "another window"),
        ({"epoch": "identities"}, "another kind of epoch"),
        ({"min_images": 2}, "another min_images"),
    ],
)
def test_the_state_of_another_stream_is_refused(shards: str, changed: dict[str, Any], message: str) -> None:
    state = masked(shards, **OPTIONS[0]).state_dict()
    with pytest.raises(ValueError, match=message):
        masked(shards, **{**OPTIONS[0], **changed}).load_state_dict(state)


def test_the_state_of_another_data_set_is_refused(shards: str, make_folder: MakeFolder, tmp_path: Path) -> None:
    convert(ImageFolder(make_folder({f"{i}": 3 for i in range(9)}, "other")), tmp_path / "b", workers=1)
    state = masked(shards, **OPTIONS[0]).state_dict()
    with pytest.raises(ValueError, match="another data set"):
        masked(str(tmp_path / "b"), **OPTIONS[0]).load_state_dict(state)
    for wrong in ({}, {"format": 2}, {**state, "batch": -1}, {**state, "epoch": "0"}, [1]):
        with pytest.raises(ValueError, match=r"not the state|must be a whole number"):
            masked(shards, **OPTIONS[0]).load_state_dict(wrong)  # type: ignore[arg-type]


def test_a_rank_needs_a_world(shards: str) -> None:
    with pytest.raises(ValueError, match="rank and world_size both"):
        PKStream(shards, 2, 2, rank=1)
    with pytest.raises(ValueError, match="from 0 to world_size - 1, not 2 of 2"):
        PKStream(shards, 2, 2, rank=2, world_size=2)


def test_ranks_of_the_environment(shards: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked when an iteration begins, whoever iterates."""
    stream = PKStream(shards, **OPTIONS[0])
    loaders: list[Any] = [
        *(stream.loader(0), stream.loader(2), stream.loader(2, multiprocessing_context="spawn")),
        *(DataLoader(stream, batch_size=None, num_workers=2), wds.WebLoader(stream, batch_size=None, num_workers=2)),
    ]
    loaders[1] = stream.loader(1, persistent_workers=True)
    whole = [labels.tolist() for _, labels in stream]
    assert [labels.tolist() for _, labels in loaders[1]] == whole
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for loader in (stream, *loaders):
        assert [labels.tolist() for _, labels in loader] == whole[1::2], loader
    assert len(stream) == len(loaders[0]) == -(-len(whole) // 2)
    for rank, world in (("3", "2"), ("0", "0"), ("x", "2"), ("-1", "2")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", world)
        with pytest.raises(ValueError, match=f"RANK={rank} and WORLD_SIZE={world} name no rank"):
            next(iter(stream))


def test_an_epoch_broken_off_after_resuming_begins_at_0_again(shards: str) -> None:
    whole = streamed(Job(shards, OPTIONS[0]))[0]
    for workers in (0, 2):
        loader = masked(shards, **OPTIONS[0]).loader(workers)
        loader.load_state_dict(json.loads(whole[3].state))
        for number, _ in enumerate(loader):
            if number == 1:
                break
        assert loader.state_dict()["batch"] == 6
        with pytest.raises(ValueError, match="epoch must be"):
            loader.set_epoch(-1)
        assert loader.state_dict()["batch"] == 6
        check(steps(loader, loader.state_dict), whole, 0)


def test_a_batch_that_no_epoch_has_is_refused(shards: str) -> None:
    stream = masked(shards, **OPTIONS[0])
    with pytest.raises(ValueError, match=f"at batch 10000 of an epoch of {len(stream)}"):
        stream.load_state_dict({**stream.state_dict(), "batch": 10_000})


def test_what_came_before_is_not_read(shards: str, tmp_path: Path) -> None:
    url = f"memory:/{tmp_path}/resumed"
    convert(WebDataset(shards), url, Options(shard_size=20_000), workers=1)
    options = {**OPTIONS[0], "rank": 0, "world_size": 1}
    whole = PKStream(url, **options)
    total = len(list(whole))
    stream = PKStream(url, **options)
    stream.load_state_dict({**stream.state_dict(), "batch": total - 2})
    assert len(list(stream)) == 2
    read = stream.stats()["bytes_fetched"]
    assert 0 < read < 0.8 * whole.stats()["bytes_fetched"]
