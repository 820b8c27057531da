"""Attention maps of an encoded field (method, Attention without a class token)."""
