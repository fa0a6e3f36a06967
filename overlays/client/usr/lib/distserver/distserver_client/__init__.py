"""The agent of an installed machine: it updates the machine, settles its configuration and reports."""
