"""Ways to fine-tune, compared on eight pretrained networks and data that ask for something else."""
