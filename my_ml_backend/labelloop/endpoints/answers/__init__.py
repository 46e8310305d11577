"""Answer formats: how an endpoint's answer becomes predictions (docs/formats.md). ``read`` reads them."""
