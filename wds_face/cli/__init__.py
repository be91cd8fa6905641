"""The command line ``wds-face``."""

from wds_face.cli.main import main

__all__ = ["main"]
