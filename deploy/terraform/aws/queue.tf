# All that happens in AWS comes into one queue, which the worker empties at its own pace: the loop's policy decides
# what follows, so that ten thousand new objects are one run.

locals {
  queue     = "${var.name}-events"
  queue_arn = "arn:${local.partition}:sqs:${local.here}:${local.queue}"

  events = {
    objects = {
      description = "Annotations and raw pictures, written or deleted."
      pattern = {
        source        = ["aws.s3"]
        "detail-type" = ["Object Created", "Object Deleted"]
        detail = {
          bucket = { name = [local.buckets.data] }
          object = { key = [{ prefix = var.annotations_prefix }, { prefix = var.raw_prefix }] }
        }
      }
    }
    packages = {
      description = "A version that was registered, approved or rejected."
      pattern = {
        source        = ["aws.sagemaker"]
        "detail-type" = ["SageMaker Model Package State Change"]
        detail        = { ModelPackageGroupName = [{ prefix = var.name }] }
      }
    }
    executions = {
      description = "An execution of the pipeline that failed."
      pattern = {
        source        = ["aws.sagemaker"]
        "detail-type" = ["SageMaker Model Building Pipeline Execution Status Change"]
        detail = {
          pipelineArn                    = ["arn:${local.partition}:sagemaker:${local.here}:pipeline/${var.name}"]
          currentPipelineExecutionStatus = ["Failed"]
        }
      }
    }
  }
}

# Few attributes beyond the defaults: the provider waits for each queue until all of them are seen.
resource "aws_sqs_queue" "dead" {
  name                      = "${local.queue}-dead"
  message_retention_seconds = 14 * 24 * 3600
  kms_master_key_id         = var.kms_key_arn == "" ? null : var.kms_key_arn
}

resource "aws_sqs_queue" "events" {
  name                       = local.queue
  message_retention_seconds  = 14 * 24 * 3600
  visibility_timeout_seconds = 120
  kms_master_key_id          = var.kms_key_arn == "" ? null : var.kms_key_arn
  policy                     = data.aws_iam_policy_document.queue.json
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 5 })
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "OurRulesOnly"
    actions   = ["sqs:SendMessage"]
    resources = [local.queue_arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for key in keys(local.events) : "arn:${local.partition}:events:${local.here}:rule/${var.name}-${key}"]
    }
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.events

  name          = "${var.name}-${each.key}"
  description   = each.value.description
  event_pattern = jsonencode(each.value.pattern)
}

resource "aws_cloudwatch_event_target" "queue" {
  for_each = aws_cloudwatch_event_rule.this

  rule      = each.value.name
  target_id = "queue"
  arn       = aws_sqs_queue.events.arn
}
