"""What the kinds of texts share: how a text becomes numbers, with a place in the text for each of them."""
