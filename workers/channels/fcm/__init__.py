"""Firebase Cloud Messaging, HTTP v1: Android, and iOS where APNs is not reached directly."""
