resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-balancer-"
  vpc_id      = var.vpc_id
  ingress {
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
  ingress {
    from_port   = 80
    to_port     = 80
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "roles" {
  name_prefix = "${var.name}-roles-"
  vpc_id      = var.vpc_id
  dynamic "ingress" {
    for_each = [local.ports.hub, local.ports.api]
    content {
      from_port       = ingress.value
      to_port         = ingress.value
      protocol        = "tcp"
      security_groups = [aws_security_group.balancer.id]
    }
  }
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "stores" {
  name_prefix = "${var.name}-stores-"
  vpc_id      = var.vpc_id
  dynamic "ingress" {
    for_each = [5432, 6379]
    content {
      from_port       = ingress.value
      to_port         = ingress.value
      protocol        = "tcp"
      security_groups = [aws_security_group.roles.id]
    }
  }
}

resource "aws_lb" "this" {
  name                       = var.name
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.balancer.id]
  subnets                    = var.public_subnets
  enable_http2               = true
  idle_timeout               = 90 # over PING_INTERVAL + PING_TIMEOUT; S2-080 has 60
  drop_invalid_header_fields = true
  # The balancer writes what it saw at the right end of X-Forwarded-For: TRUST_PROXY=1.
  xff_header_processing_mode = "append"
}

# Two of each, blue and green: a release goes to the one that the rule does not send to (S3-09).
resource "aws_lb_target_group" "this" {
  for_each             = { for pair in setproduct(["hub", "api"], ["blue", "green"]) : join("-", pair) => pair[0] }
  name                 = "${var.name}-${each.key}"
  port                 = local.ports[each.value]
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = var.vpc_id
  deregistration_delay = each.value == "hub" ? 35 : 10
  health_check {
    path                = "/health/ready"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
  dynamic "stickiness" { # C48
    for_each = each.value == "hub" ? [1] : []
    content {
      type            = "lb_cookie"
      cookie_duration = 86400
    }
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  default_action {
    type = "redirect"
    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  # Every path has a rule below.
  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

# ECS moves the weights when it releases, so what stands here is only where it begins.
resource "aws_lb_listener_rule" "roles" {
  for_each     = { hub = 20, api = 30 }
  listener_arn = aws_lb_listener.https.arn
  priority     = each.value
  condition {
    path_pattern { values = each.key == "hub" ? ["/socket.io/*", "/socket.io-msgpack/*"] : ["/*"] }
  }
  action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.this["${each.key}-blue"].arn
        weight = 1
      }
      target_group {
        arn    = aws_lb_target_group.this["${each.key}-green"].arn
        weight = 0
      }
    }
  }
  lifecycle { ignore_changes = [action] }
}

resource "aws_lb_listener_rule" "figures" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10
  condition {
    path_pattern { values = ["/metrics*"] }
  }
  action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}
