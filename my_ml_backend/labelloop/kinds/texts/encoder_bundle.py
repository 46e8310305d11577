"""The files of a bundle that an encoder is served by; importing their names loads nothing else."""

MODEL, TOKENIZER, DETAILS = "model.onnx", "tokenizer.json", "encoder.json"
BACKBONE = "backbone.onnx"
"""The encoder without its last layer."""

FILES = (MODEL, TOKENIZER, DETAILS)
"""Those of an encoder with its last layer. ``encoder.json`` holds its EncoderSpec, and what a kind adds."""
