"""Dock Segment."""
