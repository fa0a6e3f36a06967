"""Writes CD images and USB sticks."""
