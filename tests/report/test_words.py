"""Numbers as people read them, and text that cannot harm a page."""

from __future__ import annotations

import pytest

from wds_face.report.words import number, share, short, size, text
from wds_face.units import plural


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (1204, "1,204"), (1204.6, "1,205"), (352.4, "352"), (35.25, "35.2"), (35.0, "35"), (0.00412, "0.00412")],
)
def test_numbers(value: float, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        *((0, 5, "0 %"), (5, 5, "100 %"), (1, 3, "33 %"), (1, 22, "4.5 %"), (1, 300, "0.33 %"), (1, 10**6, "< 0.01 %")),
        *((999, 1000, "99.9 %"), (99_999, 100_000, "> 99.9 %"), (0, 0, "0 %")),
    ],
)
def test_shares_are_never_said_to_be_none_or_all_when_they_are_not(part: int, whole: int, said: str) -> None:
    assert share(part, whole).replace("\u00a0", " ") == said


def test_sizes_and_counts() -> None:
    assert [size(n).replace("\u00a0", " ") for n in (12, 6_949, 92e6, 297e9)] == [
        "12 B",
        "6.9 kB",
        "92.0 MB",
        "297.0 GB",
    ]
    assert (short(13_233), short(42_467_936).replace("\u00a0", " ")) == ("13,233", "42.5 M")
    assert (plural(1, "image"), plural(2000, "image"), plural(0, "identity", "identities")) == (
        *("1 image", "2,000 images"),
        "0 identities",
    )


def test_text_of_strangers() -> None:
    assert text("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"
    assert text("a\udce9\x00b") == "a\ufffd\ufffdb"
    text("\ud800").encode()
