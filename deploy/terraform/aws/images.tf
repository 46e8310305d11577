# The three images of my_ml_backend/Dockerfile. Only worker (trains) and inference (predicts) are SageMaker's business.
resource "aws_ecr_repository" "this" {
  for_each = toset(["worker", "inference", "web"])

  name         = "${var.name}-${each.key}"
  force_delete = var.force_destroy
  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "The last 20 images, for versions that are deployed name one."
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 20 }
      action       = { type = "expire" }
    }]
  })
}

# Lambda takes images only from repositories that say so.
data "aws_iam_policy_document" "lambda_pulls" {
  statement {
    sid     = "LambdaPulls"
    actions = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:lambda:${local.here}:function:${var.name}*"]
    }
  }
}

resource "aws_ecr_repository_policy" "lambda_pulls" {
  repository = aws_ecr_repository.this["inference"].name
  policy     = data.aws_iam_policy_document.lambda_pulls.json
}
