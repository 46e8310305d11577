"""How spans are learned: each recipe makes a model of labeled texts."""
