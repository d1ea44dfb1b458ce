"""What one person is told: written, read, and delivered on each channel."""
