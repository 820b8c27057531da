"""A folder of pictures as tiles: where they lie, how much tissue they show, decoded once and kept. No torch."""
