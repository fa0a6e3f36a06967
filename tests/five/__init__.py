"""The five machines of the founding mail, each as itself: from power-on to a start from its own disk."""
