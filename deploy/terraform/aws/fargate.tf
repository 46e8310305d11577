# compute = fargate: two services of one task each, and nothing to look after.

locals {
  fargate = var.compute == "fargate" ? 1 : 0
  sizes   = { web = var.web_size, worker = var.worker_size }
}

data "aws_iam_policy_document" "assumed_by_ecs" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "start" {
  count = local.fargate

  name               = "${var.name}-start"
  description        = "LabelLoop: what starts worker and web."
  assume_role_policy = data.aws_iam_policy_document.assumed_by_ecs.json
}

resource "aws_iam_role_policy" "start" {
  count = local.fargate

  name   = "labelloop"
  role   = aws_iam_role.start[0].id
  policy = data.aws_iam_policy_document.start.json
}

resource "aws_ecs_cluster" "loop" {
  count = local.fargate

  name = var.name
}

resource "aws_ecs_task_definition" "loop" {
  for_each = local.fargate == 1 ? local.commands : {}

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = local.sizes[each.key].cpu
  memory                   = local.sizes[each.key].memory
  execution_role_arn       = aws_iam_role.start[0].arn
  task_role_arn            = aws_iam_role.loop.arn

  # The worker's image holds torch, and its runs lie beside it.
  dynamic "ephemeral_storage" {
    for_each = each.key == "worker" ? [100] : []
    content {
      size_in_gib = ephemeral_storage.value
    }
  }

  container_definitions = jsonencode([{
    name         = each.key
    image        = "${aws_ecr_repository.this[each.key].repository_url}:${var.image_tag}"
    command      = [each.value]
    essential    = true
    stopTimeout  = 120
    environment  = [for name, value in local.environment : { name = name, value = value }]
    secrets      = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
    portMappings = each.key == "web" ? [{ containerPort = local.web_port }] : []
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this["/labelloop/${var.name}"].name
        awslogs-region        = local.region
        awslogs-stream-prefix = each.key
      }
    }
  }])
}

resource "aws_ecs_service" "loop" {
  for_each = aws_ecs_task_definition.loop

  name            = each.key
  cluster         = aws_ecs_cluster.loop[0].id
  task_definition = each.value.arn
  desired_count   = 1
  launch_type     = "FARGATE"

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.loop[0].id]
  }

  dynamic "load_balancer" {
    for_each = each.key == "web" ? [aws_lb_target_group.web[0].arn] : []
    content {
      target_group_arn = load_balancer.value
      container_name   = "web"
      container_port   = local.web_port
    }
  }

  depends_on = [aws_lb_listener.web, aws_iam_role_policy.start]
}
