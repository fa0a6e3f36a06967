"""Pictures of the web page for the documentation, from what a real farm has built."""
