"""Finished trials on disk, and what runs those that are missing."""
