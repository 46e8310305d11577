"""Where the train stage of a run happens: in this process, or anywhere else (docs/trainers.md)."""
