"""The start of the child process; it imports nothing, so that it is there at once."""

from __future__ import annotations

import os

NICENESS = 5
"""The worker yields to the viewer, and a job that is nicer yields to both."""


def prepare_worker() -> None:
    """Make this process yield to the viewer; the initializer of the child, never called in the viewer itself."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
