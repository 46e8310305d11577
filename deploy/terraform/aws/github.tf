# A workflow of GitHub Actions that renews the pipeline at a commit, by OIDC: there is no key to be lost.

locals {
  github          = var.github_repository == "" ? [] : [var.github_repository]
  github_issuer   = "token.actions.githubusercontent.com"
  github_provider = var.github_provider_arn != "" ? var.github_provider_arn : one(aws_iam_openid_connect_provider.github[*].arn)
}

resource "aws_iam_openid_connect_provider" "github" {
  count = length(local.github) > 0 && var.github_provider_arn == "" ? 1 : 0

  url            = "https://${local.github_issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "assumed_by_github" {
  count = length(local.github)

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [local.github_provider]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:sub"
      values   = ["repo:${var.github_repository}:ref:refs/heads/${var.github_branch}"]
    }
  }
}

resource "aws_iam_role" "github" {
  count = length(local.github)

  name               = "${var.name}-github"
  description        = "LabelLoop: workflows of ${var.github_repository}."
  assume_role_policy = data.aws_iam_policy_document.assumed_by_github[0].json
}

resource "aws_iam_role_policy" "github" {
  count = length(local.github)

  name   = "labelloop"
  role   = aws_iam_role.github[0].id
  policy = data.aws_iam_policy_document.github.json
}

# `labelloop aws pipeline apply | start | status`, and new images.
data "aws_iam_policy_document" "github" {
  source_policy_documents = [data.aws_iam_policy_document.key.json, data.aws_iam_policy_document.pull.json]

  statement {
    sid       = "PushImages"
    actions   = ["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]
    resources = [for repository in aws_ecr_repository.this : repository.arn]
  }
  statement {
    sid = "Pipeline"
    actions = [
      "sagemaker:CreatePipeline",
      "sagemaker:DescribePipeline",
      "sagemaker:DescribePipelineExecution",
      "sagemaker:ListPipelineExecutionSteps",
      "sagemaker:ListPipelineExecutions",
      "sagemaker:StartPipelineExecution",
      "sagemaker:StopPipelineExecution",
      "sagemaker:UpdatePipeline",
    ]
    resources = ["${local.sagemaker}:pipeline/${var.name}*"]
  }
  statement {
    sid       = "Reasons"
    actions   = ["sagemaker:DescribeProcessingJob"]
    resources = ["${local.sagemaker}:processing-job/pipelines-*"]
  }
  statement {
    sid       = "Group"
    actions   = ["sagemaker:CreateModelPackageGroup", "sagemaker:DescribeModelPackageGroup"]
    resources = ["${local.sagemaker}:model-package-group/${var.name}*"]
  }
  statement {
    sid       = "RunAs"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.actor["jobs"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["sagemaker.amazonaws.com"]
    }
  }
  # What a search found best is in the store, and becomes the parameters' defaults.
  statement {
    sid       = "Defaults"
    actions   = ["s3:GetObject"]
    resources = [local.store_objects]
  }
  statement {
    sid       = "Lists"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arns.store]
  }
}
