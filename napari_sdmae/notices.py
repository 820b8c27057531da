"""Notices shown next to results. Torch-free: the viewer imports them."""

from __future__ import annotations

NO_DEVICE = "Not a medical device"
"""The words of every notice, of programs and of documents; models bring their own, :data:`USE`. A test looks for others."""
RESEARCH = f"For research and teaching. {NO_DEVICE}."
USE = "Research use only, not for diagnosis."
"""The words of the card of every model: models go where these programs do not."""
ATTENTION = f"Attention is not explanation. {NO_DEVICE}."
RECONSTRUCTION = f"Visible patches show the input. {NO_DEVICE}."
SCRIBBLES = f"A quick look from a few strokes, not a measured accuracy. {NO_DEVICE}."
PREDICTION = f"{NO_DEVICE}: a pathologist must check every label."

NORMALISED = "The model predicts normalised patches: the mean and contrast of each patch shown were taken from the original."
RAW = "The model predicts raw pixels: the mean and contrast of each hidden patch are its own prediction."


FINEST, COARSEST = 0.5, 1.5
"""How much finer and coarser than at its own scale, that of a typical crop, a model may be shown tissue without a warning.

Random crops of the paper's recipe reach from 0.44 to 1.56 of that scale, ours from 0.63 to 1.42 (docs/decisions/0115): what is
coarser no training has shown. Scribbles found nuclei better at half of it (Dice 0.78 instead of 0.72) and worse at double (0.61;
``widgets/scribbles/controls.py``).
"""


def scale_notes(trained: float | None, shown: float | None, closer: str = "") -> list[str]:
    """Return a warning if a model sees tissue at quite another scale than it was trained at.

    Parameters
    ----------
    trained
        µm per pixel of what the model learned from; None: unknown, nothing can be said.
    shown
        µm per pixel of the finest detail that it is shown; None: unknown.
    closer
        What shows the model finer detail, such as "choose a smaller region"; empty where nothing does.
    """
    if trained is None or shown is None or FINEST <= shown / trained <= COARSEST:
        return []
    how = f"{trained / shown:.1f}× finer" if shown < trained else f"{shown / trained:.1f}× coarser"
    remedy = (
        f"{closer}, or use a model trained at this scale" if closer and shown > trained else "use a model trained at this scale"
    )
    return [
        f"the model sees this picture at {shown:.3g} µm/px, {how} than in its training ({trained:.3g} µm/px), and is less "
        f"reliable: {remedy}"
    ]


def reconstruction_note(target_normalisation: str | None) -> str:
    """Return what a reconstruction shows, by what the model predicts: patch_channel, patch or none; None without decoder."""
    return {None: "", "none": RAW}.get(target_normalisation, NORMALISED)
