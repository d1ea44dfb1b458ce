resource "aws_sns_topic" "alarms" { name = "${var.name}-alarms" }

resource "aws_sns_topic_subscription" "email" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

# C51: 5xx over 0.1 % of requests. The budget's burn rates are Prometheus's (deploy/prometheus).
resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.name}-HighErrorRate"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0.1
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  metric_query {
    id          = "ratio"
    expression  = "100 * errors / requests"
    label       = "5xx, %"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { errors = "HTTPCode_Target_5XX_Count", requests = "RequestCount" }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value
        period      = 300
        stat        = "Sum"
        dimensions  = { LoadBalancer = aws_lb.this.arn_suffix }
      }
    }
  }
}

# S3-19 at the source's 10, as what it is: a warning that callers do something wrong.
resource "aws_cloudwatch_metric_alarm" "client_errors" {
  alarm_name          = "${var.name}-ClientErrors"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HTTPCode_Target_4XX_Count"
  dimensions          = { LoadBalancer = aws_lb.this.arn_suffix }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 10
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

# S3-20 has "below 0", which never is; nobody connected is below 1 (C51).
resource "aws_cloudwatch_metric_alarm" "database" {
  alarm_name          = "${var.name}-DatabaseConnectionFailure"
  namespace           = "AWS/RDS"
  metric_name         = "DatabaseConnections"
  dimensions          = { DBInstanceIdentifier = aws_db_instance.this.identifier }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

# S2-162, C52.
resource "aws_budgets_budget" "this" {
  name         = var.name
  budget_type  = "COST"
  limit_amount = tostring(local.budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"
  notification {
    comparison_operator        = "GREATER_THAN"
    threshold                  = 80
    threshold_type             = "PERCENTAGE"
    notification_type          = "ACTUAL"
    subscriber_email_addresses = [var.alarm_email]
  }
}

# S3-12.
resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = templatefile("${path.module}/../cloudwatch/dashboard.json", {
    region   = var.region
    name     = var.name
    cluster  = aws_ecs_cluster.this.name
    database = aws_db_instance.this.identifier
    redis    = aws_elasticache_replication_group.this.id
    balancer = aws_lb.this.arn_suffix
  })
}
