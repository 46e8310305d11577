# Worker and web in AWS: what fargate.tf and machine.tf share, which is the way to web, and Redis.

locals {
  in_aws      = var.compute == "none" ? 0 : 1
  web_port    = 9090
  redis_url   = var.compute == "none" ? "" : "rediss://${aws_elasticache_replication_group.redis[0].primary_endpoint_address}:6379/0"
  web_address = var.compute == "none" ? null : "https://${aws_lb.web[0].dns_name}"

  environment = merge(local.settings, { BASIC_AUTH_USER = "labelloop", MODEL_DIR = "/data" })
  secrets = {
    LABEL_STUDIO_API_KEY     = aws_secretsmanager_secret.this["label-studio-api-key"].arn
    LABELLOOP_WEBHOOK_SECRET = aws_secretsmanager_secret.this["webhook-secret"].arn
    BASIC_AUTH_PASS          = aws_secretsmanager_secret.this["basic-auth-pass"].arn
  }
  commands = { web = "web", worker = "worker" }
}

resource "aws_security_group" "balancer" {
  count = local.in_aws

  name        = "${var.name}-balancer"
  description = "Label Studio calls LabelLoop"
  vpc_id      = var.vpc_id

  ingress {
    description = "Label Studio"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = var.label_studio_cidrs
  }
}

# Rules of their own, for the two groups name each other.
resource "aws_vpc_security_group_egress_rule" "balancer" {
  count = local.in_aws

  description                  = "To web"
  security_group_id            = aws_security_group.balancer[0].id
  referenced_security_group_id = aws_security_group.loop[0].id
  from_port                    = local.web_port
  to_port                      = local.web_port
  ip_protocol                  = "tcp"
}

resource "aws_security_group" "loop" {
  count = local.in_aws

  name        = "${var.name}-loop"
  description = "LabelLoop's worker and web"
  vpc_id      = var.vpc_id

  ingress {
    description     = "The load balancer"
    from_port       = local.web_port
    to_port         = local.web_port
    protocol        = "tcp"
    security_groups = [aws_security_group.balancer[0].id]
  }

  egress {
    description = "AWS, Label Studio, and where pictures are"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "redis" {
  count = local.in_aws

  name        = "${var.name}-redis"
  description = "LabelLoop's queue"
  vpc_id      = var.vpc_id

  ingress {
    description     = "Worker and web"
    from_port       = 6379
    to_port         = 6379
    protocol        = "tcp"
    security_groups = [aws_security_group.loop[0].id]
  }
}

resource "aws_elasticache_subnet_group" "redis" {
  count = local.in_aws

  name       = "${var.name}-redis"
  subnet_ids = var.private_subnet_ids
}

# Evicted jobs would be lost; all else in Redis may be.
resource "aws_elasticache_parameter_group" "redis" {
  count = local.in_aws

  name   = "${var.name}-redis"
  family = "redis7"
  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_replication_group" "redis" {
  count = local.in_aws

  replication_group_id       = "${var.name}-redis"
  description                = "LabelLoop's queue"
  engine                     = "redis"
  engine_version             = "7.1"
  node_type                  = var.redis_type
  num_cache_clusters         = 1
  parameter_group_name       = aws_elasticache_parameter_group.redis[0].name
  subnet_group_name          = aws_elasticache_subnet_group.redis[0].name
  security_group_ids         = [aws_security_group.redis[0].id]
  transit_encryption_enabled = true
  at_rest_encryption_enabled = true
}

resource "aws_lb" "web" {
  count = local.in_aws

  name                       = "${var.name}-web"
  internal                   = var.balancer_internal
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.balancer[0].id]
  subnets                    = var.balancer_subnet_ids
  idle_timeout               = 120 # more than LABELLOOP_PREDICT_DEADLINE
  drop_invalid_header_fields = true
}

resource "aws_lb_target_group" "web" {
  count = local.in_aws

  name        = "${var.name}-web"
  port        = local.web_port
  protocol    = "HTTP"
  target_type = var.compute == "fargate" ? "ip" : "instance"
  vpc_id      = var.vpc_id

  health_check {
    path = "/health"
  }
}

resource "aws_lb_listener" "web" {
  count = local.in_aws

  load_balancer_arn = aws_lb.web[0].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.web[0].arn
  }
}

# What starts worker and web: it pulls images, reads secrets and writes logs.
data "aws_iam_policy_document" "start" {
  source_policy_documents = [data.aws_iam_policy_document.key.json, data.aws_iam_policy_document.pull.json]

  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = values(local.secrets)
  }
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.logs}:/labelloop/${var.name}:*"]
  }
}
