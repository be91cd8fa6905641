"""Memfiles: AdaFace's code reads ours, ours reads AdaFace's, and none is ever half there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wds_face import make_memmap, read_memmap
from wds_face.errors import DatasetError
from wds_face.validation.memfile import Conf, read_conf, write_memfile


def theirs_made(filename: str, np_array: Any) -> Any:
    """As the description has it."""
    memmap_configs = {"shape": np_array.shape, "dtype": str(np_array.dtype)}
    with open(filename + ".conf", "w") as file:
        json.dump(memmap_configs, file)
    mm = np.memmap(filename, mode="w+", shape=np_array.shape, dtype=np_array.dtype)
    mm[:] = np_array[:]
    mm.flush()
    return mm


def theirs_read(filename: str) -> Any:
    """As the description has it."""
    with open(filename + ".conf") as f:
        config = json.load(f)
    return np.memmap(filename, mode="r+", shape=tuple(config["shape"]), dtype=config["dtype"])


ARRAYS = hnp.arrays(
    st.sampled_from([np.uint8, np.float32, np.float64, np.int64, np.bool_, np.float16]),
    hnp.array_shapes(max_dims=4, max_side=5),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=ARRAYS)
def test_both_ways(array: Any, tmp_path: Path) -> None:
    ours, other = str(tmp_path / "ours"), str(tmp_path / "other")
    made = make_memmap(ours, array)
    assert isinstance(made, np.memmap)
    theirs_made(other, array)
    assert Path(ours).read_bytes() == Path(other).read_bytes()
    for found in (read_memmap(ours), read_memmap(other), theirs_read(ours)):
        assert (found.shape, found.dtype) == (array.shape, array.dtype)
        assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


def test_read_only_unless_asked(tmp_path: Path) -> None:
    file = tmp_path / "a.dat"
    found = make_memmap(file, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1
    read_memmap(file, "c")[0] = 1
    assert not read_memmap(file).any()
    writable = read_memmap(file, "r+")
    writable[0] = 1
    writable.flush()
    assert read_memmap(file)[0].all()
    with pytest.raises(ValueError, match="mode is"):
        read_memmap(file, "w+")  # type: ignore[arg-type]


def test_a_file_without_write_permission(tmp_path: Path) -> None:
    file = tmp_path / "a.dat"
    make_memmap(file, np.arange(6))
    for path in tmp_path.iterdir():
        path.chmod(0o444)
    assert read_memmap(file).tolist() == [0, 1, 2, 3, 4, 5]


CONF = {"shape": [4, 3], "dtype": "float32"}


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (
            {**CONF, "shape": [5, 3]},
            r"a.dat has 48 bytes, where its .conf says 60 \(\(5, 3\) of float32\): make it again",
        ),
        ({**CONF, "dtype": "uint8"}, r"a.dat has 48 bytes, where its .conf says 12"),
        ({"shape": [4, 3]}, "a.dat.conf does not say shape and dtype"),
        ({**CONF, "shape": 12}, "a.dat.conf does not say shape and dtype"),
        ({**CONF, "shape": [-4, -3]}, "a.dat.conf does not say shape and dtype"),
        ({**CONF, "shape": [4.0, 3.0]}, "a.dat.conf does not say shape and dtype"),
        ({**CONF, "dtype": "object"}, "a.dat.conf does not say shape and dtype"),
        ({**CONF, "dtype": ["f4"]}, "a.dat.conf does not say shape and dtype"),
        ({**CONF, "dtype": "faces"}, "a.dat.conf does not say shape and dtype"),
        ({**CONF, "channels": "grey"}, "a.dat.conf does not say shape and dtype"),
        ({**CONF, "sets": 3}, "a.dat.conf does not say shape and dtype"),
        ([4, 3], "a.dat.conf does not say shape and dtype"),
        (None, "there is no a.dat.conf: make it again"),
    ],
)
def test_a_conf_that_does_not_fit(conf: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.dat"
    np.zeros((4, 3), np.float32).tofile(file)
    if conf is not None:
        (tmp_path / "a.dat.conf").write_text(json.dumps(conf))
    with pytest.raises(DatasetError, match=message) as caught:
        read_memmap(file)
    assert "\n" not in str(caught.value)


def test_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.dat.conf").write_text(json.dumps(CONF))
    with pytest.raises(DatasetError, match=r"a.dat: there is no a.dat: make it again"):
        read_memmap(tmp_path / "a.dat")
    (tmp_path / "a.dat.conf").write_bytes(b"{")
    with pytest.raises(DatasetError, match="does not say shape and dtype"):
        read_memmap(tmp_path / "a.dat")


@pytest.mark.parametrize("array", [np.array([None]), np.zeros((0, 3)), np.zeros(2, [("a", "u1")]), np.array(["a"])])
def test_what_is_no_memfile(array: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a memfile holds numbers"):
        make_memmap(tmp_path / "a.dat", array)
    assert list(tmp_path.iterdir()) == []


def test_what_is_noted(tmp_path: Path) -> None:
    make_memmap(tmp_path / "a.dat", np.zeros(3), channels="bgr")
    assert read_conf(tmp_path / "a.dat") == Conf((3,), np.dtype(float), "bgr")
    with pytest.raises(ValueError, match="channels is"):
        make_memmap(tmp_path / "b.dat", np.zeros(3), channels="grey")


def test_blocks_that_fail_leave_nothing(tmp_path: Path) -> None:
    def failing() -> Any:
        yield np.zeros((2, 3), np.uint8)
        raise OSError("the disk")

    for blocks in (failing(), [np.zeros((2, 3), np.uint8)], [np.zeros((4, 3), np.float32)]):
        with pytest.raises((OSError, ValueError)):
            write_memfile(tmp_path / "a.dat", Conf((4, 3), np.dtype(np.uint8)), blocks)
        assert list(tmp_path.iterdir()) == []


def test_another_one_in_its_place(tmp_path: Path) -> None:
    """At no moment a conf goes with numbers that it does not fit."""
    file = tmp_path / "a.dat"
    first = make_memmap(file, np.arange(8, dtype=np.float32))

    def blocks() -> Any:
        assert read_memmap(file).tolist() == list(range(8)), "the one before stays until the new one is whole"
        yield np.arange(3, dtype=np.uint8)

    write_memfile(file, Conf((3,), np.dtype(np.uint8)), blocks())
    assert read_memmap(file).tolist() == [0, 1, 2]
    assert first.tolist() == list(range(8)), "who has it open keeps it"


CODE = """
import sys, numpy as np
from wds_face import make_memmap
for number in range(1, 1_000_000):
    make_memmap(sys.argv[1], np.full((number % 7 + 1, 100_000), number, np.float32))
    if number == 1:
        print("begun", flush=True)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """What is there is whole, or said not to be."""
    file = tmp_path / "a.dat"
    for round_ in range(3):
        with subprocess.Popen([sys.executable, "-c", CODE, str(file)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            time.sleep(0.1 + 0.023 * round_)
            process.send_signal(signal.SIGKILL)
        try:
            found = read_memmap(file)
        except DatasetError as error:
            if "there is no a.dat.conf" not in str(error):
                raise
        else:
            assert len(np.unique(found)) == 1
            assert len(found) == int(found[0, 0]) % 7 + 1
    make_memmap(file, np.arange(3))
    assert read_memmap(file).tolist() == [0, 1, 2]
