"""How boxes are learned. These modules import torch, and only the stages that train and analyse import them."""
