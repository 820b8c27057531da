"""Batches of tiles, with or without labels, cut and changed on the device. Needs torch."""
