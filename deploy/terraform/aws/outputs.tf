locals {
  rollback_alarms = [for alarm in aws_cloudwatch_metric_alarm.endpoint : alarm.alarm_name]

  settings = merge(
    {
      AWS_DEFAULT_REGION            = local.region
      LABELLOOP_AWS_INFERENCE_IMAGE = "${aws_ecr_repository.this["inference"].repository_url}:${var.image_tag}"
      LABELLOOP_AWS_LOCATION        = "s3://${local.buckets.store}/work"
      LABELLOOP_AWS_ROLE            = aws_iam_role.actor["jobs"].arn
      LABELLOOP_AWS_TRAINING_IMAGE  = "${aws_ecr_repository.this["worker"].repository_url}:${var.image_tag}"
      LABELLOOP_DEPLOYER            = "sagemaker://${var.name}?region=${local.region}&alarms=${join(",", local.rollback_alarms)}&role=${aws_iam_role.actor["models"].arn}"
      LABELLOOP_ENDPOINT            = "sagemaker://${var.name}?region=${local.region}"
      LABELLOOP_EVENTS              = "sqs://${local.queue}?region=${local.region}"
      LABELLOOP_METRICS             = "cloudwatch://${var.metrics_namespace}?region=${local.region}"
      LABELLOOP_REGISTRY            = "sagemaker://${var.name}?region=${local.region}"
      LABELLOOP_STORE               = "s3://${local.buckets.store}/store"
      LABELLOOP_TRAINER             = "sagemaker-pipeline://${var.name}?region=${local.region}"
      LABEL_STUDIO_URL              = var.label_studio_url
    },
    var.compute == "none" ? {} : { LABELLOOP_REDIS_URL = local.redis_url },
  )
}

output "env" {
  description = "What to put into .env, as a shell and docker compose read it: terraform output -raw env >> .env."
  value       = join("", [for name, value in local.settings : "${name}='${value}'\n"])
}

output "data_bucket" {
  description = "Bucket of raw pictures and annotations: Label Studio's source and target storage."
  value       = aws_s3_bucket.this["data"].id
}

output "loop_role_arn" {
  description = "Role of worker and web. Where they run outside of AWS, their profile assumes it."
  value       = aws_iam_role.loop.arn
}

output "function_role_arn" {
  description = "Role of the Lambda function, where a version is served by one."
  value       = aws_iam_role.actor["function"].arn
}

output "models_role_arn" {
  description = "Role of the endpoint's models."
  value       = aws_iam_role.actor["models"].arn
}

output "github_role_arn" {
  description = "Role that the workflow of GitHub Actions assumes; null without github_repository."
  value       = one(aws_iam_role.github[*].arn)
}

output "label_studio_policy_arn" {
  description = "Policy for Label Studio's role, where it runs in AWS."
  value       = aws_iam_policy.label_studio.arn
}

output "rollback_alarms" {
  description = "Alarms that roll a deployment back."
  value       = local.rollback_alarms
}

output "secrets" {
  description = "Secrets that wait for their values."
  value       = { for key, secret in aws_secretsmanager_secret.this : key => secret.arn }
}

output "web_address" {
  description = "Where web listens, for the name in your certificate; null without compute."
  value       = local.web_address
}
