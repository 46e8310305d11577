"""The inference container: one server for SageMaker's and Vertex AI's contracts and for one machine."""
