"""Callbacks that report from training libraries."""
