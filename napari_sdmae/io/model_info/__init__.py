"""What a model folder is, read from its files without loading the model. No torch."""
