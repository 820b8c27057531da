"""``python -m napari_sdmae`` and ``sdmae``: the same command line."""

import sys

from napari_sdmae.cli import main

if __name__ == "__main__":
    sys.exit(main())
