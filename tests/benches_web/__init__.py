"""Benchmarks of the web page over a large store."""
