"""Which configuration files are secret for the machines of a profile, as the site says; pure."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from appliance.client_settings import ConfigRule
from appliance.merge_model import is_secret
from appliance.site_model import Site

Rules = Mapping[str, tuple[ConfigRule, ...]]
"""Profile -> its `[[client.config]]`, of those that call something secret."""


def rules_of(site: Site) -> Rules:
    told = {name: profile.client.policy.config for name, profile in site.profiles.items()}
    return {name: rules for name, rules in told.items() if any(rule.secret for rule in rules)}


def is_withheld(path: str, profiles: Iterable[str], rules: Rules) -> bool:
    """Secret everywhere, or for one of these profiles: of its rules the last one that matches counts.

    As the machine itself decides (distserver_client.protection), but for a file's mode, which it says.
    """
    return is_secret(path) or any(_says(path, rules.get(name, ())) for name in profiles)


def _says(path: str, rules: tuple[ConfigRule, ...]) -> bool:
    last = next((rule for rule in reversed(rules) if fnmatchcase(path, rule.path)), None)
    return last is not None and last.secret is True
