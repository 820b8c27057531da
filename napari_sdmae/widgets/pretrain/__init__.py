"""Dock Pre-train."""
