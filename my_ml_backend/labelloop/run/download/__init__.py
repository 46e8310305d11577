"""Reading what labeled pictures' addresses name: from S3, Google Cloud Storage, HTTP, Label Studio, this machine."""
