"""TensorRT and TensorRT for RTX, which share an API."""
