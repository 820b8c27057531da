"""What pre-training and fine-tuning share: the loop over steps, optimizer, checkpoints, resuming, processes."""
