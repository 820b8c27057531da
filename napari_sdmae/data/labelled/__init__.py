"""Labelled images of any layout: read, split, checked, written. No torch."""
