"""Dock Scribbles."""
