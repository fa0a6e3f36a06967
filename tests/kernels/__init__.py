"""What `make kernels` does beyond the tests: it takes minutes."""
