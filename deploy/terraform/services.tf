resource "aws_ecs_cluster" "this" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}"
  retention_in_days = 30
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-execution-"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "secrets" {
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = values(var.secrets)
    }]
  })
}

# As which ECS moves the balancer's weights.
data "aws_iam_policy_document" "assume_ecs" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "balancer" {
  name_prefix        = "${var.name}-balancer-"
  assume_role_policy = data.aws_iam_policy_document.assume_ecs.json
}

resource "aws_iam_role_policy_attachment" "balancer" {
  role       = aws_iam_role.balancer.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers"
}

# S3-03, C42: one definition for each role.
resource "aws_ecs_task_definition" "this" {
  for_each                 = local.roles
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 2048
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions = templatefile("${path.module}/../ecs/containers.json", {
    role    = each.key
    port    = local.ports[each.key]
    check   = each.key == "worker" ? "" : each.key
    image   = var.image
    version = var.image_version
    url     = var.public_url
    origins = var.cors_origins
    secrets = var.secrets
    group   = aws_cloudwatch_log_group.this.name
    region  = var.region
  })
}

resource "aws_ecs_service" "this" {
  for_each                           = local.roles
  name                               = "${var.name}-${each.key}"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this[each.key].arn
  desired_count                      = 2
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = each.key == "worker" ? null : 60
  # Sockets and requests change to the new tasks at once, and the old ones are kept five minutes, so that
  # the way back is as short (S3-09, C49); workers one after the other.
  deployment_configuration {
    strategy             = each.key == "worker" ? "ROLLING" : "BLUE_GREEN"
    bake_time_in_minutes = each.key == "worker" ? null : 5
  }
  # What does not get ready is taken back by itself.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets         = var.private_subnets
    security_groups = [aws_security_group.roles.id]
  }
  dynamic "load_balancer" {
    for_each = each.key == "worker" ? [] : [1]
    content {
      target_group_arn = aws_lb_target_group.this["${each.key}-blue"].arn
      container_name   = each.key
      container_port   = local.ports[each.key]
      advanced_configuration {
        alternate_target_group_arn = aws_lb_target_group.this["${each.key}-green"].arn
        production_listener_rule   = aws_lb_listener_rule.roles[each.key].arn
        role_arn                   = aws_iam_role.balancer.arn
      }
    }
  }
  lifecycle { ignore_changes = [desired_count] }
  depends_on = [aws_iam_role_policy_attachment.balancer]
}

# S3-15, C44.
resource "aws_appautoscaling_target" "this" {
  for_each           = local.roles
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this[each.key].name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = 2
  max_capacity       = 10
}

resource "aws_appautoscaling_policy" "cpu" {
  for_each           = local.roles
  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = "ecs"
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id
  scalable_dimension = "ecs:service:DesiredCount"
  target_tracking_scaling_policy_configuration {
    target_value       = 75
    scale_out_cooldown = 60
    scale_in_cooldown  = 60
    predefined_metric_specification { predefined_metric_type = "ECSServiceAverageCPUUtilization" }
  }
}
