"""What can be learned, one package each. ``base`` says what a kind is, and which there are."""
