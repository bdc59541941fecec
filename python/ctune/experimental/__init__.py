"""Modules of Ray Tune's experimental package."""
