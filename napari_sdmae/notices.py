"""What must be said beside a picture; without torch, so that the viewer can say it too."""

from __future__ import annotations

NORMALISED = "The model predicts normalised patches: the mean and contrast of each patch shown were taken from the original."
RAW = "The model predicts raw pixels: the mean and contrast of each hidden patch are its own prediction."


def reconstruction_note(target_normalisation: str | None) -> str:
    """Return what a reconstruction shows, by what the model predicts: patch_channel, patch or none; None without decoder."""
    return {None: "", "none": RAW}.get(target_normalisation, NORMALISED)
