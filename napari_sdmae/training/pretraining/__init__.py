"""Pre-training of an SD-MAE on a folder of images."""
