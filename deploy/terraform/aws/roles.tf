# Who AWS is on our behalf: one role for each actor, and in it what that actor asks for. loop_role.tf, github.tf and
# label_studio.tf have those of the others.

locals {
  sagemaker     = "arn:${local.partition}:sagemaker:${local.here}"
  logs          = "arn:${local.partition}:logs:${local.here}:log-group"
  function      = "arn:${local.partition}:lambda:${local.here}:function:${var.name}"
  store_objects = "${local.bucket_arns.store}/*"
  raw_objects   = "${local.bucket_arns.data}/${var.raw_prefix}*"

  actors = {
    jobs     = { service = "sagemaker.amazonaws.com", what = "SageMaker's pipeline and its jobs" }
    models   = { service = "sagemaker.amazonaws.com", what = "SageMaker's models, behind the endpoint" }
    function = { service = "lambda.amazonaws.com", what = "the Lambda function that predicts" }
  }
}

data "aws_iam_policy_document" "assumed_by_service" {
  for_each = local.actors

  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value.service]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "actor" {
  for_each = local.actors

  name               = "${var.name}-${each.key}"
  description        = "LabelLoop: ${each.value.what}."
  assume_role_policy = data.aws_iam_policy_document.assumed_by_service[each.key].json
}

resource "aws_iam_role_policy" "actor" {
  for_each = local.actors

  name = "labelloop"
  role = aws_iam_role.actor[each.key].id
  policy = {
    jobs     = data.aws_iam_policy_document.jobs.json
    models   = data.aws_iam_policy_document.models.json
    function = data.aws_iam_policy_document.function.json
  }[each.key]
}

# What whoever reads or writes encrypted objects, messages and secrets needs beside; empty without a key of your own.
data "aws_iam_policy_document" "key" {
  dynamic "statement" {
    for_each = var.kms_key_arn == "" ? [] : [var.kms_key_arn]
    content {
      sid       = "Key"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

# GetAuthorizationToken knows no resource.
data "aws_iam_policy_document" "pull" {
  statement {
    sid       = "Registry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid       = "Images"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for repository in aws_ecr_repository.this : repository.arn]
  }
}

data "aws_iam_policy_document" "jobs" {
  source_policy_documents = [data.aws_iam_policy_document.key.json, data.aws_iam_policy_document.pull.json]

  # The pipeline starts its steps' jobs as this role, and they run as it.
  statement {
    sid = "Steps"
    actions = [
      "sagemaker:AddTags",
      "sagemaker:CreateProcessingJob",
      "sagemaker:CreateTrainingJob",
      "sagemaker:DescribeProcessingJob",
      "sagemaker:DescribeTrainingJob",
      "sagemaker:StopProcessingJob",
      "sagemaker:StopTrainingJob",
    ]
    resources = ["${local.sagemaker}:processing-job/pipelines-*", "${local.sagemaker}:training-job/pipelines-*"]
  }
  statement {
    sid = "Register"
    actions = [
      "sagemaker:AddTags",
      "sagemaker:CreateModelPackage",
      "sagemaker:DescribeModelPackage",
      "sagemaker:DescribeModelPackageGroup",
    ]
    resources = [
      "${local.sagemaker}:model-package-group/${var.name}*",
      "${local.sagemaker}:model-package/${var.name}*",
    ]
  }
  statement {
    sid       = "RunAsItself"
    actions   = ["iam:PassRole"]
    resources = ["arn:${local.partition}:iam::${local.account}:role/${var.name}-jobs"]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["sagemaker.amazonaws.com"]
    }
  }
  statement {
    sid       = "RunFolders"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = [local.store_objects]
  }
  statement {
    sid       = "Pictures"
    actions   = ["s3:GetObject"]
    resources = [local.raw_objects]
  }
  statement {
    sid       = "Lists"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = values(local.bucket_arns)
  }
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${local.logs}:/aws/sagemaker/ProcessingJobs:*", "${local.logs}:/aws/sagemaker/TrainingJobs:*"]
  }
  # PutMetricData knows no resource, but namespaces: SageMaker writes what instances use as the job's role.
  statement {
    sid       = "InstanceFigures"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TrainingJobs"]
    }
  }
}

data "aws_iam_policy_document" "models" {
  source_policy_documents = [data.aws_iam_policy_document.key.json, data.aws_iam_policy_document.pull.json]

  # Written only by asynchronous endpoints and batch jobs, which leave their answers there.
  statement {
    sid       = "Versions"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arns.store}/work/*"]
  }
  statement {
    sid       = "Lists"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arns.store]
  }
  statement {
    sid     = "Logs"
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [
      "${local.logs}:/aws/sagemaker/Endpoints/${var.name}*",
      "${local.logs}:/aws/sagemaker/TransformJobs*",
    ]
  }
  statement {
    sid       = "InstanceFigures"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["/aws/sagemaker/Endpoints", "/aws/sagemaker/TransformJobs"]
    }
  }
}

data "aws_iam_policy_document" "function" {
  source_policy_documents = [data.aws_iam_policy_document.key.json]

  statement {
    sid       = "Versions"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arns.store}/work/deployed/*"]
  }
  statement {
    sid       = "Lists"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arns.store]
  }
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.logs}:/aws/lambda/${var.name}*"]
  }
}
