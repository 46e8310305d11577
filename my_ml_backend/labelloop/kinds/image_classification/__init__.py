"""Classes of whole pictures, by timm's networks: the kind that was there first."""
