"""The Sun Ultra 10 in QEMU, from the ok prompt to its own disk."""
