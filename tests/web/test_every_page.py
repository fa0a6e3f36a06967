"""Every page in a real browser: nothing for axe to complain of, in both schemes, on a desk and on a phone."""

from collections.abc import Callable, Mapping

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from tests.web.conftest import DESK, PHONE, Opens
from tests.web.scene import GROWING, Scene

SERIOUS = ("serious", "critical")
WAYS: Mapping[str, Callable[[Scene], str]] = {
    "overview": lambda scene: "/",
    "machines": lambda scene: "/machines",
    "no machine": lambda scene: "/machines?text=nothing-is-called-so",
    "releases": lambda scene: "/releases",
    "profiles": lambda scene: "/profiles",
    "profile": lambda scene: "/profile/vm",
    "parent profile": lambda scene: "/profile/amd64",
    "files of a profile": lambda scene: "/profile/vm/files",
    "new profile": lambda scene: "/profiles/new",
    "edit": lambda scene: "/profile/amd64/edit?file=profile.toml",
    "change that clashed": lambda scene: "/profile/vm/edit?change=1",
    "change of a file": lambda scene: "/profile/vm/change/1",
    "machine": lambda scene: f"/machine/{scene.mac(5)}",
    "installed machine": lambda scene: f"/machine/{scene.mac(4)}",
    "chosen machines": lambda scene: "/machines?chosen=all",
    "unknown machine": lambda scene: f"/machine/{scene.mac(0)}",
    "console": lambda scene: f"/machine/{scene.mac(5)}/console",
    "match rules": lambda scene: f"/machine/{scene.mac(0)}/match",
    "facts to try": lambda scene: "/match",
    "retire": lambda scene: f"/machine/{scene.mac(5)}/retire",
    "arm": lambda scene: f"/machines/arm?mac={scene.mac(4)}",
    "arm several": lambda scene: "/machines/arm?" + "&".join(f"mac={scene.mac(n)}" for n in range(6)),
    "explain": lambda scene: f"/machine/{scene.mac(1)}/explain",
    "release": lambda scene: f"/release/{scene.release}",
    "packages": lambda scene: f"/release/{scene.release}/packages",
    "changed file": lambda scene: f"/release/{scene.release}/diff/file?path=/etc/app-misc-a-1.conf",
    "difference": lambda scene: f"/release/{scene.release}/diff",
    "channels": lambda scene: "/channels/vm",
    "image": lambda scene: f"/release/{scene.release}/online",
    "builds": lambda scene: "/builds",
    "held packages": lambda scene: "/holds?profile=vm",
    "build": lambda scene: "/build/1",
    "running build": lambda scene: "/build/2",
    "growing log": lambda scene: f"/build/2/log?name={GROWING}",
    "plan": lambda scene: "/plan/vm",
    "package": lambda scene: f"/package/{'ab' * 32}",
    "build log": lambda scene: "/build/1/log?name=emerge.out",
    "search in a log": lambda scene: "/build/1/log?name=emerge.out&text=name",
    "own account": lambda scene: "/account",
    "accounts": lambda scene: "/accounts",
    "merges": lambda scene: "/merges",
    "decided merges": lambda scene: "/merges?state=decided",
    "secret merges": lambda scene: "/merges?state=secret",
    "open merge": lambda scene: "/merge/2",
    "decided merge": lambda scene: "/merge/1",
    "secret merge": lambda scene: "/merge/4",
    "cluster": lambda scene: "/cluster",
    "compile host": lambda scene: "/cluster/host/stranger",
    "quarantined host": lambda scene: "/cluster/host/liar",
    "lending machines": lambda scene: "/cluster/machines",
    "doctor": lambda scene: "/doctor",
    "webhooks": lambda scene: "/webhooks",
    "webhook": lambda scene: "/webhooks/1",
    "audit": lambda scene: "/audit",
    "problem": lambda scene: "/machine/52:54:00:00:00:99",
}


@pytest.mark.parametrize("name", WAYS)
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(
    name: str, opens: Opens, scene: Scene
) -> None:
    page = opens(WAYS[name](scene))
    for scheme, size in (("light", DESK), ("dark", PHONE)):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.evaluate(AXE_SCRIPT)
        violations = page.evaluate("axe.run({resultTypes: ['violations']}).then(all => all.violations)")
        found = [one for one in violations if one["impact"] in SERIOUS]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == [], (name, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], (name, scheme)


def test_what_a_machine_says_is_shown_and_never_run(opens: Opens, scene: Scene) -> None:
    page = opens(f"/machine/{scene.mac(5)}")
    assert page.locator("td img").count() == 0
    assert "onerror" in page.inner_text("main")


def test_every_control_is_reached_by_the_tab_key_and_shows_that_it_is(opens: Opens) -> None:
    page = opens("/")
    wanted = page.locator("a:visible, button:visible, input:visible, select:visible, summary:visible").count()
    reached = []
    for _ in range(wanted + 1):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "[document.activeElement.outerHTML.slice(0, 120),"
                " getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    first = reached[0][0]
    assert 'class="skip"' in first
    controls = [html for html, _ in reached if not html.startswith("<body")]
    assert len(controls) >= wanted
    assert {style for html, style in reached if not html.startswith("<body")} == {"solid"}


def test_the_first_link_skips_to_the_content(opens: Opens) -> None:
    page = opens("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
