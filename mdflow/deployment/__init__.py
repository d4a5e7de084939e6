"""From a trained network to a small machine: its cost, its integers, its ONNX file, run without PyTorch."""
