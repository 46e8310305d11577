"""What the kinds of texts train with; may import torch, as no other module of ``kinds.texts`` does."""
