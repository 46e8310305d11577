# Label Studio's source and target storage. Where it runs in AWS, attach the policy to its role; elsewhere make a key
# for the user (`aws iam create-access-key`), which so is never in Terraform's state.

data "aws_iam_policy_document" "label_studio" {
  source_policy_documents = [data.aws_iam_policy_document.key.json]

  statement {
    sid       = "Source"
    actions   = ["s3:GetObject"]
    resources = [local.raw_objects]
  }
  statement {
    sid       = "Target"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arns.data}/${var.annotations_prefix}*"]
  }
  # Without a condition by prefix: it asks whether the bucket is there, too.
  statement {
    sid       = "Lists"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arns.data]
  }
}

resource "aws_iam_policy" "label_studio" {
  name        = "${var.name}-label-studio"
  description = "LabelLoop: Label Studio's storages."
  policy      = data.aws_iam_policy_document.label_studio.json
}

resource "aws_iam_user" "label_studio" {
  name = "${var.name}-label-studio"
}

resource "aws_iam_user_policy_attachment" "label_studio" {
  user       = aws_iam_user.label_studio.name
  policy_arn = aws_iam_policy.label_studio.arn
}
