"""What happens: one noun a file, each verb one transaction."""
