"""How a finetune runs: one job, on one device or on several, by Lightning."""
