"""`python -m appliance.cli`: the command line."""

from appliance.cli import run

run()
