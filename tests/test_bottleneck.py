"""What limits a stream: the verdicts on made-up numbers, and on real ones."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import FaultProxy
from tests.servers import Bucket, S3Server
from tests.support import MakeFolder
from wds_face import ARCFACE_112, Augmenter, ImageFolder, MedicalMaskOcclusion, PKStream, convert
from wds_face.bottleneck import Case, Measured, choose, limit, measure, verdict

DECODING = Measured(2, 30_000, 3.0, 0.3, read=0.05, decode=0.5, transform=0.3, collate=0.1, idle=0.05, waits=0.98)
STORAGE = replace(DECODING, read=0.6, decode=0.2, transform=0.1, collate=0.05)
CONSUMER = replace(DECODING, decode=0.2, transform=0.1, collate=0.05, idle=0.6, waits=0.01, ready=3.5)


def rates(*pairs: tuple[int, float], **changes: float) -> list[Measured]:
    """Measured with so many workers each, and so many images a second."""
    return [replace(DECODING, num_workers=n, images=round(rate * 3), **changes) for n, rate in pairs]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (DECODING, "processors"),
        (replace(DECODING, decode=0.2, transform=0.6), "processors"),
        (STORAGE, "storage"),
        (replace(DECODING, read=0.24), "processors"),
        (replace(STORAGE, read=0.3, idle=0.25), "storage"),  # batches come in order: one waits for another's bytes
        (CONSUMER, "consumer"),
        (replace(CONSUMER, waits=0.99, ready=3.9), "consumer"),  # all of the loop's time is taking them
        (replace(CONSUMER, num_workers=0), "turns"),
        (replace(DECODING, num_workers=0), "processors"),
        (replace(DECODING, decode=0.1, transform=0.1), "epochs"),
        (replace(DECODING, running=0.3, queued=0.1, disk_bytes=10**9), "disk"),
        (replace(DECODING, running=0.3, queued=0.6, disk_bytes=10**9), "processors"),
        (replace(DECODING, running=0.3, queued=0.1, disk_bytes=0), "processors"),
    ],
)
def test_what_limits(one: Measured, what: str) -> None:
    assert limit(one) == what


@pytest.mark.parametrize(
    ("one", "case", "words"),
    [
        (DECODING, Case(2), ["decoding", "decoding 50%, transforms 30%", "2 workers on 2 processors", "uint8"]),
        (replace(DECODING, decode=0.2, transform=0.6), Case(2), ["limits: transforms", "fewer transforms"]),
        (DECODING, Case(16), ["more workers (--workers)", "16 processors"]),
        (replace(DECODING, running=0.4, queued=0.5), Case(2), ["50% of their time", "something else runs"]),
        (STORAGE, Case(2), ["storage", "60%", "faster disk"]),
        (STORAGE, Case(2, local=False), ["storage", "cache_dir", '"requests"', "more workers"]),
        (STORAGE, Case(2, local=False, cached=True), ["storage", "not fetched again"]),
        (CONSUMER, Case(2), ["main process", "idle 60%"]),
        (replace(CONSUMER, step_seconds=0.08), Case(2), ["training loop", "80 ms", "1.0%"]),
        (replace(CONSUMER, num_workers=0), Case(2), ["take turns", "num_workers=1"]),
        (replace(DECODING, decode=0.1, transform=0.1), Case(2), ["ends of the epochs", "60%"]),
        (replace(DECODING, running=0.3, queued=0.1, disk_bytes=150 * 10**6), Case(2), ["disk", "50 MB/s"]),
    ],
)
def test_what_it_says(one: Measured, case: Case, words: list[str]) -> None:
    said = verdict([one], case)
    assert said[0].startswith("What limits: ")
    for word in words:
        assert word in said[0], said[0]
    assert said[1].startswith(f"Take num_workers={one.num_workers}: 10,000 images/s")
    assert "wait_seconds" in said[-1]
    assert all(sentence.endswith(".") and "  " not in sentence for sentence in said)


def test_uint8_is_not_advised_where_it_is() -> None:
    assert "uint8" not in "".join(verdict([DECODING], Case(2, output="uint8")))
    assert "transforms, or" not in "".join(verdict([DECODING], Case(2, transforms=False)))


def test_more_workers_that_bring_nothing() -> None:
    measured = rates((1, 5000), (2, 9900), (4, 10_000), decode=0.8, transform=0.05, collate=0.0)
    said = verdict(measured, Case(8, output="uint8"))
    assert "More workers brought nothing, though there are 8 processors." in said[0]
    assert "What helps" not in said[0]
    assert "num_workers=2: 9,900 images/s, within 5 % of the best, 10,000 with 4 workers." in said[1]


def test_the_fewest_workers_that_are_as_good() -> None:
    assert choose(rates((1, 5000), (2, 9600), (4, 10_000))).num_workers == 2
    assert choose(rates((1, 5000), (2, 9400), (4, 10_000))).num_workers == 4


@pytest.mark.parametrize(
    ("need", "workers", "words"),
    [
        (4000, 1, "the fewest that reach 4,000 with 10 % to spare"),
        (5000, 2, "the fewest that reach 5,000 with 10 % to spare"),
        (9500, 4, "The 9,500 that you need are reached without 10 % to spare"),
        (20_000, 4, "none reaches the 20,000 images/s that you need: the best is 10,000, with 4 workers"),
    ],
)
def test_what_is_needed(need: float, workers: int, words: str) -> None:
    measured = rates((1, 5000), (2, 9000), (4, 10_000))
    assert choose(measured, need=need).num_workers == workers
    said = verdict(measured, Case(4, need=need))
    assert words in said[1]
    assert "4 workers on 4 processors" in said[0], "what limits is that of the best"


def test_each_byte_is_read_once_from_afar() -> None:
    measured = [*rates((1, 5000)), *rates((5, 9900), reading_factor=5), *rates((6, 10_000))]
    assert choose(measured).num_workers == 5
    assert choose(measured, local=False).num_workers == 6
    assert "divides the lanes" in verdict(measured, Case(6, local=False))[1]
    assert "5 of them fetch the same" in verdict(measured[1:2], Case(6, local=False))[1]


def test_what_came_from_where() -> None:
    one = replace(STORAGE, bytes_before=7 * 10**6, bytes_fetched=150 * 10**6, bytes_cached=50 * 10**6, requests=300)
    again, case = replace(DECODING, images=60_000, bytes_cached=10**6), Case(2, local=False, cached=True)
    said = verdict([one], case, again=again)[2]
    assert said.startswith("7.0 MB came before the clock ran")
    assert "50.0 MB/s, 5.0 kB for each image, by 100 requests/s, 0 retries" in said
    assert "25% of the bytes were in the cache" in said
    assert "from the cache, come at 20,000 images/s" in said
    assert "nothing was fetched" in verdict([DECODING], case)[2]
    assert "beginning, as" not in said
    assert "want of room" not in said


def test_an_epoch_that_has_only_begun() -> None:
    one = replace(STORAGE, bytes_fetched=900 * 10**6, bytes_again=300 * 10**6, image_bytes=10_000.0, bytes_mixed=10**9)
    said = verdict([one], Case(2, local=False))[2]
    assert "still the beginning, as an image has 10.0 kB on average" in said
    assert "does for 20,000 images/s" in said
    assert "33% of it had been there and was dropped for want of room" in said
    assert "buffer_bytes to 1,000 MB" in said
    assert replace(one, bytes_fetched=700 * 10**6).sustained is None


def test_what_uint8_would_give() -> None:
    said = verdict([DECODING], Case(2), uint8=replace(DECODING, images=36_000))
    assert 'output="uint8" gave 12,000 images/s with 2 workers, 1.20 times as many' in said[2]


def test_what_many_workers_take() -> None:
    one = replace(DECODING, num_workers=16, worker_bytes=150_000_000)
    assert "Memory: 150 MB a worker, 2.4 GB in all." in verdict([one], Case(16))[1]


@pytest.fixture
def made(make_folder: MakeFolder, tmp_path: Path) -> Path:
    """So many images that an epoch is not over at once."""
    folder = make_folder({f"person {i:04d}": 4 for i in range(1000)})
    convert(ImageFolder(folder), tmp_path / "set", workers=1)
    return tmp_path / "set"


def streamed(url: Path | str, p: int = 16, **options: object) -> PKStream:
    occlusion = MedicalMaskOcclusion(prob=0.5, ref_points=ARCFACE_112)
    return PKStream(url, p, 4, augmenter=Augmenter(photometric_prob=0.5), occlusion=occlusion, **options)  # type: ignore[arg-type]


def test_real_batches_and_a_slow_training_loop(made: Path) -> None:
    before, stream = multiprocessing.active_children(), streamed(made, p=32)
    fast = measure(stream, 1, 1.0)
    assert limit(fast) == "processors", fast
    assert "training loop" not in verdict([fast], Case(1))[0]
    assert fast.images % 128 == 0 < fast.decode
    assert fast.waits > 0.5
    assert fast.first_seconds > 0
    slow = measure(stream, 1, 1.0, step=0.1)
    assert limit(slow) == "consumer", slow
    assert "What limits: the training loop, which takes 100 ms for a batch" in verdict([slow], Case(1))[0]
    assert slow.rate < 128 / 0.1
    assert slow.ready > 1
    assert slow.epoch > fast.epoch, "nothing is read again"
    assert multiprocessing.active_children() == before
    if Path("/proc/self/smaps_rollup").exists():
        assert fast.worker_bytes is not None
        assert 10e6 < fast.worker_bytes < 1e9
    if Path("/proc/self/schedstat").exists():
        assert fast.running is not None
        assert slow.running is not None
        assert 0 < slow.running < fast.running <= 1.05


@pytest.mark.parametrize("workers", [0, 2])
def test_sets_that_are_over_at_once(faces: Path, tmp_path: Path, workers: int) -> None:
    convert(ImageFolder(faces), tmp_path / "set", workers=1)
    stream = streamed(tmp_path / "set", p=20)
    one = measure(stream, workers, 0.3)
    assert one.images > len(stream) * 80, "epochs follow one another"
    assert one.busy + one.idle + one.between == pytest.approx(1)


def test_an_interrupted_one_leaves_no_worker(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = multiprocessing.active_children()
    monkeypatch.setattr("wds_face.bottleneck.measuring.time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(streamed(made), 2, 1.0)
    assert multiprocessing.active_children() == before


def test_a_slow_store(made: Path, bucket: Bucket, fault_proxy: Callable[..., FaultProxy], tmp_path: Path) -> None:
    assert bucket.folder is not None
    shutil.copytree(made, bucket.folder / "set")
    assert isinstance(bucket.server, S3Server)
    proxy = fault_proxy(bucket.server, latency=0.02)
    options = bucket.server.options_through(proxy)
    cold = measure(streamed(bucket.url("set"), storage_options=options, buffer_bytes=600_000), 1, 0.5)
    assert limit(cold) == "storage", cold
    said = verdict([cold], Case(1, local=False))
    assert "storage" in said[0]
    assert "dropped for want of room" in said[2]
    cached = streamed(bucket.url("set"), storage_options=options, cache_dir=tmp_path / "cache")
    measure(cached, 1, 0.5)
    warm = measure(cached, 1, 0.5)
    assert warm.bytes_before > 0
    assert warm.bytes_fetched == 0
    assert warm.rate > cold.rate
