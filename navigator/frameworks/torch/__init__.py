"""Inputs and outputs of PyTorch models, and patches for the ONNX exporter."""
