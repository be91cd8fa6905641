"""Explain failures of the first request that retrying cannot fix: wrong options, credentials or addresses."""

from __future__ import annotations

import difflib
import errno
import inspect
import os
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import fsspec

from wds_face.location import shown
from wds_face.storage.patience import error_code

#: Storage options that are wds_face's own; see :class:`wds_face.storage.remote.RemoteStore`.
OWN_OPTIONS = ("patience", "stall", "requests", "backend")

# Similarity of an unknown and a known option, from 0 to 1, above which the unknown one is taken for a typing error.
_ALIKE = 0.8

# Characters. Shorter option values are not redacted, as they could be part of any word of a message.
_SHORTEST_SECRET = 3

# Exceptions that Python raises for a wrong option.
_PROGRAMMING = (TypeError, ValueError, AttributeError, LookupError)
_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
_S3 = ("s3", "s3a")
# Errors of botocore, obstore and google.auth, by name since these packages are optional.
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "UnauthenticatedError")
_WRONG_OPTIONS = ("ProfileNotFound", "InvalidConfigError", "ParamValidationError", "UnknownConfigurationKeyError")
# Statuses 4xx and codes that are not configuration errors: the file is missing, or another try may succeed.
_WAIT_FOR_STATUS = (404, 408, 410, 425, 429)
_WAIT_FOR_CODE = ("RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "OperationAborted")


def misspelt_option(url: str, options: Iterable[str]) -> tuple[str, str] | None:
    """Return the first option that a URL's file system does not know, and the known one that it resembles.

    Returns None if there is no such pair. Unknown options that resemble no other are left to the file system, which may
    pass them on to another package.

    Raises:
        ImportError, ValueError: No file system is installed for the URL.
    """
    if "::" in url:  # a chain, whose options belong to several file systems
        return None
    known = set(OWN_OPTIONS)
    for kind in fsspec.get_filesystem_class(url.partition("://")[0]).__mro__:
        known.update(inspect.signature(kind.__init__).parameters)
    for name in options:
        alike = difflib.get_close_matches(name, known, 1, _ALIKE)
        if name not in known and name != "profile" and alike:
            return name, alike[0]
    return None


def explain(error: BaseException, url: str, options: dict[str, Any]) -> str | None:
    """Describe what is wrong with the configuration, and the remedy. Returns None if another try may succeed.

    Args:
        error: Error raised by the first request to a store.
        url: URL of the store.
        options: Storage options of its file system, including those of fsspec's configuration.
    """
    chain = list(_chain(error))
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if isinstance(error, PermissionError):
        return None  # never retried, so the caller reports it
    if names.intersection(_NO_CREDENTIALS):
        return f"no credentials were found: {credentials_remedy(url)}"
    wrong = [cause for cause in (error, error.__cause__, _inner(error)) if isinstance(cause, _PROGRAMMING)]
    if wrong or names.intersection(_WRONG_OPTIONS):
        cause = wrong[0] if wrong else error
        return f"storage_options are not accepted ({redacted(cause, options)}){_named_in(cause, options)}"
    if isinstance(error, ImportError):
        return f"a package is missing ({redacted(error, options)})"
    if _is_tls(chain, names):
        return f"no encrypted connection can be made: {_address(url, options)}, http or https, and certificates"
    if _is_unknown_host(chain, names):
        return f"the name of the host cannot be resolved: {_address(url, options)}"
    if _is_unreachable(chain, names):
        return f"nothing answers (the connection was refused): {_address(url, options)}"
    status = _status(chain)
    if 300 <= status < 500 and status not in _WAIT_FOR_STATUS and error_code(error) not in _WAIT_FOR_CODE:
        return (
            f"the server refuses the request ({error_code(error) or status}): {_address(url, options)}, and the region"
        )
    return None


def answered(error: BaseException) -> bool:
    """Return whether an error is a server's answer, which means that the address is right."""
    return isinstance(error, (FileNotFoundError, NotADirectoryError)) or _status(list(_chain(error))) > 0


def redacted(error: BaseException, options: dict[str, Any]) -> str:
    """Return the message of an error on one line, with the values of options replaced by "…"."""
    message = " ".join(str(error).split())
    for value in sorted(_texts(options), key=len, reverse=True):  # one may be part of another
        message = message.replace(value, "…")
    return shown(message[:200])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [_inner(one), getattr(one, "os_error", None), one.__context__, one.__cause__]


def _inner(error: BaseException) -> BaseException | None:
    """Return the error that a botocore error wraps, None if there is none."""
    arguments = getattr(error, "kwargs", None)
    inner = arguments.get("error") if isinstance(arguments, dict) else None
    return inner if isinstance(inner, BaseException) else None


def _is_unknown_host(chain: list[BaseException], names: set[str]) -> bool:
    return (
        any(isinstance(one, socket.gaierror) for one in chain)
        or "ClientConnectorDNSError" in names
        or any("dns error" in str(one) for one in chain)  # obstore's
    )


def _is_unreachable(chain: list[BaseException], names: set[str]) -> bool:
    return (
        any(isinstance(one, OSError) and one.errno in _UNREACHABLE for one in chain)
        or names >= {"EndpointConnectionError"}
        or any("Connection refused" in str(one) for one in chain)  # obstore's
    )


def _is_tls(chain: list[BaseException], names: set[str]) -> bool:
    broken = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return any(isinstance(one, ssl.SSLError) and not isinstance(one, broken) for one in chain) or bool(
        names.intersection(("ClientConnectorSSLError", "ClientConnectorCertificateError"))
    )


def _status(chain: list[BaseException]) -> int:
    """Return the HTTP status of the first error that carries one, 0 if none does."""
    for one in chain:
        response = getattr(one, "response", None)
        of_botocore = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
        for status in (of_botocore.get("HTTPStatusCode"), getattr(one, "status", None)):
            if isinstance(status, int):
                return status
    return 0


def _address(url: str, options: dict[str, Any]) -> str:
    """Return advice to check the setting that the server's address comes from."""
    protocol = url.partition("://")[0]
    if protocol not in _S3:
        return "check the URL"
    client = options.get("client_kwargs")
    given = options.get("endpoint_url") or (client.get("endpoint_url") if isinstance(client, dict) else None)
    if given:
        return f"check the storage option endpoint_url ({_host(str(given))})"
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return f"check the variable {name} ({_host(os.environ[name])})"
    return "for a store other than Amazon's set the storage option endpoint_url, or the variable AWS_ENDPOINT_URL"


def _host(endpoint: str) -> str:
    """Return scheme, host and port of an endpoint, without a user name and password."""
    parts = urlsplit(shown(endpoint))
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else "which has no http:// or https://"


def credentials_remedy(url: str) -> str:
    """Return advice on what to check if the store at a URL denies access."""
    if url.partition("://")[0] in _S3:
        return (
            "check the storage options key and secret, or the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or set the option anon for a public bucket"
        )
    return "check the storage options, or the environment variables that replace them"


def _named_in(error: BaseException, options: dict[str, Any]) -> str:
    """Return advice to check the options that the message of an error names."""
    words = set(re.findall(r"\w+", str(error)))
    named = sorted(words & _names(options))
    if not named and "endpoint" in str(error).lower() and "endpoint_url" in options:
        named = ["endpoint_url"]
    return f": check the option {', '.join(named)}" if named else ": check them"


def _names(options: Any) -> set[str]:
    """Return the names of options at any depth."""
    if not isinstance(options, dict):
        return set()
    return {str(name) for name in options}.union(*(_names(value) for value in options.values()))


def _texts(options: Any) -> list[str]:
    """Return all texts in options, at any depth, that are long enough to be redacted."""
    if isinstance(options, bytes):
        options = options.decode(errors="replace")
    if isinstance(options, str):
        text = " ".join(options.split())
        return [text] if len(text) >= _SHORTEST_SECRET else []
    if isinstance(options, dict):
        options = list(options.values())
    if not isinstance(options, Iterable):
        return []
    return [text for value in options for text in _texts(value)]
