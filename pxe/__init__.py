"""Answers booting machines: DHCP/PXE, TFTP and HTTP boot."""
