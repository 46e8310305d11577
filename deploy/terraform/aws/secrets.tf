# Empty shells: values are put in by hand, and never are in Terraform's state.
resource "aws_secretsmanager_secret" "this" {
  for_each = {
    label-studio-api-key = "LABEL_STUDIO_API_KEY: token of a Label Studio user."
    webhook-secret       = "LABELLOOP_WEBHOOK_SECRET: what Label Studio's webhooks carry."
    basic-auth-pass      = "BASIC_AUTH_PASS: password that Label Studio sends; its user is labelloop."
  }

  name        = "${var.name}/${each.key}"
  description = each.value
  kms_key_id  = var.kms_key_arn == "" ? null : var.kms_key_arn
}
