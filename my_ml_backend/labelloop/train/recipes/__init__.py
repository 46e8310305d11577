"""The ways to train a network; they compete on the validation split."""
