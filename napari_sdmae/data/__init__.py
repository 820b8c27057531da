"""Images to tiles to batches: sources, tile grid, tissue filter, cache, augmentation."""
