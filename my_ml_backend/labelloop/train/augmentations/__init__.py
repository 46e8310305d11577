"""Changes to training pictures that leave their labels true: named policies, or a YAML file of one's own."""
