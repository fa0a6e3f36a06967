"""What installed machines cost: a fleet its server, an update its wire."""
