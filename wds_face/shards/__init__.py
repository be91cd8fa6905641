"""Shards and their index: reading, checking, indexing. Writing them is :mod:`wds_face.conversion`."""
