"""What every row above stands on: settings, stores, limits, telemetry, life, HTTP."""
