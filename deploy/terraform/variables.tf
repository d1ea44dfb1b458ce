variable "name" {
  type    = string
  default = "dongne"
}

variable "region" {
  type    = string
  default = "ap-northeast-2"
}

variable "vpc_id" { type = string }

variable "public_subnets" {
  description = "Of three zones (S2-096)."
  type        = list(string)
}

variable "private_subnets" {
  type = list(string)
}

variable "certificate_arn" { type = string }

variable "public_url" {
  description = "https://…, what links in mails begin with."
  type        = string
  validation {
    condition     = startswith(var.public_url, "https://")
    error_message = "must be https"
  }
}

variable "image" {
  description = "With its digest: repository@sha256:…"
  type        = string
  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "must be pinned by digest"
  }
}

variable "image_version" { type = string }

variable "cors_origins" {
  type    = string
  default = ""
}

variable "secrets" {
  description = "Settings that are secrets, and the ARN of each in Secrets Manager (S3-27)."
  type        = map(string)
  validation {
    condition     = length(setsubtract(["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "LINK_SECRET"], keys(var.secrets))) == 0
    error_message = "DATABASE_URL, REDIS_URL, JWT_SECRET and LINK_SECRET are needed"
  }
}

variable "alarm_email" { type = string }

variable "phase" {
  description = "mvp, growth or scale: the month's budget (S2-158 … S2-160, C52)."
  type        = string
  default     = "growth"
  validation {
    condition     = contains(["mvp", "growth", "scale"], var.phase)
    error_message = "must be mvp, growth or scale"
  }
}

locals {
  budget_usd = { mvp = 200, growth = 800, scale = 3000 }[var.phase]
  roles      = toset(["hub", "api", "worker"])
  ports      = { hub = 3001, api = 3003, worker = 9090 }
}
