"""Names of the files and folders that operating systems, NAS boxes and tools leave among data."""

from __future__ import annotations

_NAMES = frozenset(
    {
        "#recycle",  # Synology
        "#snapshot",
        "$extend",  # Windows
        "$recycle.bin",
        "@eadir",  # Synology: thumbnails, with the extension of images
        "@recently-snapshot",  # QNAP
        "@recycle",
        "@sharebin",
        "@tmp",
        "@transcode",
        "__macosx",  # zip files made by macOS: AppleDouble files named after every image
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "network trash folder",  # netatalk
        "recycler",
        "system volume information",
        "temporary items",
        "thumbs.db",
        "~snapshot",  # NetApp
    }
)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, a thumbnail, trash, or kept by a system for itself.

    Args:
        name: Name without its folder. Everything that begins with a dot is hidden; case does not matter.
    """
    return name.startswith(".") or name.casefold() in _NAMES


__all__ = ["is_hidden"]
