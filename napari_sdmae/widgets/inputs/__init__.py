"""Choices of image, model, head and labels."""
