"""How little memory a release's installer starts with, found by starting it."""
