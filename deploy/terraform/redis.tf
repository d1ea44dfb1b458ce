# One slot of one shard with a replica: an installation is one slot, and recovery needs one order.
resource "aws_elasticache_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.private_subnets
}

resource "aws_elasticache_parameter_group" "this" {
  name   = "${var.name}-redis7"
  family = "redis7"
  parameter {
    name  = "maxmemory-policy"
    value = "noeviction" # C17: what is evicted would be a revoked token or a log
  }
}

resource "aws_elasticache_replication_group" "this" {
  replication_group_id       = var.name
  description                = "Bus, sessions and limits of ${var.name}"
  engine                     = "redis"
  engine_version             = "7.1"
  node_type                  = "cache.t4g.medium"
  num_cache_clusters         = 2
  automatic_failover_enabled = true
  multi_az_enabled           = true
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = data.aws_secretsmanager_secret_version.redis_token.secret_string
  parameter_group_name       = aws_elasticache_parameter_group.this.name
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.stores.id]
  snapshot_retention_limit   = 7
  snapshot_window            = "17:30-18:30"
}

variable "redis_token_secret" {
  description = "Name of the secret that holds the password in REDIS_URL."
  type        = string
}

data "aws_secretsmanager_secret_version" "redis_token" { secret_id = var.redis_token_secret }
