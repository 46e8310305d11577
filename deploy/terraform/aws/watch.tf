# What is watched: alarms, whom they tell, logs, and one dashboard. The loop's own figures are told by project and
# version, which Terraform does not know: alarms on them look for the worst of all.

locals {
  of_all = "FROM SCHEMA(\"${var.metrics_namespace}\", Project, Version)"
  of_any = "FROM SCHEMA(\"${var.metrics_namespace}\", Project)"

  # By the endpoint's own alarms a deployment is rolled back: the variant is called primary in every version.
  endpoint_alarms = {
    errors  = { metric = "Invocation5XXErrors", statistic = "Sum", most = 0, what = "The endpoint answers with errors." }
    latency = { metric = "ModelLatency", statistic = "p90", most = var.most_latency_ms * 1000, what = "The model is slow." }
  }

  loop_alarms = {
    drift  = { query = "SELECT MAX(Drift) ${local.of_all}", most = 0, what = "What is predicted has become other: `labelloop status` says where." }
    failed = { query = "SELECT SUM(RunsFailed) ${local.of_any}", most = 0, what = "A run failed: `labelloop status` says why." }
    idle   = { query = "SELECT MAX(DaysWithoutRun) ${local.of_any}", most = var.most_days_without_run, what = "No run has come to an end for days." }
  }

  queue_alarms = {
    dead  = { queue = "${local.queue}-dead", metric = "ApproximateNumberOfMessagesVisible", most = 0, what = "Events that the worker could not take: read them, and redrive." }
    stale = { queue = local.queue, metric = "ApproximateAgeOfOldestMessage", most = 3600, what = "No worker takes the events." }
  }
}

resource "aws_sns_topic" "alarms" {
  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == "" ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_metric_alarm" "endpoint" {
  for_each = local.endpoint_alarms

  alarm_name          = "${var.name}-endpoint-${each.key}"
  alarm_description   = each.value.what
  namespace           = "AWS/SageMaker"
  metric_name         = each.value.metric
  dimensions          = { EndpointName = var.name, VariantName = "primary" }
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  period              = 60
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  threshold           = each.value.most
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "loop" {
  for_each = local.loop_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.what
  evaluation_periods  = 1
  threshold           = each.value.most
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "worst"
    expression  = each.value.query
    period      = 300
    return_data = true
  }
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  for_each = local.queue_alarms

  alarm_name          = "${var.name}-events-${each.key}"
  alarm_description   = each.value.what
  namespace           = "AWS/SQS"
  metric_name         = each.value.metric
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = each.value.most
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

# The groups of SageMaker's jobs are the account's, not ours.
resource "aws_cloudwatch_log_group" "this" {
  for_each = toset(concat(
    ["/aws/sagemaker/Endpoints/${var.name}", "/aws/lambda/${var.name}"],
    var.compute == "none" ? [] : ["/labelloop/${var.name}"],
  ))

  name              = each.key
  retention_in_days = 90
}

resource "aws_cloudwatch_dashboard" "loop" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for index, widget in local.widgets : {
      type   = "metric"
      x      = (index % 3) * 8
      y      = floor(index / 3) * 6
      width  = 8
      height = 6
      properties = {
        title   = widget.title
        region  = local.region
        view    = "timeSeries"
        stat    = widget.stat
        period  = 300
        metrics = widget.metrics
      }
    }]
  })
}

locals {
  by_version = "{\"${var.metrics_namespace}\",Project,Version}"
  by_project = "{\"${var.metrics_namespace}\",Project}"

  widgets = [
    {
      title   = "How right versions were on the test side"
      stat    = "Average"
      metrics = [for name in ["Accuracy", "Main", "MacroF1"] : [{ expression = "SEARCH('${local.by_version} MetricName=\"${name}\"', 'Average', 300)" }]]
    },
    {
      title   = "How often annotators left a prediction as it was"
      stat    = "Average"
      metrics = [[{ expression = "SEARCH('${local.by_version} MetricName=\"Agreement\"', 'Average', 300)" }]]
    },
    {
      title   = "Drift"
      stat    = "Maximum"
      metrics = [for name in ["DriftKS", "DriftPSI", "DriftMMD"] : [{ expression = "SEARCH('${local.by_version} MetricName=\"${name}\"', 'Maximum', 300)" }]]
    },
    {
      title   = "Runs that came to an end, and failures"
      stat    = "Sum"
      metrics = [for name in ["Runs", "RunsFailed"] : [{ expression = "SEARCH('${local.by_project} MetricName=\"${name}\"', 'Sum', 300)" }]]
    },
    {
      title = "The endpoint"
      stat  = "Sum"
      metrics = concat(
        [for name in ["Invocations", "Invocation5XXErrors"] : ["AWS/SageMaker", name, "EndpointName", var.name, "VariantName", "primary"]],
        [[{ expression = "SEARCH('${local.by_project} MetricName=\"EndpointErrors\"', 'Sum', 300)" }]],
      )
    },
    {
      title = "Events that wait, and that nobody could take"
      stat  = "Maximum"
      metrics = [
        for queue in [local.queue, "${local.queue}-dead"] :
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue]
      ]
    },
  ]
}
