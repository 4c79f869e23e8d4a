"""One training loop for all models: config, optimizer steps, checkpoints, processes."""
