"""What a network is finetuned for, one file each: targets, loss, scores."""
