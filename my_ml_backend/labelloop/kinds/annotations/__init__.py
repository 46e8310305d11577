"""The kind that takes what annotators say as it is, for trainers of one's own (docs/kinds.md)."""
