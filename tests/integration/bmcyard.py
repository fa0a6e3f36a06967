"""Management controllers: OpenIPMI's simulator (IPMI over LAN) and sushy-tools' emulator (Redfish)."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from appliance.deadline import wait_until
from appliance.machine_settings import Bmc, BmcKind
from appliance.run import run, running
from tests.integration.netyard import DEADLINE_SECONDS

ADDRESS = "127.0.0.1"
USER, PASSWORD = "operator", "se-cret"

LAN = """name "bmc"
set_working_mc 0x20
  startlan 1
    addr {address} 623
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{chassis}"
  {sol}
  user 1 true "" "anybody" user 10 none md2 md5 straight
  user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""
COMMANDS = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
"""
# What the simulator runs for its chassis: `get power boot`, `set power 1 boot pxe`, `check`.
CHASSIS = """#!/bin/sh
cd {place} && echo "$@" >>calls && what=$1 && shift
case $what in
get) for key in "$@"; do echo "$key:$(cat "$key")"; done ;;
set) while [ $# -gt 1 ]; do echo "$2" >"$1.new" && mv "$1.new" "$1"; shift 2; done ;;
esac
"""


@dataclass(frozen=True)
class Controller:
    """An IPMI controller and its machine, which is two files: `power` (0 or 1) and `boot`."""

    place: Path
    bmc: Bmc

    def power(self) -> str:
        return (self.place / "power").read_text().strip()

    def boot(self) -> str:
        return (self.place / "boot").read_text().strip()


@contextlib.contextmanager
def ipmi(place: Path, room: str, *, sol: str = "") -> Iterator[Controller]:
    """A controller in a network namespace, at ADDRESS; `sol` is where its machine's serial line is."""
    place.mkdir(parents=True, exist_ok=True)
    chassis = place / "chassis"
    chassis.write_text(CHASSIS.format(place=place))
    chassis.chmod(0o755)
    for name, value in (("power", "0\n"), ("boot", "default\n"), ("password", f"{PASSWORD}\n")):
        (place / name).write_text(value)
    (place / "password").chmod(0o600)
    line = f'sol "{sol}" 115200' if sol else ""
    words = {"address": ADDRESS, "chassis": chassis, "sol": line, "user": USER, "password": PASSWORD}
    (place / "lan.conf").write_text(LAN.format(**words))
    (place / "commands").write_text(COMMANDS)
    (place / "state").mkdir(exist_ok=True)
    argv: list[str | Path] = [
        "ipmi_sim",
        "-c",
        place / "lan.conf",
        "-f",
        place / "commands",
        "-s",
        place / "state",
        "-n",
    ]
    on_room = ["ip", "netns", "exec", room]
    bmc = Bmc(BmcKind.IPMI, ADDRESS, 623, USER, place / "password", cipher_suite=3)
    with running(argv, prefix=on_room, output=place / "log"):

        def open_port() -> bool | None:
            return ":623" in run(["ss", "-Hlun"], prefix=on_room).stdout or None

        wait_until(open_port, seconds=DEADLINE_SECONDS, what="the IPMI controller listens")
        yield Controller(place, bmc)


SYSTEMS = [
    {"uuid": f"27946b59-9e44-4fa7-8e91-f3527a1ef09{n}", "name": name, "power_state": state, "nics": []}
    for n, (name, state) in enumerate((("blade1", "Off"), ("blade2", "On")))
]


@contextlib.contextmanager
def redfish(place: Path, room: str, *, systems: int = 1) -> Iterator[Bmc]:
    """A Redfish controller in a network namespace, over TLS with a certificate of its own authority."""
    place.mkdir(parents=True, exist_ok=True)
    certify(place)
    (place / "password").write_text(f"{PASSWORD}\n")
    (place / "password").chmod(0o600)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (place / "users").write_text(f"{USER}:{hashed}\n")
    (place / "state").mkdir(exist_ok=True)
    settings = {
        "SUSHY_EMULATOR_FAKE_DRIVER": True,
        "SUSHY_EMULATOR_FAKE_SYSTEMS": SYSTEMS[:systems],
        "SUSHY_EMULATOR_LISTEN_IP": ADDRESS,
        "SUSHY_EMULATOR_LISTEN_PORT": 443,
        "SUSHY_EMULATOR_SSL_CERT": str(place / "bmc.pem"),
        "SUSHY_EMULATOR_SSL_KEY": str(place / "bmc.key"),
        "SUSHY_EMULATOR_AUTH_FILE": str(place / "users"),
        "SUSHY_EMULATOR_STATE_DIR": str(place / "state"),
        "SUSHY_EMULATOR_POWER_DELAY": 0,
    }
    (place / "settings.py").write_text("".join(f"{key} = {value!r}\n" for key, value in settings.items()))
    argv: list[str | Path] = [
        Path(sys.executable).with_name("sushy-emulator"),
        "--config",
        place / "settings.py",
    ]
    on_room = ["ip", "netns", "exec", room]
    log = place / "log"
    with running(argv, prefix=on_room, output=log):

        def open_port() -> bool | None:
            return ":443" in run(["ss", "-Hltn"], prefix=on_room).stdout or None

        def said() -> str:
            return log.read_text()[-2000:]

        wait_until(open_port, seconds=DEADLINE_SECONDS, what="the Redfish controller listens", last_seen=said)
        yield Bmc(BmcKind.REDFISH, ADDRESS, 443, USER, place / "password", ca=place / "ca.pem")


def certify(place: Path) -> None:
    """An authority, and a certificate of it for ADDRESS."""
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    key = ["openssl", "req", "-x509", "-days", "2", *kind]
    ca, ca_key = str(place / "ca.pem"), str(place / "ca.key")
    usage = ["-addext", "keyUsage=critical,keyCertSign"]
    run([*key, "-subj", "/CN=the site's authority", *usage, "-keyout", ca_key, "-out", ca])
    names = ["-addext", f"subjectAltName=IP:{ADDRESS}", "-addext", "basicConstraints=CA:FALSE"]
    made = ["-keyout", str(place / "bmc.key"), "-out", str(place / "bmc.pem")]
    run([*key, "-subj", "/CN=bmc", *names, "-CA", ca, "-CAkey", ca_key, *made])
