"""Tests that run another processor's programs for minutes: `make foreign`."""
