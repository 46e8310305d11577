# Two buckets: what people see and make (data), and what the loop makes of it (store).
# In data: raw/ and annotations/. In store: store/ holds versions and runs, work/ what the loop and AWS hand each other.

locals {
  buckets = {
    data  = "${var.name}-data-${local.account}-${local.region}"
    store = "${var.name}-store-${local.account}-${local.region}"
  }
  bucket_arns = { for key, bucket in local.buckets : key => "arn:${local.partition}:s3:::${bucket}" }
}

resource "aws_s3_bucket" "this" {
  for_each = local.buckets

  bucket        = each.value
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == "" ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn == "" ? null : var.kms_key_arn
    }
    bucket_key_enabled = var.kms_key_arn != ""
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "tls_only" {
  for_each = local.bucket_arns

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"] # a refusal: all there is
    resources = [each.value, "${each.value}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "tls_only" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  policy = data.aws_iam_policy_document.tls_only[each.key].json

  # Both change the bucket's access, one at a time.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = var.work_days
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  # Labels and pictures on their way to SageMaker, which are handed over anew. What steps left, and versions that are
  # registered or deployed, stay: they may be read again at any time.
  dynamic "rule" {
    for_each = each.key == "store" ? toset(["source", "pictures", "objects", "judged"]) : toset([])
    content {
      id     = rule.value
      status = "Enabled"
      filter {
        prefix = "work/${var.name}/${rule.value}/"
      }
      expiration {
        days = var.work_days
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

# Annotators' browsers read pictures by the addresses that Label Studio presigns.
resource "aws_s3_bucket_cors_configuration" "data" {
  bucket = aws_s3_bucket.this["data"].id

  cors_rule {
    allowed_methods = ["GET", "HEAD"]
    allowed_origins = [var.label_studio_url]
    allowed_headers = ["*"]
    max_age_seconds = 3600
  }
}

# One switch for all events of the bucket; queue.tf says which of them are kept.
resource "aws_s3_bucket_notification" "data" {
  bucket      = aws_s3_bucket.this["data"].id
  eventbridge = true
}
