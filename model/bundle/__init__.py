"""The shipped bundle: model.onnx, bundle.yaml and CARD.md, as data of the wheel."""
