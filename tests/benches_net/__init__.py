"""Benchmarks of the network boot: `make bench-net`."""
