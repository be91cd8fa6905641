"""Promises of the sampler, on random labels, and that it reads labels only."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from wds_face.datasets import CustomImageFolderDataset, RandomIdentitySampler

quick = settings(deadline=None, max_examples=100)
some_labels = st.lists(st.integers(-4, 12), min_size=1, max_size=60)


class Unreadable(Dataset[Any]):
    """A data set whose images must not be read."""

    def __init__(self, targets: Any) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("an image was read")


def groups(sampler: RandomIdentitySampler) -> list[tuple[int, ...]]:
    """A pass, cut into the groups of each identity."""
    indices, k = list(sampler), sampler.num_instances
    assert len(indices) == len(sampler)
    assert all(type(index) is int for index in indices)
    return [tuple(indices[at : at + k]) for at in range(0, len(indices), k)]


def deal(labels: Any, k: int, ranks: int, **options: Any) -> list[list[tuple[int, ...]]]:
    """The groups of each rank."""
    return [groups(RandomIdentitySampler(labels, k, num_replicas=ranks, rank=rank, **options)) for rank in range(ranks)]


# --- one process


@quick
@given(some_labels, st.integers(1, 7), st.integers(0, 2**70))
def test_each_identity_once_and_its_images_together(labels: list[int], k: int, seed: int) -> None:
    images = defaultdict(list)
    for index, label in enumerate(labels):
        images[label].append(index)
    drawn = groups(RandomIdentitySampler(labels, k, seed=seed))
    assert Counter(labels[group[0]] for group in drawn) == Counter(images.keys())
    for group in drawn:
        own = images[labels[group[0]]]
        assert set(group) <= set(own)
        times = [Counter(group)[index] for index in own]
        assert max(times) - min(times) <= 1  # as even as it can be: all differ where there are k
        for at in range(0, k, len(own)):
            assert len(set(group[at : at + len(own)])) == len(group[at : at + len(own)])


@quick
@given(some_labels, st.integers(1, 5), st.integers(0, 5), st.integers(0, 3))
def test_a_pass_is_a_function_of_seed_and_epoch(labels: list[int], k: int, seed: int, epoch: int) -> None:
    one, other = (RandomIdentitySampler(labels, k, seed=seed) for _ in range(2))
    for _ in range(epoch):
        list(one)  # every pass is the next epoch
    other.set_epoch(epoch)
    assert list(one) == list(other)
    assert list(one) == list(other)
    other.set_epoch(epoch)
    one.set_epoch(epoch)
    assert list(one) == list(other)


def test_passes_and_seeds_differ() -> None:
    labels = np.repeat(np.arange(20), 6)
    sampler = RandomIdentitySampler(labels)
    passes = [tuple(sampler) for _ in range(6)] + [tuple(RandomIdentitySampler(labels, seed=seed)) for seed in (1, 2)]
    assert len(set(passes)) == 8
    orders = {tuple(labels[list(indices)][::4]) for indices in passes}
    assert len(orders) == 8


def test_an_unfinished_pass_counts() -> None:
    sampler = RandomIdentitySampler(range(30), 1)
    first, second = iter(sampler), iter(sampler)
    assert list(first) != list(second)
    again = RandomIdentitySampler(range(30), 1)
    next(iter(again))
    assert sampler.epoch == 2
    assert again.epoch == 1


def test_global_seeds_do_not_matter_and_are_left_alone() -> None:
    passes = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002 (what a user may do)
        torch.manual_seed(seed)
        before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
        passes.append(list(RandomIdentitySampler([0, 0, 1, 2, 2, 2] * 5)))
        assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before  # noqa: NPY002
    assert passes[0] == passes[1]


def test_every_choice_is_as_likely() -> None:
    """Sets, their order and the order of identities, each against its expected count (five standard deviations)."""
    labels = [0] * 5 + [1] * 3 + [2] * 2
    sampler = RandomIdentitySampler(labels, 3)
    sets: Counter[tuple[int, ...]] = Counter()
    firsts, identities = Counter[int](), Counter[tuple[int, ...]]()
    twice: Counter[int] = Counter()
    passes = 6000
    for _ in range(passes):
        drawn = {labels[group[0]]: group for group in groups(sampler)}
        identities[tuple(drawn)] += 1
        sets[tuple(sorted(drawn[0]))] += 1
        firsts[drawn[1][0]] += 1
        twice[Counter(drawn[2]).most_common(1)[0][0]] += 1
    for counts, ways in ((sets, 10), (firsts, 3), (identities, 6), (twice, 2)):
        assert len(counts) == ways
        tolerance = 5 * (passes / ways * (1 - 1 / ways)) ** 0.5
        assert all(abs(count - passes / ways) < tolerance for count in counts.values())


# --- several processes


@quick
@given(some_labels, st.integers(1, 5), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_ranks_share_one_pass(labels: list[int], k: int, ranks: int, seed: int, drop_last: bool) -> None:
    whole = groups(RandomIdentitySampler(labels, k, seed=seed))
    if drop_last and len(whole) < ranks:
        with pytest.raises(ValueError, match="too few"):
            deal(labels, k, ranks, drop_last=True)
        return
    shares = deal(labels, k, ranks, seed=seed, drop_last=drop_last)
    assert len({len(share) for share in shares}) == 1
    dealt = [group for turn in zip(*shares, strict=True) for group in turn]
    if drop_last:
        assert dealt == whole[: len(whole) // ranks * ranks]
    else:
        assert dealt[: len(whole)] == whole
        assert dealt[len(whole) :] == [whole[i % len(whole)] for i in range(len(dealt) - len(whole))]
        assert len(dealt) - len(whole) < ranks


@pytest.mark.parametrize("ranks", [1, 3, 8])
def test_many_identities(ranks: int) -> None:
    """More than are drawn at once, so that ranks meet the borders between."""
    labels = np.random.default_rng(0).integers(0, 70_000, 200_000)
    (whole,) = deal(labels, 9, 1)
    shares = deal(labels, 9, ranks)
    dealt = [group for turn in zip(*shares, strict=True) for group in turn]
    assert dealt[: len(whole)] == whole
    assert dealt[len(whole) :] == whole[: len(dealt) - len(whole)]
    assert sorted(labels[group[0]] for group in whole) == np.unique(labels).tolist()
    assert all(len(set(labels[list(group)])) == 1 for group in whole[:1000])


def in_a_group(rank: int, meeting: Path, answer: Any) -> None:
    distributed.init_process_group("gloo", f"file://{meeting}", timedelta(seconds=30), 2, rank)
    sampler = RandomIdentitySampler([i // 3 for i in range(33)], 2, seed=5)
    sampler.set_epoch(3)
    answer.send((sampler.rank, sampler.num_replicas, len(sampler), list(sampler)))
    distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform != "linux", reason="gloo is not safe to use after a fork elsewhere")
def test_torch_distributed(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in range(2)]
    processes = [
        fork.Process(target=in_a_group, args=(rank, tmp_path / "meeting", pipe[1]), daemon=True)
        for rank, pipe in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for rank, (answers, _) in enumerate(pipes):
        alone = RandomIdentitySampler([i // 3 for i in range(33)], 2, seed=5, num_replicas=2, rank=rank)
        alone.set_epoch(3)
        assert answers.poll(60)
        assert answers.recv() == (rank, 2, 12, list(alone))
    for process in processes:
        process.join(60)


# --- where labels come from


@pytest.mark.parametrize(
    "labels",
    [
        [5, 5, 2, 2, 2, 9],
        (5, 5, 2, 2, 2, 9),
        np.array([5, 5, 2, 2, 2, 9]),
        np.array([127, 127, -128, -128, -128, 0], np.int8),
        np.array([2**64 - 1, 2**64 - 1, 0, 0, 0, 9], np.uint64),
        np.array([2**62, 2**62, -(2**62), -(2**62), -(2**62), 0]),
        np.array([5.5, 5.5, 2, 2, 2, 9], np.float32),
        torch.tensor([5, 5, 2, 2, 2, 9]),
        [torch.tensor(label) for label in (5, 5, 2, 2, 2, 9)],
        ["anna", "anna", "bob", "bob", "bob", "carl"],
    ],
)
def test_forms_of_labels(labels: Any) -> None:
    for source in (labels, Unreadable(labels), SimpleNamespace(targets=labels)):
        sampler = RandomIdentitySampler(source, 2)
        assert sampler.num_identities == 3
        assert sorted(tuple(sorted(group)) for group in groups(sampler))[::2] == [(0, 1), (5, 5)]


def test_labels_mixed_up_give_the_identities_of_labels_in_order() -> None:
    shuffle = np.random.default_rng(1).permutation(60)
    labels = np.arange(60) // 5
    for group in groups(RandomIdentitySampler(labels[shuffle], 5)):
        assert len(set(shuffle[list(group)] // 5)) == 1


def test_subsets_and_concatenations() -> None:
    whole = Unreadable([0, 0, 1, 1, 2, 2])
    assert {tuple(sorted(g)) for g in groups(RandomIdentitySampler(Subset(whole, [5, 0, 1, 4]), 2))} == {(0, 3), (1, 2)}
    nested = Subset(Subset(whole, torch.tensor([5, 4, 3, 2])), range(1, 3))  # type: ignore[arg-type]
    assert {tuple(sorted(g)) for g in groups(RandomIdentitySampler(nested, 1))} == {(0,), (1,)}
    both = ConcatDataset([Subset(whole, [0, 4]), Unreadable(torch.tensor([3, 7])), Subset(whole, [5])])
    assert {tuple(sorted(g)) for g in groups(RandomIdentitySampler(both, 2))} == {(0, 0), (1, 4), (2, 2), (3, 3)}


@pytest.mark.parametrize("second", [[2, 3, 3], torch.tensor([7, 2]), ["a", "2"]])
def test_labels_of_different_data_sets_are_not_merged(second: Any) -> None:
    """Label 2 of one data set is another person than label 2 of the next."""
    first = Unreadable(["2", "b"] if isinstance(second, list) and second[0] == "a" else [0, 0, 1, 1, 2, 2])
    for parts in ([first, Unreadable(second)], [Subset(first, range(2)), ConcatDataset([Unreadable(second), first])]):
        with pytest.raises(ValueError, match=r"1 labels \(2, …\) are in two data sets of the ConcatDataset") as error:
            RandomIdentitySampler(ConcatDataset(parts), 2)
        assert "pass the list of labels" in str(error.value)
        assert "\n" not in str(error.value)


def test_labels_given_for_a_concatenation() -> None:
    """The remedy: the sampler takes labels as they are given."""
    labels = np.concatenate([[0, 0, 1, 1], np.array([0, 0, 1, 1]) + 2])
    assert {tuple(sorted(g)) for g in groups(RandomIdentitySampler(labels, 2))} == {(0, 1), (2, 3), (4, 5), (6, 7)}


def test_no_labels_without_images() -> None:
    class Plain(Dataset[Any]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            raise AssertionError("an image was read")

    for source in (Plain(), Subset(Plain(), [0]), ConcatDataset([Plain()]), 5, "abc", {1: 2}):
        with pytest.raises(TypeError, match="pass the list of labels") as error:
            RandomIdentitySampler(source)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("labels", [[(1, 2), (3, 4)], [[1], [1, 2]], np.zeros((2, 2)), [None, 1], [torch.zeros(2)] * 2])
def test_what_is_no_list_of_labels(labels: Any) -> None:
    for source in (labels, Unreadable(labels)):
        with pytest.raises(TypeError, match="one number or string for each image"):
            RandomIdentitySampler(source)


def test_arguments_out_of_range() -> None:
    for labels in ([], torch.tensor([]), Unreadable([]), Subset(Unreadable([1, 2]), [])):
        with pytest.raises(ValueError, match="the data set is empty"):
            RandomIdentitySampler(labels)
    for options, message in (
        ({"num_instances": 0}, "num_instances must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"num_replicas": 2, "rank": 2}, "not 2 of 2"),
        ({"num_replicas": 2, "rank": -1}, "not -1 of 2"),
        ({"num_replicas": 0}, "not 0 of 0"),
        ({"rank": 1}, "not 1 of 1"),
    ):
        with pytest.raises(ValueError, match=message):
            RandomIdentitySampler([1, 2], **options)
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        RandomIdentitySampler([1, 2]).set_epoch(-1)
    with pytest.raises(ValueError, match="NaN"):
        RandomIdentitySampler([1.0, float("nan")])
    with pytest.raises(ValueError, match="has 3 images but 2 targets"):
        RandomIdentitySampler(type("Odd", (), {"targets": [1, 2], "__len__": lambda _: 3})())


# --- in use


def test_batches_of_a_loader(faces: Path) -> None:
    dataset = CustomImageFolderDataset(faces, transform=lambda image: torch.zeros(1))
    sampler = RandomIdentitySampler(dataset, num_instances=4)
    loader = DataLoader(dataset, batch_size=20, sampler=sampler)
    assert len(loader) == 4
    seen = []
    for _, labels in loader:
        assert labels.shape == (20,)
        assert (labels.reshape(5, 4) == labels.reshape(5, 4)[:, :1]).all()
        seen += labels[::4].tolist()
    assert sorted(seen) == list(range(20))


def test_a_pass_is_faster_than_a_loop_over_the_labels() -> None:
    labels = np.repeat(np.arange(100_000), 20)
    start = time.process_time()
    sampler = RandomIdentitySampler(labels)
    assert sum(1 for _ in sampler) == 400_000
    ours = time.process_time() - start
    start = time.process_time()
    images = defaultdict(list)
    for index, label in enumerate(labels):
        images[label].append(index)
    assert ours < time.process_time() - start
