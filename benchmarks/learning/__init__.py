"""How much the loop learns, and how far its figures can be believed, measured with the product's own code."""
