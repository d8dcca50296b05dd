"""SavedModels: their signatures and variables, and patches for tf2onnx."""
