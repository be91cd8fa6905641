"""A data set at a glance: one HTML page."""

from wds_face.report.report import write_report

__all__ = ["write_report"]
