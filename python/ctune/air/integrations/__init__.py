"""Experiment trackers and training libraries."""
