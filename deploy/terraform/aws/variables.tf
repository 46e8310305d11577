variable "name" {
  description = "What everything is named after: pipeline, endpoint, function, queue, and the beginning of all other names."
  type        = string
  default     = "labelloop"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name: 3 to 20 small letters, digits and hyphens, beginning with a letter."
  }
}

variable "label_studio_url" {
  description = "Address of Label Studio, as annotators open it: its pages may read pictures by presigned addresses (CORS), and worker and web ask it."
  type        = string

  validation {
    condition     = can(regex("^https?://[^/?#]+$", var.label_studio_url))
    error_message = "label_studio_url: http://host:port or https://host, without a path or a slash at the end."
  }
}

variable "raw_prefix" {
  description = "Where raw pictures lie in the data bucket: Label Studio's source storage."
  type        = string
  default     = "raw/"

  validation {
    condition     = can(regex("^[\\w./-]+/$", var.raw_prefix))
    error_message = "raw_prefix: a folder that ends in a slash, such as raw/."
  }
}

variable "annotations_prefix" {
  description = "Where Label Studio writes annotations in the data bucket: its target storage."
  type        = string
  default     = "annotations/"

  validation {
    condition     = can(regex("^[\\w./-]+/$", var.annotations_prefix))
    error_message = "annotations_prefix: a folder that ends in a slash, such as annotations/."
  }
}

variable "work_days" {
  description = "Days after which labels and pictures that were handed to SageMaker are deleted from work/, and versions of objects that were replaced."
  type        = number
  default     = 30

  validation {
    condition     = var.work_days >= 2
    error_message = "work_days: at least 2, for a run may take a day."
  }
}

variable "kms_key_arn" {
  description = "Key (KMS) that encrypts buckets, queue and secrets; empty: AWS's own keys. Its policy has to let EventBridge write to the queue."
  type        = string
  default     = ""
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes buckets and repositories with what is in them, annotations among it."
  type        = bool
  default     = false
}

variable "metrics_namespace" {
  description = "Namespace in CloudWatch of the loop's own figures."
  type        = string
  default     = "LabelLoop"

  validation {
    condition     = can(regex("^[\\w./-]{1,100}$", var.metrics_namespace)) && !startswith(var.metrics_namespace, "AWS/")
    error_message = "metrics_namespace: letters, digits, dots, slashes and hyphens; AWS/ is AWS's own."
  }
}

variable "alarm_email" {
  description = "Whom alarms are sent to; empty: nobody, until something subscribes to the topic."
  type        = string
  default     = ""
}

variable "most_latency_ms" {
  description = "Milliseconds that the model may take for a request (p90 of a minute) before the endpoint's alarm rings, which rolls a deployment back."
  type        = number
  default     = 2000
}

variable "most_days_without_run" {
  description = "Days without a run that came to an end before the alarm rings."
  type        = number
  default     = 14
}

variable "github_repository" {
  description = "OWNER/NAME whose workflows on github_branch may start the pipeline and push images; empty: none."
  type        = string
  default     = ""

  validation {
    condition     = var.github_repository == "" || can(regex("^[\\w.-]+/[\\w.-]+$", var.github_repository))
    error_message = "github_repository: OWNER/NAME."
  }
}

variable "github_branch" {
  description = "Branch of that repository whose workflows may do so."
  type        = string
  default     = "main"
}

variable "github_provider_arn" {
  description = "OIDC provider of GitHub in this account, of which there can be one only; empty: it is made here."
  type        = string
  default     = ""
}

variable "compute" {
  description = "Where worker and web run: none (not in AWS, or by your own means), fargate, or ec2 (one machine)."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "fargate", "ec2"], var.compute)
    error_message = "compute: none, fargate or ec2."
  }
}

variable "loop_principals" {
  description = "With compute = none: ARNs that may assume the loop's role; empty: whoever in this account is allowed to assume it."
  type        = list(string)
  default     = []
}

variable "vpc_id" {
  description = "With compute: the network that worker, web and Redis are in."
  type        = string
  default     = ""

  validation {
    condition     = var.compute == "none" || var.vpc_id != ""
    error_message = "vpc_id: worker, web and Redis need a network."
  }
}

variable "private_subnet_ids" {
  description = "With compute: subnets of worker, web and Redis, in two zones or more, with a way out to AWS and Label Studio (NAT)."
  type        = list(string)
  default     = []

  validation {
    condition     = var.compute == "none" || length(var.private_subnet_ids) >= 2
    error_message = "private_subnet_ids: at least two, in different zones."
  }
}

variable "balancer_subnet_ids" {
  description = "With compute: subnets of the load balancer before web, in two zones or more; public ones where Label Studio is outside."
  type        = list(string)
  default     = []

  validation {
    condition     = var.compute == "none" || length(var.balancer_subnet_ids) >= 2
    error_message = "balancer_subnet_ids: at least two, in different zones."
  }
}

variable "balancer_internal" {
  description = "Whether the load balancer has private addresses only. Label Studio calls none by default (docs/docker.md)."
  type        = bool
  default     = false
}

variable "label_studio_cidrs" {
  description = "With compute: addresses from which Label Studio calls web; nobody else gets through."
  type        = list(string)
  default     = []

  validation {
    condition     = var.compute == "none" || length(var.label_studio_cidrs) > 0
    error_message = "label_studio_cidrs: at least one, such as 203.0.113.7/32."
  }
}

variable "certificate_arn" {
  description = "With compute: certificate (ACM) of the name by which Label Studio calls web: passwords and pictures go that way."
  type        = string
  default     = ""

  validation {
    condition     = var.compute == "none" || var.certificate_arn != ""
    error_message = "certificate_arn: web speaks HTTPS only."
  }
}

variable "image_tag" {
  description = "Tag of the images in the repositories that are run."
  type        = string
  default     = "latest"
}

variable "worker_size" {
  description = "With fargate: CPU units and MiB of memory of the worker, which measures and pre-annotates; training is SageMaker's."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 2048, memory = 8192 }
}

variable "web_size" {
  description = "With fargate: CPU units and MiB of memory of the web process."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 512, memory = 1024 }
}

variable "machine_type" {
  description = "With ec2: the machine that runs worker and web."
  type        = string
  default     = "t3.large"
}

variable "redis_type" {
  description = "With compute: node type of ElastiCache. What is in it may be lost at any time."
  type        = string
  default     = "cache.t4g.micro"
}
