"""Google Cloud: one client of its services, Vertex AI's jobs, models and endpoints, Cloud Storage, figures."""
