"""Randomness: repeatable when asked for, and never the same numbers twice, in workers least of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests.transforms.levels import assert_uniform
from tests.transforms.pictures import noisy
from tests.transforms.test_forms import ALL, of_lone
from wds_face.transforms import Augmenter, SyntheticOcclusionMask
from wds_face.transforms.chance import Chance

RANDOM = sorted(ALL.keys() - {"scale", "nothing"})


class Faces(Dataset[Any]):
    """The same image again and again, so that only chance makes a difference."""

    def __init__(self, transform: Any, count: int = 12) -> None:
        self.transform, self.count = transform, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.transform(noisy(24, 24))


def epoch(loader: DataLoader[Any]) -> list[bytes]:
    return [image.numpy().tobytes() for batch in loader for image in batch]


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_generator_gives_the_same_and_another_does_not(name: str) -> None:
    def results(seed: int) -> list[bytes]:
        transform = ALL[name](np.random.default_rng(seed))
        return [of_lone(name, transform(noisy())).tobytes() for _ in range(5)]

    first = results(1)
    assert results(1) == first
    assert results(2) != first
    assert len(set(first)) == 5


@pytest.mark.parametrize("name", RANDOM)
def test_without_a_generator_torchs_seed_decides(name: str) -> None:
    transform = ALL[name](None)

    def results(seed: int) -> list[bytes]:
        torch.manual_seed(seed)
        return [of_lone(name, transform(noisy())).tobytes() for _ in range(5)]

    first = results(1)
    assert results(1) == first
    assert results(2) != first
    assert len(set(first)) == 5


@pytest.mark.parametrize("name", RANDOM)
def test_every_image_takes_the_same_count_of_numbers(name: str) -> None:
    rng = np.random.default_rng(3)
    transform = ALL[name](rng)
    for _ in range(4):
        transform(noisy(20, 20))
    again = np.random.default_rng(3)
    again.random((4, transform.draws))
    assert rng.random() == again.random()


def test_an_explicit_generator_leaves_torchs_alone() -> None:
    before = torch.get_rng_state()
    Augmenter(1, 1, 1, rng=np.random.default_rng(0))(noisy())
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_are_uniform_and_never_1() -> None:
    for chance in (Chance(), Chance(np.random.default_rng(4))):
        torch.manual_seed(4)
        drawn = np.array([chance.draw(5) for _ in range(500)])
        assert drawn.shape == (500, 5)
        assert 0 <= drawn.min() <= drawn.max() < 1
        for column in drawn.T:
            assert_uniform(column, 0, 1)


@pytest.mark.parametrize("explicit", [False, True])
def test_workers_do_not_repeat_each_other_and_epochs_differ(explicit: bool) -> None:
    rng = np.random.default_rng(5) if explicit else None
    loader = DataLoader(Faces(Augmenter(1, 1, 1, rng=rng)), batch_size=3, num_workers=2)
    torch.manual_seed(6)
    first, second = epoch(loader), epoch(loader)
    assert len(set(first + second)) == 24
    torch.manual_seed(6)
    assert epoch(loader) == first


def test_workers_that_stay_do_not_repeat_their_epoch() -> None:
    transform = Augmenter(1, 1, 1, rng=np.random.default_rng(7))
    loader = DataLoader(Faces(transform), batch_size=3, num_workers=2, persistent_workers=True)
    assert len(set(epoch(loader) + epoch(loader))) == 24


def test_two_transforms_with_one_generator_do_not_repeat_each_other_in_a_worker() -> None:
    rng = np.random.default_rng(8)
    both = Augmenter(0, 1, 0, rng=rng), Augmenter(0, 1, 0, rng=rng)
    loader = DataLoader(Faces(lambda image: np.stack([each(image) for each in both])), batch_size=4, num_workers=1)
    for batch in loader:
        for first, second in batch:
            assert not torch.equal(first, second)


def test_pairs_through_a_loader() -> None:
    occlude = SyntheticOcclusionMask(1, rng=np.random.default_rng(9))
    loader = DataLoader(Faces(occlude), batch_size=6, num_workers=2)
    images, masks = next(iter(loader))
    assert (images.shape, masks.shape) == ((6, 24, 24, 3), (6, 7, 7))
    assert masks.min() == 0
