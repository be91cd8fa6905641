"""Signed URLs are signed anew when they may be too old, and only then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.google import Google, google
from wds_face.storage.signed import IndirectError, SignedUrls


@pytest.fixture(autouse=True)
def gs(tmp_path: Path) -> Iterator[None]:
    with google(tmp_path):
        yield


class Numbered(Google):
    """No two of its URLs are the same."""

    def sign(self, path: str, expiration: int = 100, **options: object) -> str:
        return f"{super().sign(path, expiration)}?{self.signed}"


def test_a_url_is_kept() -> None:
    urls = SignedUrls(Numbered(), plain=False)
    assert urls.url("b/a", 1) == urls.url("b/a", 1) != urls.url("b/b", 1)


def test_a_url_that_is_refused_when_it_is_new_stays_so() -> None:
    urls = SignedUrls(Numbered(), plain=False)
    assert not urls.forget("b/a", urls.url("b/a", 1))


def test_who_comes_late_with_an_old_url_takes_the_new_one() -> None:
    """Two threads were refused one URL, and the other one has signed anew already."""
    urls = SignedUrls(Numbered(), plain=False)
    new = urls.url("b/a", 1)
    assert urls.forget("b/a", "http://server/b/a?old")
    assert urls.url("b/a", 1) == new


@pytest.mark.parametrize("error", [ConnectionResetError, TimeoutError])
def test_what_cannot_be_signed_now_may_be_later(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    urls = SignedUrls(Google(), plain=False)
    with monkeypatch.context() as patch:
        patch.setattr(Google, "sign", lambda *_, **__: (_ for _ in ()).throw(error))
        with pytest.raises(error):
            urls.url("b/a", 1)
    assert urls.url("b/a", 1)


def test_signing_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Google, "silence", 60)
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        SignedUrls(Google(), plain=False).url("b/a", 0.2)
    assert time.monotonic() - begin < 20


def test_what_cannot_be_signed_is_read_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Google, "sign")
    with pytest.raises(IndirectError):
        SignedUrls(Google(), plain=False).url("b/a", 1)
    for url in ("https://user:password@host/set/a.tar", "https://user@host/set/a.tar"):
        with pytest.raises(IndirectError):
            SignedUrls(Google(), plain=True).url(url, 1)
