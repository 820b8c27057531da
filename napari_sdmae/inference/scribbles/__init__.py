"""A field segmented from a few strokes."""
