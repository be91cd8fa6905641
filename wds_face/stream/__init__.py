"""Shards, streamed as PK batches."""

from wds_face.stream.grouper import PKGrouper, pk_batched
from wds_face.stream.stream import PKLoader, PKStream

__all__ = ["PKGrouper", "PKLoader", "PKStream", "pk_batched"]
