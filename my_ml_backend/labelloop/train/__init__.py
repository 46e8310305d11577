"""Training: recipes on timm networks and their export. The only layer that imports torch."""
