"""Shards, streamed as PK batches."""

from wds_face.stream.batch import Batch
from wds_face.stream.grouper import PKGrouper, pk_batched
from wds_face.stream.loader import PKLoader
from wds_face.stream.stream import PKStream

__all__ = ["Batch", "PKGrouper", "PKLoader", "PKStream", "pk_batched"]
