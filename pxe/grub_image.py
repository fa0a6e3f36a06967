"""GRUB images that know where their server is: templates that get the address when they are handed out."""

from ipaddress import IPv4Address

PLACEHOLDER = "(tftp,255.255.255.255)/grub"
"""The prefix of a template, as long as that of any address."""


def for_address(template: bytes, address: IPv4Address) -> bytes:
    """The image whose prefix names a server: GRUB ignores what a ProxyDHCP offer says (facts of the field).

    So one template does for all addresses of this host. Raises ValueError when it is no template.
    """
    placeholder = PLACEHOLDER.encode() + b"\0"
    if template.count(placeholder) != 1:
        raise ValueError(f"{PLACEHOLDER} is {template.count(placeholder)} times in the image, expected once")
    return template.replace(placeholder, f"(tftp,{address})/grub".encode().ljust(len(placeholder), b"\0"))
