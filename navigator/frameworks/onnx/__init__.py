"""ONNX files and graphs, and the arithmetic of lower precisions."""
