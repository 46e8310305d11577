"""The search: many trainings of one run's data, each with other parameters, judged on the validation side alone."""
