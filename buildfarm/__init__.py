"""Snapshots, roots, builds, kernels and releases."""
