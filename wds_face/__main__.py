"""``python -m wds_face`` is ``wds-face``."""

from wds_face.cli import main

if __name__ == "__main__":
    main()
