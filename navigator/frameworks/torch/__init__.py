"""What PyTorch models take and give, and what its ONNX exporter gets wrong."""
