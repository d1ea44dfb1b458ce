# S3-04: multi-zone, encrypted, not public, growing, backups of 30 days and any second of them.
resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.private_subnets
}

resource "aws_db_parameter_group" "this" {
  name   = "${var.name}-postgres15"
  family = "postgres15"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
}

resource "aws_db_instance" "this" {
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "15"
  instance_class                  = "db.t3.medium"
  allocated_storage               = 100
  max_allocated_storage           = 1000
  storage_encrypted               = true
  multi_az                        = true
  publicly_accessible             = false
  backup_retention_period         = 30
  backup_window                   = "17:00-17:30" # 02:00 in Seoul (S2-102)
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  skip_final_snapshot             = false
  final_snapshot_identifier       = "${var.name}-final"
  db_name                         = "dongne"
  username                        = "dongne"
  manage_master_user_password     = true
  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [aws_security_group.stores.id]
  parameter_group_name            = aws_db_parameter_group.this.name
  enabled_cloudwatch_logs_exports = ["postgresql"]
  performance_insights_enabled    = true
  auto_minor_version_upgrade      = true
}

# C41, S2-108: the region may be lost; what is elsewhere is an hour old at most.
resource "aws_db_instance_automated_backups_replication" "elsewhere" {
  provider               = aws.elsewhere
  source_db_instance_arn = aws_db_instance.this.arn
  kms_key_id             = aws_kms_key.elsewhere.arn
  retention_period       = 7
}

provider "aws" {
  alias  = "elsewhere"
  region = "ap-northeast-1"
}

resource "aws_kms_key" "elsewhere" {
  provider            = aws.elsewhere
  description         = "Backups of ${var.name}"
  enable_key_rotation = true
}

# Where deploy/backup copies to. C40: a week at hand, then archived, a month in all.
resource "aws_s3_bucket" "backups" { bucket_prefix = "${var.name}-backups-" }

resource "aws_s3_bucket_public_access_block" "backups" {
  bucket                  = aws_s3_bucket.backups.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "backups" {
  bucket = aws_s3_bucket.backups.id
  rule {
    id     = "full"
    status = "Enabled"
    filter { prefix = "backups/${var.name}/full/" }
    transition {
      days          = 7
      storage_class = "GLACIER"
    }
    expiration { days = 30 }
  }
  dynamic "rule" {
    for_each = { snapshot = 7, redis = 7, wal = 2 }
    content {
      id     = rule.key
      status = "Enabled"
      filter { prefix = "backups/${var.name}/${rule.key}/" }
      expiration { days = rule.value }
    }
  }
}
