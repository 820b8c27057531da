"""Dock Reconstruct."""
