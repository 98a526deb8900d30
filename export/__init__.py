"""From a PyTorch checkpoint to ONNX engines in a bundle."""
