# The loop itself: worker and web, wherever they run. It asks for what `labelloop` calls, and for nothing else
# (tests/terraform/test_permissions.py compares them).

data "aws_iam_policy_document" "assumed_by_loop" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type = var.compute == "none" ? "AWS" : "Service"
      identifiers = {
        none    = length(var.loop_principals) > 0 ? var.loop_principals : ["arn:${local.partition}:iam::${local.account}:root"]
        fargate = ["ecs-tasks.amazonaws.com"]
        ec2     = ["ec2.amazonaws.com"]
      }[var.compute]
    }
  }
}

resource "aws_iam_role" "loop" {
  name               = "${var.name}-loop"
  description        = "LabelLoop: worker and web."
  assume_role_policy = data.aws_iam_policy_document.assumed_by_loop.json
}

resource "aws_iam_role_policy" "loop" {
  name   = "labelloop"
  role   = aws_iam_role.loop.id
  policy = data.aws_iam_policy_document.loop.json
}

data "aws_iam_policy_document" "loop" {
  source_policy_documents = [data.aws_iam_policy_document.key.json]

  statement {
    sid       = "Store"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = [local.store_objects]
  }
  statement {
    sid       = "Pictures"
    actions   = ["s3:GetObject"]
    resources = [local.raw_objects]
  }
  statement {
    sid       = "Lists"
    actions   = ["s3:ListBucket"]
    resources = values(local.bucket_arns)
  }
  statement {
    sid       = "Events"
    actions   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
    resources = [local.queue_arn]
  }
  # PutMetricData knows no resource, but namespaces.
  statement {
    sid       = "Figures"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [var.metrics_namespace]
    }
  }
  # The alarms that roll a deployment back.
  statement {
    sid       = "Alarms"
    actions   = ["cloudwatch:DescribeAlarms"]
    resources = ["arn:${local.partition}:cloudwatch:${local.here}:alarm:${var.name}-*"]
  }
  # What steps that failed said.
  statement {
    sid       = "Reasons"
    actions   = ["sagemaker:DescribeProcessingJob"]
    resources = ["${local.sagemaker}:processing-job/pipelines-*"]
  }
  # Lists know no resource.
  statement {
    sid       = "Names"
    actions   = ["sagemaker:ListEndpoints", "sagemaker:ListModelPackageGroups", "sagemaker:ListTransformJobs"]
    resources = ["*"]
  }
  statement {
    sid = "Train"
    actions = [
      "sagemaker:DescribePipeline",
      "sagemaker:DescribePipelineExecution",
      "sagemaker:ListPipelineExecutionSteps",
      "sagemaker:ListPipelineExecutions",
      "sagemaker:StartPipelineExecution",
      "sagemaker:StopPipelineExecution",
    ]
    resources = ["${local.sagemaker}:pipeline/${var.name}*"]
  }
  statement {
    sid = "Register"
    actions = [
      "sagemaker:CreateModelPackage",
      "sagemaker:CreateModelPackageGroup",
      "sagemaker:DescribeModelPackage",
      "sagemaker:DescribeModelPackageGroup",
      "sagemaker:ListModelPackages",
      "sagemaker:UpdateModelPackage",
    ]
    resources = [
      "${local.sagemaker}:model-package-group/${var.name}*",
      "${local.sagemaker}:model-package/${var.name}*",
    ]
  }
  # Versions and the endpoints they are tried on are called labelloop-..., whatever the endpoint's name.
  statement {
    sid = "Deploy"
    actions = [
      "sagemaker:CreateEndpoint",
      "sagemaker:CreateEndpointConfig",
      "sagemaker:CreateModel",
      "sagemaker:CreateTransformJob",
      "sagemaker:DeleteEndpoint",
      "sagemaker:DeleteEndpointConfig",
      "sagemaker:DeleteModel",
      "sagemaker:DescribeEndpoint",
      "sagemaker:DescribeEndpointConfig",
      "sagemaker:DescribeModel",
      "sagemaker:DescribeTransformJob",
      "sagemaker:InvokeEndpoint",
      "sagemaker:InvokeEndpointAsync",
      "sagemaker:StopTransformJob",
      "sagemaker:UpdateEndpoint",
    ]
    resources = concat(
      ["${local.sagemaker}:endpoint/${var.name}*"],
      [for kind in ["endpoint", "endpoint-config", "model", "transform-job"] : "${local.sagemaker}:${kind}/labelloop-*"],
    )
  }
  statement {
    sid = "DeployFunction"
    actions = [
      "lambda:AddPermission",
      "lambda:CreateAlias",
      "lambda:CreateFunction",
      "lambda:CreateFunctionUrlConfig",
      "lambda:DeleteFunction",
      "lambda:GetAlias",
      "lambda:GetFunction",
      "lambda:GetFunctionConfiguration",
      "lambda:GetFunctionUrlConfig",
      "lambda:InvokeFunction",
      "lambda:ListVersionsByFunction",
      "lambda:PublishVersion",
      "lambda:UpdateAlias",
      "lambda:UpdateFunctionCode",
      "lambda:UpdateFunctionConfiguration",
      "lambda:UpdateFunctionUrlConfig",
    ]
    resources = [local.function, "${local.function}:*"]
  }
  statement {
    sid       = "RunAs"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.actor["jobs"].arn, aws_iam_role.actor["models"].arn, aws_iam_role.actor["function"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["lambda.amazonaws.com", "sagemaker.amazonaws.com"]
    }
  }
}
