"""Benchmarks of the farm, each a module with `run(emit)`."""
