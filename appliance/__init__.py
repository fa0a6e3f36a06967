"""The model, the store, the use cases, the command line and the daemon."""
