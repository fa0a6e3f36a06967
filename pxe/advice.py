"""What to set on the LAN's own DHCP server for firmware that does not heed a boot server beside it."""

from ipaddress import IPv4Address

from pxe.client import ARCHITECTURES, Client
from pxe.policy import Here


def advice(client: Client, boot_file: str, here: Here, *, foreign: IPv4Address | None) -> str:
    """Several lines for a person: why, then the exact options, then the lines for three DHCP servers.

    `foreign` is the DHCP server whose lease the machine took, None when it was seen to take none.
    """
    assert client.arch is not None and client.arch_ids
    code = next(one for one in client.arch_ids if one in ARCHITECTURES)
    script = f"{here.url}/boot/${{net0/mac}}.ipxe"
    server = str(foreign) if foreign else "the DHCP server"
    if foreign:
        why = f"It takes its address from {foreign}, which may itself send option 60 or 43 (remove them)."
    else:
        why = "It was not seen to take an address: first see that a DHCP server answers it at all."
    lines = [
        f"{client.mac} ({client.arch.name}) was offered its boot program in every way and never came for it."
        f" {why}",
        f"If its firmware does not merge two servers' answers, set on {server} for architecture {code}:",
        f"option 66 (next-server) {here.address}, option 67 (filename) {boot_file}, no option 60 or 43;",
        f"for user class iPXE: filename {script}",
        *_dnsmasq(code, boot_file, script, here),
        *_dhcpd(code, boot_file, script, here),
        *_kea(code, boot_file, script, here),
    ]
    return "\n".join(lines)


def _dnsmasq(code: int, boot_file: str, script: str, here: Here) -> list[str]:
    return [
        "dnsmasq.conf:",
        "  dhcp-userclass=set:ipxe,iPXE",
        f"  dhcp-match=set:arch{code},option:client-arch,{code}",
        f"  dhcp-boot=tag:arch{code},tag:!ipxe,{boot_file},{here.address},{here.address}",
        f"  dhcp-boot=tag:ipxe,{script},{here.address},{here.address}",
    ]


def _dhcpd(code: int, boot_file: str, script: str, here: Here) -> list[str]:
    return [
        "dhcpd.conf (ISC):",
        "  option client-arch code 93 = unsigned integer 16;",
        f"  next-server {here.address};",
        f'  if exists user-class and option user-class = "iPXE" {{ filename "{script}"; }}',
        f'  elsif option client-arch = {code} {{ filename "{boot_file}"; }}',
    ]


def _kea(code: int, boot_file: str, script: str, here: Here) -> list[str]:
    ipxe = "option[77].hex == 'iPXE'"
    return [
        "kea-dhcp4.conf, in client-classes:",
        f'  {{"name": "ipxe", "test": "{ipxe}", "next-server": "{here.address}",'
        f' "boot-file-name": "{script}"}},',
        f'  {{"name": "arch{code}", "test": "option[93].hex == 0x{code:04x} and not ({ipxe})",'
        f' "next-server": "{here.address}", "boot-file-name": "{boot_file}"}}',
    ]
