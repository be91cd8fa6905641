"""Which fsspec file system a URL is read and written by."""

from __future__ import annotations

import os
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from wds_face.errors import DatasetError

# Options of s3fs, as obstore calls them.
_NAMES = {
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "anon": "skip_signature",
    "endpoint_url": "endpoint",
}
# The process that used obstore: its threads do not survive a fork.
_obstore_pid: list[int] = []


def open_filesystem(url: str, options: dict[str, Any], backend: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL, opened in this process, and the path in it.

    Args:
        url: of any protocol that fsspec knows.
        options: of the file system.
        backend: ``"fsspec"``: what fsspec has for the protocol; ``"obstore"``: obstore's fsspec store, which takes
            the names of s3fs's options beside its own.

    Raises:
        ImportError, ValueError: nothing is installed for this URL.
        DatasetError: the backend is unknown, or obstore was used in the process that this one was forked from.
    """
    if backend == "obstore":
        return _obstore(url, dict(options))
    if backend != "fsspec":
        raise DatasetError(f"storage option backend is 'fsspec' or 'obstore', not {backend!r}")
    if url.startswith(("s3://", "s3a://")):
        options = {**options, "config_kwargs": {**_botocore(options), **options.get("config_kwargs", {})}}
    fs, root = url_to_fs(url, **options)
    return fs, root.rstrip("/")


def _botocore(options: dict[str, Any]) -> dict[str, Any]:
    """What botocore is to do for servers that are not Amazon's too."""
    from botocore.config import Config  # type: ignore[import-untyped] # noqa: PLC0415 (it comes with s3fs)

    # Two tries are enough here, since wds_face itself retries for as long as its option patience allows.
    found: dict[str, Any] = {"retries": {"total_max_attempts": 2}}
    if not options.get("anon"):
        found["signature_version"] = "s3v4"  # its first method signs URLs by default
    # Sums of the whole that some send with a range, and that others do not take. Ours are in the index.
    sums = ("request_checksum_calculation", "response_checksum_validation")
    return found | {name: "when_required" for name in sums if name in Config.OPTION_DEFAULTS}


def _obstore(url: str, options: dict[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    from obstore import fsspec as obstore  # noqa: PLC0415 (it is an extra)

    if _obstore_pid and _obstore_pid[0] != os.getpid():
        raise DatasetError(
            "obstore was used in the process that this worker was forked from, and would hang here: give the loader "
            "multiprocessing_context='spawn', or leave the storage option backend='obstore' out"
        )
    _obstore_pid[:] = [os.getpid()]
    options.setdefault("retry_config", {"max_retries": 1})
    client = {"allow_http": True, **options.pop("client_options", {})}
    region = options.pop("client_kwargs", {}).get("region_name")
    config = {"region": region} if region else {}
    config |= {_NAMES.get(name, name): value for name, value in options.items()}
    protocol, _, path = url.partition("://")
    make: Any = obstore.FsspecStore  # its types know the names of options only
    return make(protocol, client_options=client, **config), path.rstrip("/")
