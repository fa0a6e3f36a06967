"""The dialogues there are: how firmware is talked into booting from the network once. Data only."""

from appliance.dialogue import DONE, Dialogue, On, State

ENTER, ESC, DOWN = "\r", "\x1b", "\x1b[B"
# Keys of VT100+ and VT-UTF8, which servers' console redirection speaks, and of xterm.
F12_VT100_PLUS, F12_XTERM = "\x1b@", "\x1b[24~"

# Open Firmware's prompt: `ok`, `{0} ok` with several processors, `0 >` in OpenBIOS.
PROMPT = r"(?:\A|\n)(?:\{[0-9a-f]+\} )?ok \Z|(?:\A|\n)0 > \Z"
CANNOT = (
    r"Can't (?:open boot device|locate|read)|No valid state|Unknown device|Fast Data Access MMU Miss|"
    r"boot load failed|The file just loaded does not appear to be executable"
)
ASKS = (
    r"Requesting Internet Address|Timeout waiting for ARP/RARP|DHCP|Link Up|Rebooting with command: boot net"
)

OBP = Dialogue(
    "obp",
    "OpenBoot of SPARC machines (and OpenBIOS): a break, then `boot net` at the ok prompt",
    {
        "break": State(
            (
                # The system was running: its devices are not in the state in which the firmware left them.
                On(r"Type +'go' to resume", then="stopped"),
                On(PROMPT, "boot net:dhcp - install\r", "by DHCP"),
            ),
            seconds=300,
            knock=ENTER,
            knock_seconds=5,
            break_first=True,
        ),
        "stopped": State((On(PROMPT, "setenv auto-boot? false\r", "hold"),)),
        "hold": State((On(r"auto-boot\? *= *false", then="held"),)),
        "held": State((On(PROMPT, "reset-all\r", "reset"),)),
        "reset": State((On(PROMPT, "setenv auto-boot? true\r", "release"),), seconds=900),
        "release": State((On(r"auto-boot\? *= *true", then="fresh"),)),
        "fresh": State((On(PROMPT, "boot net:dhcp - install\r", "by DHCP"),)),
        # Before OpenBoot 3.25 it knows no DHCP and says so; then it asks by RARP.
        "by DHCP": State((On(CANNOT, then="refused"), On(ASKS, then=DONE)), seconds=180),
        "refused": State((On(PROMPT, "boot net - install\r", "by RARP"),)),
        "by RARP": State(
            (On(CANNOT, problem="this firmware cannot boot from the network"), On(ASKS, then=DONE)),
            seconds=180,
        ),
    },
)
SEABIOS = Dialogue(
    "seabios",
    "SeaBIOS: ESC, then the network card in its menu",
    {
        "banner": State((On("Press ESC for boot menu", ESC, "menu"),), seconds=300),
        "menu": State(
            (
                On(r"\n(\d+|[a-z])\. [^\n]*(?:iPXE|PXE|[Nn]etwork|LAN)[^\n]*\n", r"\1", "chosen"),
                On("Booting from", problem="its menu has no network card"),
            ),
            seconds=30,
        ),
        "chosen": State((On(r"Booting from ROM|starting execution|PXE-", then=DONE),), seconds=60),
    },
)
# The help pane is 22 columns wide and breaks a device path anywhere.
IPV4, IPV6, URI = (r" ?".join(word) for word in ("IPv4", "IPv6", "Uri"))
OVMF = Dialogue(
    "ovmf",
    "UEFI of edk2 (OVMF, AAVMF and what is made of it): ESC, Boot Manager, the first entry for PXE by IPv4",
    {
        # Whatever is highlighted is explained at the right; that is how a menu is walked without seeing it.
        "power": State(
            (
                On("Select Language|Device Manager", then="front page"),
                On("Start PXE over IPv4", then="by itself"),
            ),
            seconds=300,
            knock=ESC,
            knock_seconds=0.7,
        ),
        "by itself": State(
            (
                On(
                    "Remote boot cancelled", problem="it boots from the network first, and ESC cancelled that"
                ),
                On(r"Station IP|NBP file|PXE-E\d", then=DONE),
            ),
        ),
        "front page": State(
            (On(r"take you to the Boot", ENTER, "boot manager"),),
            seconds=60,
            knock=DOWN,
            knock_seconds=1.5,
        ),
        "boot manager": State(
            (
                On(rf"Device Path :[^>]*?/{IPV4}\([^)]*\)\s", ENTER, "chosen"),
                On(rf"Device Path :(?=[^>]*?(?:/{URI}|/{IPV6}|HD\(|Fv\(|Sata|Scsi|Pci\([^)]*\)\s))", DOWN),
            ),
            seconds=60,
            knock_seconds=1.5,
        ),
        "chosen": State((On(r"Start PXE over IPv4|PXE-E", then=DONE),), seconds=60),
    },
)


def _f12(name: str, about: str, prompt: str, keys: str) -> Dialogue:
    """Firmware that boots from the network once when F12 is pressed while it says so."""
    begun = r"PXE-|CLIENT MAC|iPXE|Start PXE|Attempting [Pp]XE|>>Checking Media"
    return Dialogue(
        name,
        about,
        {
            "banner": State((On(prompt, keys, "pressed"), On(begun, then=DONE)), seconds=900),
            "pressed": State((On(begun, then=DONE),), seconds=600),
        },
    )


DELL = _f12(
    "dell",
    "Dell PowerEdge: F12, as ESC @",
    r"F12\W{0,8}PXE Boot|<F12>[^\n]{0,40}(?:PXE|[Nn]etwork)|Press F12",
    F12_VT100_PLUS,
)
HP = _f12(
    "hp",
    "HP and HPE ProLiant: F12 for a network boot, as ESC @",
    r'(?:"F12"|<?F12>?|"?ESC ?\+ ?@"?)[^\n]{0,60}[Nn]etwork [Bb]oot|Network Boot',
    F12_VT100_PLUS,
)
AMI = _f12(
    "ami",
    "AMI and Supermicro: F12 for a network boot, as xterm sends it",
    r"<?F12>?[^\n]{0,60}(?:PXE|[Nn]etwork|LAN)",
    F12_XTERM,
)
DIALOGUES = {one.name: one for one in (OBP, SEABIOS, OVMF, DELL, HP, AMI)}
