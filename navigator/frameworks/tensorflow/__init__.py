"""SavedModels: their signatures, their variables, and what tf2onnx gets wrong."""
