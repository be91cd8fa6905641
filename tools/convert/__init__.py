"""The converters from a checkout: ``python -m tools.convert imagefolder SRC DEST``. The work is in ``wds_face``."""
