"""AWS: who we are there, SageMaker's pipelines and registry, queues, figures (docs/aws.md)."""
