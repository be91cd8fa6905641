"""``python -m tools.convert`` is ``wds-face convert``."""

from wds_face.cli.convert import convert
from wds_face.cli.main import run

if __name__ == "__main__":
    run(convert, None, "python -m tools.convert")
