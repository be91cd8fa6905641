"""The stream from S3: over faults, over latency, and by which client.

    python benchmarks/network.py [FOLDER] [--rounds N] [--only faults|latency|clients]

FOLDER/<identity>/<image>.jpg; LFW if it is there, else faces drawn for the purpose. The server is `rclone serve s3` on
this machine, behind a proxy that makes the faults and the latency; both take their share of its processors.

Faults: an epoch for each, of PK batches; is every batch, to the bit, the one from disk?

Latency: 50 ms before each request; decoding, Augmenter, flip and masks included, two workers, the data set five times
over so that it does not fit into the buffers: each epoch fetches all of it. The clock runs from the first batch of an
epoch to its last.

Clients: ranges of 1 MB, 16 at a time, and what they cost in processor time.
"""

import argparse
import hashlib
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convert import source

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults import FaultProxy
from tests.servers import S3Server, rclone_s3
from wds_face import ARCFACE_112, Augmenter, DatasetError, ImageFolder, Index, MedicalMaskOcclusion, PKStream, convert
from wds_face.storage import open_store

FAULTS = {
    "none": {},
    "connection reset within the body": {"fault": "reset", "rate": 0.05, "after": 60_000},
    "body cut short": {"fault": "truncate", "rate": 0.05, "after": 60_000},
    "fewer bytes than asked for": {"fault": "short", "rate": 0.05, "after": 60_000},
    "no further byte (stall)": {"fault": "stall", "rate": 0.05, "after": 60_000},
    "500 InternalError": {"fault": "500", "rate": 0.05},
    "503 SlowDown": {"fault": "503", "rate": 0.05},
    "wrong bytes": {"fault": "wrong", "rate": 0.05},
    "all of these": {
        "fault": ["reset", "truncate", "short", "stall", "500", "503", "wrong"],
        "rate": 0.05,
        "after": 60_000,
    },
    "50 ms of latency": {"latency": 0.05},
    "2 MB/s for each connection": {"bandwidth": 2e6},
}


@contextmanager
def serving(folder: Path) -> Iterator[S3Server]:
    with rclone_s3(folder, settled=True) as server:
        yield server


def epoch(stream: PKStream, workers: int) -> tuple[str, float, float]:
    """A sum of all batches, seconds from the first to the last, and until the first."""
    digest, begin, first = hashlib.sha256(), time.perf_counter(), 0.0
    for batch in stream.loader(workers):
        first = first or time.perf_counter()
        for tensor in batch:
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest(), time.perf_counter() - first, first - begin


def faults(shards: Path, server: S3Server) -> None:
    wanted, _, _ = epoch(PKStream(shards, p=16, k=4, output="uint8"), 2)
    print("| fault | rate | requests | of these faulty | retries | images lost | same batches | seconds |")
    print("|---|--:|--:|--:|--:|--:|---|--:|")
    for name, settings in FAULTS.items():
        with FaultProxy(server.host, server.port, **settings) as proxy:
            options = {**server.options_through(proxy), "stall": 1}
            stream = PKStream(server.url(f"b/{shards.name}"), p=16, k=4, output="uint8", storage_options=options)
            found, seconds, first = epoch(stream, 2)
            stats, seen = stream.stats(), proxy.stats()
        rate = f"{settings['rate']:.0%}" if "rate" in settings else "-" if name == "none" else "all"
        print(
            f"| {name} | {rate} | {stats['requests']} | {seen['faulted']} | {stats['retries']} "
            f"| {stats['images_replaced']} | {'yes' if found == wanted else 'NO'} | {seconds + first:.1f} |"
        )


def outage(shards: Path, server: S3Server) -> None:
    """The server goes after the first batch: for 10 seconds, and for ever."""
    wanted, _, _ = epoch(PKStream(shards, p=16, k=4, output="uint8"), 2)
    with FaultProxy(server.host, server.port, bandwidth=2e6) as proxy:
        options = {**server.options_through(proxy), "requests": 4}
        stream = PKStream(server.url(f"b/{shards.name}"), p=16, k=4, output="uint8", storage_options=options)
        timers = [threading.Timer(1.0, proxy.kill), threading.Timer(11.0, proxy.start)]
        for timer in timers:
            timer.start()
        found, seconds, first = epoch(stream, 2)
        stats = stream.stats()
        print(
            f"| server down for 10 s | | {stats['requests']} | | {stats['retries']} | {stats['images_replaced']} "
            f"| {'yes' if found == wanted else 'NO'} | {seconds + first:.1f} |"
        )
        stream = PKStream(server.url(f"b/{shards.name}"), p=16, k=4, output="uint8", storage_options=options)
        batches = iter(stream.loader(2))
        next(batches)
        proxy.kill()
        begin = time.perf_counter()
        try:
            for _ in batches:
                pass
        except DatasetError as error:
            words = str(error).strip().splitlines()[-1]
            print(f"\nserver gone: an error after {time.perf_counter() - begin:.1f} s: {words}")


def latency(shards: Path, server: S3Server, rounds: int, workers: int) -> None:
    index = Index.open(shards)
    runs = int(index.identities["nbytes"].sum())
    extra: dict[str, Any] = {"output": "uint8", "flip": 0.5, "lanes": workers, "p": 32, "k": 4}
    with FaultProxy(server.host, server.port, latency=0.05) as proxy:
        options = server.options_through(proxy)
        urls = {
            "local disk": (str(shards), {}),
            "S3": (server.url(f"b/{shards.name}"), {"storage_options": server.options}),
            "S3, 50 ms": (server.url(f"b/{shards.name}"), {"storage_options": options}),
        }
        rates: dict[str, list[float]] = {name: [] for name in urls}
        firsts: dict[str, list[float]] = {name: [] for name in urls}
        for _ in range(rounds):
            for name, (url, more) in urls.items():
                stream = PKStream(
                    url,
                    augmenter=Augmenter(crop_prob=0.1, photometric_prob=0.3, low_res_prob=0.2),
                    occlusion=MedicalMaskOcclusion(prob=0.5, ref_points=ARCFACE_112),
                    **extra,
                    **more,
                )
                _, seconds, first = epoch(stream, workers)
                rates[name].append((len(stream) - 1) * 128 / seconds)
                firsts[name].append(first)
                fetched = stream.stats()["bytes_fetched"]
                if fetched:
                    print(f"{name}: {fetched / runs:.3f} of the bytes crossed the network", file=sys.stderr)
    print(f"\n{index.images:,} images, {runs / 1e6:.0f} MB, {workers} workers, all transforms\n")
    print("| | images/s | of local disk | first batch, s |\n|---|--:|--:|--:|")
    for name, found in rates.items():
        ratio = statistics.median(one / local for one, local in zip(found, rates["local disk"], strict=True))
        print(f"| {name} | {statistics.median(found):,.0f} | {ratio:.2f} | {statistics.median(firsts[name]):.2f} |")


def clients(shards: Path, server: S3Server, rounds: int) -> None:
    index = Index.open(shards)
    spans = [
        (shard.name, start, min(start + (1 << 20), shard.nbytes))
        for shard in index.shards
        for start in range(0, shard.nbytes, 1 << 20)
    ]
    nbytes = sum(end - start for _, start, end in spans)
    with FaultProxy(server.host, server.port, mend=True) as proxy:
        options = server.options_through(proxy)
        stores = {
            "signed URL, http.client": open_store(server.url(f"b/{shards.name}"), options),
            "s3fs": open_store(server.url(f"b/{shards.name}"), {**options, "requester_pays": True}),
            "obstore's fsspec store": open_store(server.url(f"b/{shards.name}"), {**options, "backend": "obstore"}),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
        for _ in range(rounds):
            for name, store in stores.items():
                before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
                with ThreadPoolExecutor(16) as pool:
                    got = pool.map(lambda span, store=store: len(store.fetch(*span).data), spans)  # type: ignore
                assert sum(got) == nbytes
                seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                found[name].append((nbytes / seconds / 1e6, cpu / nbytes * 1e9))
    print("\n| client | MB/s | processor seconds per GB |\n|---|--:|--:|")
    for name, pairs in found.items():
        print(
            f"| {name} | {statistics.median(a for a, _ in pairs):,.0f} | {statistics.median(b for _, b in pairs):.2f} |"
        )


def fivefold(folder: Path, root: Path) -> Path:
    """The faces five times over, as other identities, without copying them."""
    for copy in range(5):
        for identity in sorted(folder.iterdir()):
            if identity.is_dir():
                (root / f"{identity.name}-{copy}").mkdir(parents=True)
                for image in identity.iterdir():
                    try:
                        os.link(image, root / f"{identity.name}-{copy}" / image.name)
                    except OSError:  # another disk
                        shutil.copy(image, root / f"{identity.name}-{copy}" / image.name)
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=["faults", "latency", "clients"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        folder = source(options.folder, temporary)
        (base / "served" / "b").mkdir(parents=True)
        shards = base / "served" / "b" / "set"
        convert(ImageFolder(folder), shards)
        with serving(base / "served") as server:
            if options.only in (None, "faults"):
                faults(shards, server)
                outage(shards, server)
            if options.only in (None, "clients"):
                clients(shards, server, options.rounds)
            if options.only in (None, "latency"):
                many = base / "served" / "b" / "many"
                convert(ImageFolder(fivefold(folder, base / "many")), many)
                latency(many, server, options.rounds, options.workers)


if __name__ == "__main__":
    main()
