# AWS: the database, Redis, the balancer, the three services, the edge's rules, budget and alarms.
# The network is given (var.vpc_id, subnets); state belongs in a backend of yours.
terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 6.0" }
  }
}

provider "aws" {
  region = var.region
  default_tags { tags = { project = var.name, managed-by = "terraform" } }
}
