"""Disk layouts, each installed once in a virtual machine that then starts from its disks."""
