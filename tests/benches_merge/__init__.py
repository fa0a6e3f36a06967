"""The replay of real configuration files: `make bench-merge`."""
