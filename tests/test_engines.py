"""Dask, ray and executors of one's own do what processes here do: the same bytes, the same errors, one line each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import loky
import pytest

from tests.servers import Bucket
from tests.support import MakeFolder, sums
from tests.test_pool import wait_for
from wds_face import DatasetError, ImageFolder, Options, RecordIO, SourceError, WebDataset, convert, verify
from wds_face import pool as pool_module
from wds_face.engines import open_engine
from wds_face.errors import RecordError, WdsFaceError
from wds_face.pool import Workers
from wds_face.recordio import RecordWriter, pack
from wds_face.shards.adopt import adopt
from wds_face.sources import Source

ROOT = Path(__file__).parents[1]
SMALL = Options(shard_size=8_000)
CLUSTERS = {"dask": "distributed", "ray": "ray"}


def double(number: int) -> int:
    return 2 * number


def moment(_: int) -> tuple[int, int]:
    time.sleep(0.02)
    return os.getpid(), time.monotonic_ns()


def nap(_: int) -> None:
    for _ in range(20):
        time.sleep(0.02)


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(kind: str) -> None:
    if kind == "FileNotFoundError":
        raise FileNotFoundError(2, "No such file or directory", "/none")
    raise {"SourceError": SourceError, "DatasetError": DatasetError, "RecordError": RecordError}[kind]("what it is")


@pytest.fixture(scope="module", params=list(CLUSTERS))
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[str, Executor, str]]:
    """Name, executor and address of two real worker processes."""
    name: str = request.param
    package: Any = pytest.importorskip(CLUSTERS[name], reason=f"{name} is not installed")
    with open_engine(name, workers=2) as executor:
        assert executor is not None
        client = getattr(executor, "_client", None)
        address = client.scheduler.address if client else package.get_runtime_context().gcs_address
        yield name, executor, address


@pytest.fixture
def executor(engine: tuple[str, Executor, str]) -> Executor:
    return engine[1]


@pytest.fixture
def sources(faces: Path, tmp_path: Path, jpegs: list[bytes]) -> dict[str, Source]:
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key in range(90):
            writer.write(key, pack((0, float(key * 7 % 19), key, 0), jpegs[key % 60]))
    convert(ImageFolder(faces), tmp_path / "foreign", Options(seed=5, shard_size=20_000), workers=1)
    shards = WebDataset(str(tmp_path / "foreign"))
    return {"folder": ImageFolder(faces), "records": RecordIO(tmp_path / "train.rec"), "shards": shards}


@pytest.mark.parametrize("kind", ["folder", "records", "shards"])
def test_the_bytes_are_those_of_processes_here(
    executor: Executor, sources: dict[str, Source], tmp_path: Path, kind: str
) -> None:
    convert(sources[kind], tmp_path / "here", SMALL, workers=1)
    report = convert(sources[kind], tmp_path / "there", SMALL, executor=executor)
    assert report.written == len(report.index.shards) > 3
    assert sums(tmp_path / "there") == sums(tmp_path / "here")
    assert verify(tmp_path / "there", executor=executor) == []
    for name in ("index.json", "identities.npy"):
        (tmp_path / "there" / name).unlink()
    assert adopt(tmp_path / "there", executor=executor).images == report.index.images


def test_the_bytes_in_a_bucket_are_the_same(executor: Executor, faces: Path, bucket: Bucket, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "here", SMALL, workers=1)
    report = convert(ImageFolder(faces), bucket.url("set"), SMALL, executor=executor, storage_options=bucket.options)
    assert report.written == len(report.index.shards) > 3
    assert bucket.folder is not None
    assert sums(bucket.folder / "set") == sums(tmp_path / "here")
    assert verify(bucket.url("set"), executor=executor, storage_options=bucket.options) == []


@pytest.mark.parametrize(
    "make", [ProcessPoolExecutor, loky.ProcessPoolExecutor, ThreadPoolExecutor], ids=["processes", "loky", "threads"]
)
def test_any_executor_will_do(make: Callable[[int], Executor], faces: Path, tmp_path: Path) -> None:
    """As those of mpi4py.futures and of submitit, which have the same interface."""
    convert(ImageFolder(faces), tmp_path / "here", SMALL, workers=1)
    with make(2) as own:
        convert(ImageFolder(faces), tmp_path / "there", SMALL, executor=own)
    assert sums(tmp_path / "there") == sums(tmp_path / "here")


@pytest.mark.parametrize("kind", [SourceError, DatasetError, RecordError, FileNotFoundError])
def test_what_a_task_raises_arrives_as_it_is(executor: Executor, kind: type[Exception]) -> None:
    for method in ("run", "map"):
        with pytest.raises(kind, match=r"^(what it is|.*'/none')$") as caught:
            list(getattr(Workers(1, executor), method)(fail, [kind.__name__]))
        assert type(caught.value) is kind
        assert getattr(caught.value, "filename", "/none") == "/none"


def test_strict_and_what_is_left_out(executor: Executor, faces: Path, tmp_path: Path) -> None:
    bad = faces / "person 05" / "0002.jpg"
    bad.write_bytes(bad.read_bytes()[:-9])
    with pytest.raises(SourceError, match=r"^strict: person 05/0002\.jpg: truncated JPEG$"):
        convert(ImageFolder(faces), tmp_path / "there", SMALL, strict=True, executor=executor)
    with pytest.raises(
        SourceError, match=r"1 of 66 images cannot be read .*1 × truncated JPEG \(person 05/0002\.jpg\)$"
    ):
        convert(ImageFolder(faces), tmp_path / "there", SMALL, executor=executor)
    convert(ImageFolder(faces), tmp_path / "there", SMALL, executor=executor, max_skipped=1)
    convert(ImageFolder(faces), tmp_path / "here", SMALL, workers=1, max_skipped=1)
    assert sums(tmp_path / "there") == sums(tmp_path / "here")
    assert "0002.jpg" in (tmp_path / "here" / "skipped.tsv").read_text()


def test_equal_tasks_are_done_each(executor: Executor) -> None:
    found = list(Workers(1, executor).map(moment, [1] * 40))
    assert len(set(found)) == 40
    assert os.getpid() not in {pid for pid, _ in found}


def test_what_nobody_waits_for_is_cancelled(executor: Executor) -> None:
    begin = time.monotonic()
    next(Workers(1, executor).run(nap, range(400)))  # 80 s of work for two, of which the rest is cancelled
    assert list(Workers(1, executor).map(double, range(5))) == [0, 2, 4, 6, 8]
    assert time.monotonic() - begin < 20


def test_a_worker_that_always_dies(executor: Executor) -> None:
    with pytest.raises(WdsFaceError, match=r"a worker died.*run the same command again"):
        list(Workers(1, executor).run(die, [1]))
    assert list(Workers(1, executor).map(double, range(5))) == [0, 2, 4, 6, 8]


def test_a_worker_killed_on_the_way(executor: Executor, make_folder: MakeFolder, tmp_path: Path) -> None:
    many = ImageFolder(make_folder({f"{i:04d}": 1 + i % 3 for i in range(200)}))
    options = Options(shard_size=4000)
    pids = {pid for pid, _ in Workers(1, executor).map(moment, range(40))}

    def kill() -> None:
        wait_for(lambda: len(list((tmp_path / "there").glob("*.tar"))) >= 30)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with suppress(WdsFaceError):
        convert(many, tmp_path / "there", options, executor=executor)
    killer.join()
    convert(many, tmp_path / "there", options, executor=executor)
    convert(many, tmp_path / "here", options, workers=1)
    assert sums(tmp_path / "there") == sums(tmp_path / "here")


def test_a_cluster_of_our_own_never_gives_a_worker_up() -> None:
    """Dask's would, for good, if one is not there some time after it was lost: again, as one that dies every minute."""
    dask = pytest.importorskip("dask", reason="dask is not installed")
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}), open_engine("dask", workers=1) as executor:
        assert executor is not None
        for _ in range(2):
            os.kill(executor.submit(os.getpid).result(30), signal.SIGKILL)
            assert executor.submit(double, 4).result(30) == 8


def test_memory_of_this_process_is_refused(executor: Executor, faces: Path) -> None:
    for call in (lambda: convert(ImageFolder(faces), "memory://x", executor=executor),
                 lambda: convert(WebDataset("memory://x"), faces.parent / "out", executor=executor)):  # fmt: skip
        with pytest.raises(DatasetError, match="memory://x is memory of this process"):
            call()


def test_workers_of_another_version(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "__version__", "99.0")
    with pytest.raises(WdsFaceError, match=r"has wds-face .*: install 99\.0 for each worker"):
        list(Workers(1, executor).run(double, [1]))


def test_a_ray_of_the_caller_is_left_alone(engine: tuple[str, Executor, str]) -> None:
    if engine[0] == "ray":
        with pytest.raises(WdsFaceError, match="ray runs in this process already"), open_engine("ray"):
            pass
    assert engine[1].submit(double, 1).result() == 2


def test_workers_without_wds_face() -> None:
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    without = "import sys; sys.modules['wds_face'] = None"
    options = {"n_workers": 1, "dashboard_address": ":0", "silence_logs": 50, "preload": without}
    with distributed.LocalCluster(**options) as cluster, pytest.raises(WdsFaceError, match="worker has no wds-face"):
        open_engine("dask", cluster.scheduler_address).__enter__()


def test_a_folder_that_a_worker_does_not_see(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its images would be unreadable, and be left out."""
    monkeypatch.chdir(faces.parent)
    with (
        ProcessPoolExecutor(2, initializer=os.chdir, initargs=("/",)) as elsewhere,
        pytest.raises(WdsFaceError, match=r"^faces is not there for the worker on .*: give the full path"),
    ):
        convert(ImageFolder("faces"), tmp_path / "out", executor=elsewhere)


# The command line


def wds_face(*arguments: object, cwd: Path = ROOT, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys; from wds_face.cli import main\n{before}\nif __name__ == '__main__': main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)


def fails(code: int, *arguments: object, before: str = "") -> str:
    run = wds_face(*arguments, before=before)
    assert run.returncode == code, run.stderr
    (line,) = run.stderr.splitlines()
    return line


@pytest.mark.parametrize("name", list(CLUSTERS))
def test_the_command_starts_it(name: str, faces: Path, tmp_path: Path) -> None:
    pytest.importorskip(CLUSTERS[name], reason=f"{name} is not installed")
    run = wds_face("convert", "imagefolder", faces, tmp_path / "there", "--engine", name, "--workers", 2)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"{faces} -> {tmp_path}/there: 20 identities, 66 images, 1 shard, ")
    convert(ImageFolder(faces), tmp_path / "here", workers=1)
    assert sums(tmp_path / "there") == sums(tmp_path / "here")


def test_the_command_with_a_cluster(engine: tuple[str, Executor, str], faces: Path, tmp_path: Path) -> None:
    """Given relative paths, in a folder that is not that of the workers."""
    name, _, address = engine
    cluster = ("--engine", name, "--address", address)
    run = wds_face("convert", "imagefolder", "faces", "there", "--shard-size", "8kB", *cluster, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    convert(ImageFolder(faces), tmp_path / "here", SMALL, workers=1)
    assert sums(tmp_path / "there") == sums(tmp_path / "here")
    assert ": ok (" in wds_face("verify", "there", *cluster, cwd=tmp_path).stdout
    (tmp_path / "there/index.json").unlink()
    assert "66 images" in wds_face("index", "there", *cluster, cwd=tmp_path).stdout


@pytest.mark.parametrize("name", list(CLUSTERS))
def test_ctrl_c(name: str, make_folder: MakeFolder, tmp_path: Path) -> None:
    pytest.importorskip(CLUSTERS[name], reason=f"{name} is not installed")
    many, out = make_folder({f"{i:04d}": 3 for i in range(300)}), tmp_path / "out"
    command = [sys.executable, "-m", "wds_face", "convert", "imagefolder", str(many), str(out), "--shard-size", "4kB"]
    command += ["--engine", name, "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(list(out.glob(".convert/*.json"))) < 20:
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) == (130, "wds-face: interrupted; the same command goes on from here")
    assert not (out / "index.json").exists()
    convert(ImageFolder(many), out, Options(shard_size=4000), workers=2)
    convert(ImageFolder(many), tmp_path / "here", Options(shard_size=4000), workers=2)
    assert sums(out) == sums(tmp_path / "here")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "x:1"], "--address is of a cluster: give --engine dask or ray with it."),
        (["--address", "x:1", "--engine", "ray", "--workers", "2"], "the cluster at --address has its own workers."),
        (["--engine", "slurm"], "'slurm' is not one of 'local', 'dask', 'ray'."),
    ],
)
def test_options_that_do_not_go_together(faces: Path, tmp_path: Path, options: list[str], message: str) -> None:
    for command in (["convert", "imagefolder", faces, tmp_path / "out"], ["verify", faces], ["index", faces]):
        assert message in fails(2, *command, *options)


@pytest.mark.parametrize("name", list(CLUSTERS))
def test_an_address_that_does_not_answer(name: str, faces: Path, tmp_path: Path) -> None:
    """Nobody is there, or somebody who says nothing."""
    pytest.importorskip(CLUSTERS[name], reason=f"{name} is not installed")
    hurry = "import wds_face.engines as engines; engines._PATIENCE = 2.0"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = f"127.0.0.1:{closed.getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken = f"127.0.0.1:{silent.getsockname()[1]}"
        for address in (free, taken, "nonsense"):
            begin = time.monotonic()
            given = ("--engine", name, "--address", address)
            line = fails(1, "convert", "imagefolder", faces, tmp_path / "out", *given, before=hurry)
            assert line.startswith(f"wds-face: no {name} answers at {address} (")
            assert time.monotonic() - begin < 60


@pytest.mark.parametrize("name", list(CLUSTERS))
def test_a_package_that_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, CLUSTERS[name], None)
    with pytest.raises(WdsFaceError, match=rf"^{name} is not installed: pip install 'wds-face\[{name}\]'$"):
        open_engine(name).__enter__()


def test_names_and_addresses_from_python() -> None:
    for arguments in (("slurm",), ("local", "x:1"), ("dask", "x:1", 2)):
        with pytest.raises(WdsFaceError), open_engine(*arguments):  # type: ignore[arg-type]
            pass
    with open_engine("local") as nothing:
        assert nothing is None
