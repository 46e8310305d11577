"""The checks: pytest's test functions. A docstring's first line says what is checked, the rest what a failure means."""
