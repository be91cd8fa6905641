"""Importing, converting and map-style reading need nothing that Windows lacks, tried here by taking it away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from wds_face.validation import make_memmap

SCRIPT = """
import importlib, multiprocessing.reduction, os, pkgutil, signal, sys

import click, cv2, filelock, fsspec, loky, numba, numpy, PIL.Image, simplejpeg, torch, torchvision, tqdm, webdataset
from fsspec.implementations import local
from torch.utils import data

for name in ("fcntl", "termios", "tty", "pty", "resource", "pwd", "grp", "posix"):
    sys.modules[name] = None
for name in ("fork", "memfd_create", "pread", "preadv", "pwrite", "pwritev", "sched_getaffinity",
             "O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY", "killpg", "register_at_fork"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGALRM", "SIGKILL", "SIGUSR1", "setitimer", "alarm"):
    delattr(signal, name)
del multiprocessing.reduction.DupFd
sys.platform = "win32"

import wds_face

names = [module.name for module in pkgutil.walk_packages(wds_face.__path__, "wds_face.")]
for name in names:
    if name not in ("wds_face.__main__", "wds_face.datamodule", "wds_face.huggingface"):
        importlib.import_module(name)

faces, dest, memfile = sys.argv[1:]
made = wds_face.convert(wds_face.ImageFolder(faces), dest, workers=1)
assert not os.path.exists(os.path.join(dest, ".convert")), os.listdir(dest)
dataset = wds_face.CustomImageFolderDataset(faces)
images, labels = next(iter(wds_face.PKStream(dest, p=4, k=2).loader()))[:2]
pairs = numpy.asarray(wds_face.read_memmap(memfile))
wds_face.convert(wds_face.ImageFolder(faces), "memory://faces", workers=1)
try:
    wds_face.PKStream("memory://faces", p=4, k=2, cache_dir=dest)
except wds_face.DatasetError as error:
    print(error)
print(len(names) > 100, made.index.images, len(dataset), dataset[0][1], tuple(images.shape), pairs.shape)
"""


def test_what_needs_no_posix_works_without_it(faces: Path, tmp_path: Path) -> None:
    make_memmap(tmp_path / "memfile", np.zeros((4, 3, 112, 112), np.float32))
    command = [sys.executable, "-c", SCRIPT, faces, tmp_path / "shards", tmp_path / "memfile"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    cache, rest = run.stdout.splitlines()
    assert cache == "cache_dir needs the file locks of Linux or macOS: leave it out on Windows"
    assert rest == "True 66 66 0 (8, 3, 112, 112) (4, 3, 112, 112)"
