"""From weights to what ships: model.onnx with its bundle.yaml, and faster forms of it, compared."""
