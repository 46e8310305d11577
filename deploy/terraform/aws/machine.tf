# compute = ec2: one machine runs both images, and is made anew when it fails. It keeps nothing that would be lost.

locals {
  machine = var.compute == "ec2" ? 1 : 0
}

resource "aws_iam_role_policy" "machine" {
  count = local.machine

  name   = "start"
  role   = aws_iam_role.loop.id
  policy = data.aws_iam_policy_document.start.json
}

resource "aws_iam_instance_profile" "machine" {
  count = local.machine

  name = "${var.name}-loop"
  role = aws_iam_role.loop.name
}

resource "aws_launch_template" "machine" {
  count = local.machine

  name          = "${var.name}-loop"
  image_id      = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
  instance_type = var.machine_type
  user_data = base64encode(templatefile("${path.module}/machine.sh.tftpl", {
    region      = local.region
    registry    = split("/", aws_ecr_repository.this["web"].repository_url)[0]
    images      = { for key in keys(local.commands) : key => "${aws_ecr_repository.this[key].repository_url}:${var.image_tag}" }
    commands    = local.commands
    environment = local.environment
    secrets     = local.secrets
    log_group   = "/labelloop/${var.name}"
    port        = local.web_port
  }))

  iam_instance_profile {
    arn = aws_iam_instance_profile.machine[0].arn
  }

  network_interfaces {
    security_groups = [aws_security_group.loop[0].id]
  }

  # One hop more than to the machine itself: containers ask for its role, too.
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size = 100
      volume_type = "gp3"
      encrypted   = true
    }
  }
}

resource "aws_autoscaling_group" "machine" {
  count = local.machine

  name                = "${var.name}-loop"
  min_size            = 1
  max_size            = 1
  vpc_zone_identifier = var.private_subnet_ids
  target_group_arns   = [aws_lb_target_group.web[0].arn]

  # The first start pulls 7 GB.
  health_check_type         = "ELB"
  health_check_grace_period = 1200

  launch_template {
    id      = aws_launch_template.machine[0].id
    version = aws_launch_template.machine[0].latest_version
  }

  instance_refresh {
    strategy = "Rolling"
  }

  depends_on = [aws_iam_role_policy.machine, aws_cloudwatch_log_group.this]
}
