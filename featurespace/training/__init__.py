"""Training: from data to a checkpoint."""
