"""Hostile text in every field that machines, build hosts, logs and people can fill: shown, and never run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from appliance.errors import Problem
from appliance.services import Services
from tests.web.conftest import Opens
from tests.web.scene import Scene, served, set_scene
from tests.web.test_every_page import WAYS
from webui.api.area import BASE
from webui.api.document import VARIES
from webui.api.operations import OPERATIONS

SHOWN = "<img src=x onerror="
HOSTILE = (
    f'{SHOWN}"window.pwned=1;alert(1)">\'"><script>window.pwned=2</script></td></table></textarea></title>'
    '<svg onload="window.pwned=3"><a href="javascript:window.pwned=4">x</a>{{ 7*7 }}{% raw %}&#60;&lt;'
    "\x00\x01\x1b[31m\x1b]0;pwned\x07\x9b2J\u202egnp.exe\u2066\ufeff\r\n-->]]>" + "w" * 10_000
)
FREE = frozenset(
    ("browser", "detail", "ended_why", "evidence", "health", "kernel", "label", "message", "problem",
     "reason", "said", "suggestion", "tail", "text", "who", "why")
)  # fmt: skip
"""Columns, of whichever table, that hold words of others."""
ALSO = {
    ("machine", "name"),
    ("question", "subject"),
    ("lease", "host"),
    ("job_package", "cpv"),
    ("worker", "name"),
}
JSON = {
    ("machine", "facts"),
    ("compile_host", "report"),
    ("examination", "found"),
    ("client_report", "report"),
}
KEPT_WORDS = frozenset(["mac", "firmware", "name", "path", "machine", "interface", "transport", "level"])
"""Keys of such objects whose words are read back as something else than text."""
RAN = """() => [
  window.pwned,
  [...document.querySelectorAll('script:not([src]), img[src=x], svg[onload], iframe, object, embed')].length,
  [...document.querySelectorAll('*')].filter(
    one => [...one.attributes].some(each => each.name.startsWith('on'))).length,
  [...document.querySelectorAll('[href], [action], [src]')].filter(
    one => ['href', 'action', 'src'].some(
      name => /^\\s*(javascript|data|vbscript):/i.test(one.getAttribute(name) || ''))).length,
]"""
NOTHING = [None, 0, 0, 0]
MUST_SHOW = (
    "overview", "machines", "machine", "builds", "build", "build log", "cluster",
    "compile host", "quarantined host", "doctor", "webhook", "audit", "channels",
)  # fmt: skip


def poison(scene: Scene) -> None:
    """Put the text into every field of the store that can hold words of others."""
    services = scene.services()
    database = services.store.database
    services.audit.note(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    tables = [row["name"] for row in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    touched = 0
    for table in (name for name in tables if name != "audit"):
        columns = [(row["name"], row["type"]) for row in database.rows(f"PRAGMA table_info({table})")]
        for column, kind in columns:
            if column in FREE or (table, column) in ALSO:
                # Some must differ from row to row.
                differs = " || hex(randomblob(4))" if (table, column) in ALSO else ""
                change = f"UPDATE {table} SET {column} = ?{differs}"
                touched += database.execute(
                    change, (HOSTILE.encode() if kind == "BLOB" else HOSTILE,)
                ).rowcount
            elif (table, column) in JSON:
                touched += poison_objects(services, table, column)
    assert touched > 50
    (scene.tree.path / "logs" / "build-vm-20261122T104500Z" / "emerge.out").write_text(f"{HOSTILE}\n" * 50)
    services.store.close()


def poison_objects(services: Services, table: str, column: str) -> int:
    database = services.store.database
    rows = database.rows(f"SELECT rowid AS number, {column} AS text FROM {table} WHERE {column} IS NOT NULL")
    for row in rows:
        text = json.dumps(poisoned(json.loads(row["text"] or "null")))
        database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (text, row["number"]))
    return len(rows)


def poisoned(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: poisoned(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one, key) for one in value]
    return HOSTILE if isinstance(value, str) and key not in KEPT_WORDS else value


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = set_scene(Path(tmp_path_factory.mktemp("hostile")))
    poison(made)
    with served(made) as one:
        yield one


def watch_dialogs(page: Page) -> list[str]:
    seen: list[str] = []

    def noted(dialog: Any) -> None:
        seen.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", noted)
    return seen


def test_nothing_of_it_runs_on_any_page_and_it_is_shown(opens: Opens, scene: Scene) -> None:
    page = opens("/")
    dialogs, shows = watch_dialogs(page), set()
    for name, way in WAYS.items():
        answer = page.goto(scene.url + way(scene))
        assert answer and answer.status < 500, (name, answer)
        assert (name, page.evaluate(RAN)) == (name, NOTHING)
        if SHOWN in page.inner_text("body"):
            shows.add(name)
    assert set(MUST_SHOW) - shows == set()
    assert dialogs == []


def test_nothing_of_it_runs_in_an_answer_of_the_api(opens: Opens, scene: Scene) -> None:
    page = opens("/")
    dialogs, shows = watch_dialogs(page), set()
    known = {"machine": scene.mac(5), "profile": "vm", "release": scene.release, "webhook": "1", "job": "1"}
    for one in OPERATIONS:
        if one.method == "GET" and set(VARIES.findall(one.path)) <= known.keys():
            path = BASE + one.path.format(**known)
            answer = page.goto(scene.url + path)
            # Some want words in their query, or something that this scene has not.
            assert answer and answer.status in (200, 400, 404), (path, answer)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert page.evaluate("[window.pwned, document.images.length]") == [None, 0]
            if "onerror" in answer.text():
                shows.add(one.name)
    assert {"listMachines", "showMachine", "listMachineEvents", "listJobs", "listHosts", "listAudit"} <= shows
    assert dialogs == []


FACTS = (
    "uuid",
    "cpu",
    "vendor",
    "product",
    "serial",
    "choose",
    "rescue",
    "disk",
    "firmware",
    "mac",
    "memory",
    "odd",
)


@pytest.mark.parametrize("key", FACTS)
def test_what_a_machine_says_comes_in_without_orders_to_a_terminal_or_not_at_all(
    scene: Scene, key: str
) -> None:
    services, mac = scene.services(), "52:54:00:00:0f:01"
    words = {"disk": f"/dev/sda 1000 virtio 0 {HOSTILE[:60].replace(' ', '')} {HOSTILE[:80]}"}
    value = words.get(key, HOSTILE.replace("\r\n", "")[:400])
    lines = {"mac": mac, "firmware": "uefi", "memory": "4096", key: value}
    try:
        said = services.desk.hello("".join(f"{name} {word}\n" for name, word in lines.items()), "http://here")
    except Problem as refused:
        assert "\x1b" not in str(refused)
        return
    finally:
        facts = known.facts if (known := services.store.machines.get(mac)) else None
        services.store.close()
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    texts = [facts.cpu, facts.vendor, facts.product, facts.serial, facts.uuid] if facts else []
    texts += [word for disk in facts.disks for word in (disk.path, disk.serial, disk.model)] if facts else []
    assert all(text.isprintable() for text in texts)
