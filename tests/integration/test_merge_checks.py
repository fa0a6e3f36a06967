"""Merges that are clean as texts and broken for their program, in a chroot with Debian's own programs."""

from pathlib import Path

from tests.etc_chroots import chroots

REMARKS = b"# Between.\n# So that both changes are far\n# from one another.\n"
TAGS = REMARKS.replace(b"# ", b"<i>").replace(b"\n", b"</i>\n")
NUMBERS = b'"Between.",\n3,\n4,\n5,\n'
PART = b"UsePAM no\n" + REMARKS + b"PubkeyAuthentication yes\n" + REMARKS + b"PrintMotd no\n"
SSHD = b"Include /etc/ssh/sshd_config.d/*.conf\n" + PART
NO_KEYS = (b"Authentication yes", b"Authentication no")
METHODS = b"AuthenticationMethods publickey\n"
SITE = (
    b"limit_req_zone $uri zone=old:1m rate=9r/s;\nserver {\n\tlisten 8080;\n"
    + REMARKS + b"\troot /srv/www;\n" + REMARKS + b"\tautoindex off;\n}\n"
)  # fmt: skip
SUDO = b"User_Alias ONE = bob\n" + REMARKS + b"root ALL=(ALL:ALL) ALL\n" + REMARKS + b"User_Alias TWO = ann\n"
ZONE = b'zone "%s" { type primary; file "/dev/null"; };\n'
NAMED = ZONE % b"one" + REMARKS + b"// zones\n" + REMARKS + ZONE % b"two"
PASSWD = Path("/etc/passwd").read_bytes()
FSTAB = b"/dev/sda1 / ext4 rw 0 1\n" + REMARKS + b"/dev/sda2 none swap sw 0 0\n"
TEXT = b'# Between.\n:\nT="a\n' + REMARKS + REMARKS + b'"\n'
CLOSED, LETTER = (
    b'# Between.\n:\nT="a"\n' + REMARKS + REMARKS + b":\n",
    TEXT.replace(REMARKS * 2, REMARKS + b"don't\n" + REMARKS),
)
PYTHON = b"if True:\n" + REMARKS + REMARKS + b"    a = 1\n"
INI = b"[a]\nx = 1\n" + REMARKS + REMARKS + b"[b]\nz = 1\n"
XML = b"<r>\n<a>\n" + TAGS + TAGS + b"</a>\n</r>\n"
JSON = b'{"l": [\n' + NUMBERS + NUMBERS + b"1\n]}\n"
TOML = b"l = [\n" + NUMBERS + NUMBERS + b"]\n"
# path -> base, ours, theirs, and who is to say what against both together
BROKEN = {
    "/etc/ssh/sshd_config": (SSHD, SSHD.replace(*NO_KEYS), SSHD + METHODS, "sshd -t -f"),
    "/etc/ssh/sshd_config.d/50-more.conf": (PART, PART.replace(*NO_KEYS), PART + METHODS, "sshd -t"),
    # Enabled by a link in sites-enabled, and no configuration by itself.
    "/etc/nginx/sites-available/default": (
        SITE, SITE.replace(b"off;\n", b"off;\n\tlimit_req zone=old;\n"), SITE.replace(b"=old", b"=new"),
        "nginx -t -q",
    ),
    "/etc/sudoers": (
        SUDO, b"User_Alias NEW = bob\n" + SUDO, SUDO + b"User_Alias NEW = ann\n", "visudo -c -f",
    ),
    "/etc/bind/named.conf.local": (
        NAMED, ZONE % b"new" + NAMED, NAMED + (ZONE % b"new").replace(b"primary", b"master"),
        "named-checkconf",
    ),
    "/etc/passwd": (
        PASSWD, b"3web:x:33:33:ours:/:/bin/sh\n" + PASSWD, PASSWD + b"3web:x:34:34:theirs:/:/bin/sh\n",
        "the lines of passwd",
    ),
    "/etc/fstab": (
        FSTAB, b"/dev/sdb1 /srv ext4 rw 0 2\n" + FSTAB, FSTAB + b"/dev/sdc1 /srv ext4 rw 0 2\n",
        "the lines of fstab",
    ),
    "/etc/default/thing": (TEXT, CLOSED, LETTER, "sh -n"),
    "/etc/profile.d/thing.bash": (TEXT, CLOSED, LETTER, "bash -n"),
    "/etc/thing.py": (
        PYTHON, REMARKS * 2 + b"a = 1\n",
        PYTHON.replace(REMARKS * 2, REMARKS + b"    b = 2\n" + REMARKS),
        "python",
    ),
    "/etc/thing.ini": (
        INI, INI.replace(b"[a]\nx = 1\n", b""),
        INI.replace(REMARKS * 2, REMARKS + b"y = 2\n" + REMARKS), "ini",
    ),
    "/etc/thing.xml": (
        XML, XML.replace(b"<a>", b"<a><b>").replace(b"</a>", b"</b></a>"),
        XML.replace(TAGS * 2, TAGS + b"</a><a>\n" + TAGS), "xml",
    ),
    "/etc/thing.json": (
        JSON, JSON.replace(b": [", b": [[").replace(b"]}", b"]]}"),
        JSON.replace(NUMBERS * 2, NUMBERS + b'6], "m": [\n' + NUMBERS), "json",
    ),
    "/etc/thing.toml": (
        TOML, TOML.replace(b"= [", b"= [[").replace(b"]\n", b"]]\n"),
        TOML.replace(NUMBERS * 2, NUMBERS + b"]\nm = [\n" + NUMBERS), "toml",
    ),
}  # fmt: skip


def test_what_is_broken_for_its_program_is_asked_and_what_is_not_is_merged(tmp_path: Path) -> None:
    with chroots(tmp_path, 2) as (broken, good):
        for path, (base, ours, theirs, _) in BROKEN.items():
            broken.update(path, base, ours, theirs)
            good.update(path, base, _remarked(base), theirs)
        for machine in (broken, good):
            machine.lay("/etc/bind/named.conf", b'include "/etc/bind/named.conf.local";\n')
        settled = broken.settle()
        asked = {**settled.get("asked", {}), **settled.get("secret", {})}
        wrong = {
            path: asked.get(path)
            for path, (*_, who) in BROKEN.items()
            if not str(asked.get(path)).startswith(f"{who} refuses the result: ")
        }
        assert wrong == {}
        for path, (_, ours, _, _) in BROKEN.items():
            assert broken.read(path) == ours
        done = good.settle()
        assert set(done) == {"applied"}, done
        merged = done["applied"]
        assert merged.keys() == BROKEN.keys()


def _remarked(base: bytes) -> bytes:
    """What breaks nothing: other words in a remark; in passwd a word for the first name."""
    if b"etween." in base:
        return base.replace(b"etween.", b"etween us.", 1)
    return base.replace(b":root:/root:", b":the admin:/root:", 1)
