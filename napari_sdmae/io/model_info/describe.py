"""A model in words: the line under a choice, and the page behind *About this model*."""

from __future__ import annotations

from napari_sdmae.humanize import size
from napari_sdmae.io.model_info.card import card_body, read_card, says_use
from napari_sdmae.io.model_info.info import WEIGHTS, ModelInfo
from napari_sdmae.notices import USE

SHIPPED = "comes with napari-sdmae"
NO_CARD = "This model has no card: its data, licence, metrics and limits are not known."


def describe_model(info: ModelInfo) -> str:
    """Return what people want to know of a model, in one line."""
    shipped = f"{SHIPPED.capitalize()} · " if info.shipped else ""
    scale = f" · {info.mpp:.3g} µm/px" if info.mpp else ""
    return (
        f"{shipped}{info.encoder} · tiles of {info.tile_size} px, patches of {info.patch_size} px{scale} · "
        f"{info.depth} blocks × {info.heads} heads"
    )


def about_model(info: ModelInfo) -> str:
    """Return all that is known of a model as Markdown: its card, then what its files say.

    Raises
    ------
    OSError
        If its files cannot be read.
    """
    card = read_card(info.folder) or f"# {info.title}\n\n{NO_CARD}"
    use = "" if says_use(card) else f"**{USE}**\n\n"
    weights = size((info.folder / WEIGHTS).stat().st_size)
    return f"{card_body(card)}\n\n{use}## Files\n\n{describe_model(info)} · {weights}\n\n`{info.folder}`\n"
