"""The maps of attention that there are: for the command line, the dock and the computation alike."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["received", "query", "rollout", "pca", "similarity", "class_token"]

METHODS: tuple[Method, ...] = get_args(Method)
NEED_PATCH: tuple[Method, ...] = ("query", "similarity")
"""Maps of one patch: it has to be chosen."""
TAKE_PATCH: tuple[Method, ...] = ("query", "rollout", "similarity")
"""Maps that are of one patch if one is chosen."""
BY_HEAD: tuple[Method, ...] = ("received", "query", "class_token")
"""Maps of single heads; the others are of all heads of a block."""
