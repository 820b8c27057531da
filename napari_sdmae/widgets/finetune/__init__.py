"""Dock Fine-tune."""
