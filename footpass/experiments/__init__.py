"""The study: seasons, stages that are trained once, the grid of ablations."""
