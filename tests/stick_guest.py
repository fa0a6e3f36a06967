"""`distserver usb` alone: the real commands in a small machine that has nothing but what they need."""

import argparse
import sys

import appliance.cli.usb as group
from appliance.cli.base import Commands
from appliance.errors import Problem


def main() -> int:
    top = argparse.ArgumentParser(prog="distserver")
    group.add(Commands(top.add_subparsers(required=True)))
    asked = top.parse_args()
    try:
        status: int = asked.command(asked)
        return status
    except Problem as problem:
        print(f"distserver: {problem.message}\n  hint: {problem.hint}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
