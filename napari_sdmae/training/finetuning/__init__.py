"""Fine-tuning and evaluation of a head on labelled images."""
