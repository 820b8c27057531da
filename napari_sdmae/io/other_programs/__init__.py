"""Heads as files that other programs run: WSInfer, ONNX."""
