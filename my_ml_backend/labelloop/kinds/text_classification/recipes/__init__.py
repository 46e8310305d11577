"""How texts are learned: the recipes, and the contest between them."""
