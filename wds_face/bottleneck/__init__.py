"""What limits a stream on this machine, and how many workers it should have: measured, then told in sentences."""

from wds_face.bottleneck.measured import Measured
from wds_face.bottleneck.measuring import measure
from wds_face.bottleneck.verdicts import Case, choose, limit, verdict

__all__ = ["Case", "Measured", "choose", "limit", "measure", "verdict"]
