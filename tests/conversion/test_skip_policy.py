"""What a conversion may leave out: nothing of a damaged container, a few items, anything of another kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wds_face import SourceError, WdsFaceError
from wds_face.conversion.skip_policy import SkipPolicy, parse_max_skipped
from wds_face.conversion.skipped import count_kinds, describe, frequent_reasons, read_skipped, write_skipped
from wds_face.sources import Skipped

ITEMS = [Skipped(f"a/{number:04d}.jpg", "truncated JPEG", "item") for number in range(5)]
OTHERS = [Skipped(f"a/{number}.txt", "not an image", "other") for number in range(50)]
SHARD = Skipped("s-01.tar", "damaged tar: the archive is cut off at byte 512", "container")
FEW = Skipped("anna", "identity with fewer than 2 good images", "other")


@pytest.mark.parametrize(
    ("text", "limit"),
    [("1%", 0.01), ("0.5 %", 0.005), ("0.01", 0.01), (".5", 0.5), ("1.0", 1.0), ("100%", 1.0), ("20", 20), ("1", 1),
     ("0", 0), (20, 20), (1, 1), (1.0, 1.0), (0.25, 0.25), (0, 0)],
)  # fmt: skip
def test_a_share_or_a_number(text: int | float | str, limit: int | float) -> None:
    parsed = parse_max_skipped(text)
    assert (parsed, type(parsed)) == (limit, type(limit))


@pytest.mark.parametrize(
    "value", ["", "x", "-1", "-1%", "101%", "1.5", 1.5, -1, -0.1, float("nan"), "nan", "1e3", True]
)
def test_a_limit_that_makes_no_sense(value: int | float | str) -> None:
    with pytest.raises(WdsFaceError, match=r"max-skipped is .*: write it as a share like 1% or 0\.01, or as a number"):
        SkipPolicy(max_skipped=value)


@given(st.integers(1, 10**6), st.integers(0, 100))
def test_a_share_is_rounded_down(items: int, percent: int) -> None:
    assert SkipPolicy(max_skipped=f"{percent}%").allowed(items) == items * percent // 100


@pytest.mark.parametrize(
    ("limit", "items", "good"),
    [("1%", 500, True), ("1%", 499, False), (5, 5, True), (4, 500, False), (0, 10**6, False), (1.0, 5, True)],
)
def test_items_up_to_the_limit(limit: int | float | str, items: int, good: bool) -> None:
    policy = SkipPolicy(max_skipped=limit)
    if good:
        policy.check([*OTHERS, *ITEMS], items, "faces")
        return
    with pytest.raises(SourceError, match=rf"faces: 5 of {items:,} images cannot be read .* --max-skipped {limit} "):
        policy.check([*OTHERS, *ITEMS], items, "faces")


def test_others_are_never_too_many() -> None:
    SkipPolicy(max_skipped=0).check([*OTHERS, FEW], 1, "faces")


def test_the_error_names_the_three_most_frequent_reasons() -> None:
    skipped = [
        *ITEMS,
        *(Skipped(f"b/{i}.jpg", "empty") for i in range(3)),
        *(Skipped(f"c/{i}.jpg", f"cannot be decoded (at {i})") for i in range(2)),
        *(Skipped(f"d/{i}.jpg", f"{i + 9000} x 9000 pixels, more than 64,000,000") for i in range(4)),
        Skipped("e.jpg", "not an image"),
    ]
    with pytest.raises(SourceError) as caught:
        SkipPolicy().check(reversed(skipped), 1000, "faces")
    assert str(caught.value) == (
        "faces: 15 of 1,000 images cannot be read (1.5%), more than --max-skipped 1% allows; nothing is published: "
        "5 × truncated JPEG (a/0000.jpg, a/0001.jpg, …), 4 × 9000 x 9000 pixels, more than 64,000,000 (d/0.jpg, "
        "d/1.jpg, …), 3 × empty (b/0.jpg, b/1.jpg, …), 3 for other reasons"
    )


def test_a_damaged_container_is_refused_unless_it_is_to_be_salvaged() -> None:
    for limit in (1, 1.0):
        with pytest.raises(
            SourceError, match=r"shards is damaged, nothing is published: s-01\.tar: damaged tar: .*512"
        ):
            SkipPolicy(max_skipped=limit).check([*ITEMS, SHARD], 10**6, "shards")
    SkipPolicy(salvage=True).check([*ITEMS, SHARD], 10**6, "shards")
    with pytest.raises(SourceError, match="5 of 10 images"):
        SkipPolicy(salvage=True).check([*ITEMS, SHARD], 10, "shards")


def test_of_many_containers_three_are_named() -> None:
    many = [Skipped(f"s-{number}.tar", "damaged tar", "container") for number in range(5)]
    with pytest.raises(
        SourceError, match=r"s-0\.tar: damaged tar; s-1.*; s-2.*; and 2 more\. Move them, or say --salv"
    ):
        SkipPolicy().check(many, 9, "shards", "Move them")


def test_strict_allows_only_identities_with_too_few_images() -> None:
    policy = SkipPolicy(strict=True)
    policy.check([FEW], 5, "faces")
    for entry in (ITEMS[0], OTHERS[0], SHARD):
        with pytest.raises(SourceError, match=f"^strict: {entry.item}: {entry.reason}$"):
            policy.check([FEW, entry], 5, "faces")
    with pytest.raises(WdsFaceError, match="strict and salvage contradict each other"):
        SkipPolicy(strict=True, salvage=True)


@pytest.mark.parametrize(
    ("skipped", "words"),
    [
        ([], ""),
        (ITEMS[:1], "1 image that cannot be read"),
        (ITEMS[:2] + OTHERS[:1], "2 images that cannot be read and 1 other file"),
        (ITEMS[:1] + OTHERS[:12], "1 image that cannot be read and 12 other files"),
        ([FEW], "1 identity with too few images"),
        ([SHARD, *ITEMS, FEW, FEW, *OTHERS * 30], "1 damaged part of a container, 5 images that cannot be read, "
         "2 identities with too few images and 1,500 other files"),
        ([SHARD, SHARD], "2 damaged parts of containers"),
    ],
)  # fmt: skip
def test_counts_in_words(skipped: list[Skipped], words: str) -> None:
    assert describe(skipped) == words


def test_counts_by_kind() -> None:
    assert count_kinds([SHARD, *ITEMS, FEW]) == {"item": 5, "container": 1, "other": 1}
    assert count_kinds([]) == {"item": 0, "container": 0, "other": 0}


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.builds(Skipped, TEXT, TEXT, st.sampled_from(["item", "container", "other"]))))
def test_the_list_is_read_as_it_was_written(skipped: list[Skipped]) -> None:
    assert read_skipped(write_skipped(skipped)) == skipped
    assert frequent_reasons(skipped) == frequent_reasons(list(reversed(skipped)))


def test_lists_without_a_kind_are_read() -> None:
    old = b"a/1.jpg\ttruncated JPEG\nanna\tidentity with fewer than 2 good images\nb\tempty\tnews\n"
    assert read_skipped(old) == [Skipped("a/1.jpg", "truncated JPEG", "item"), FEW, Skipped("b", "empty", "item")]
