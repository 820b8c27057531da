"""Questions to the person before something is lost."""

from __future__ import annotations

from typing import Literal

from qtpy.QtWidgets import QMessageBox, QWidget

Answer = Literal["replace", "keep", "cancel"]


def ask_replace_corrected(parent: QWidget, name: str) -> Answer:
    """Ask what becomes of labels that were corrected by hand, now that new ones come."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Corrected labels")
    box.setText(f"“{name}” was corrected by hand.")
    box.setInformativeText("A new segmentation takes its place. Keep the corrected labels as a layer of their own?")
    keep = box.addButton("Keep both", QMessageBox.ButtonRole.AcceptRole)
    replace = box.addButton("Replace", QMessageBox.ButtonRole.DestructiveRole)
    stay = box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.setEscapeButton(stay)
    box.exec()
    clicked = box.clickedButton()
    return "keep" if clicked is keep else "replace" if clicked is replace else "cancel"


def ask_overwrite(parent: QWidget, what: str) -> bool:
    """Ask whether `what`, which exists already, may be replaced."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Replace")
    box.setText(f"{what} already exists.")
    box.setInformativeText("Replace it?")
    replace = box.addButton("Replace", QMessageBox.ButtonRole.DestructiveRole)
    stay = box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(stay)
    box.setEscapeButton(stay)
    box.exec()
    return box.clickedButton() is replace
