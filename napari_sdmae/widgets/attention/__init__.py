"""Dock Attention."""
