"""The folder of a data set: a local path or any fsspec URL, with writes that appear whole or not at all."""

from wds_face.storage.store import Store, open_store

__all__ = ["Store", "open_store"]
