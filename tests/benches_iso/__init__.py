"""Benchmarks of media: `make bench-iso`."""
