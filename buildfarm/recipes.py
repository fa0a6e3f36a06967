"""Asks a root for the recipes of packages: what Portage says of each, and what compiles there."""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.sandbox import Sandbox
from buildfarm import inside, key
from buildfarm.compilers import VARIABLES, Compilers, is_part
from buildfarm.key import Needs, Recipe
from buildfarm.view import view


def read(
    sandbox: Sandbox,
    wanted: Sequence[str],
    *,
    final: Mapping[str, str] | None = None,
    kernel_config: str = "",
    strict: bool = False,
    bashrc: str = "bashrc",
) -> dict[str, Recipe]:
    """cpv -> recipe of each ebuild that is there; `wanted`: `cat/name-1`, or `cat/name-1::repository`.

    `final` is cpv -> slot of all that will be installed; when it is not given, that is what is wanted.
    """
    answers = inside.ask(sandbox, {"recipes": question(wanted, final=final, strict=strict, bashrc=bashrc)})
    return understand(
        answers["recipes"], Compilers(view(sandbox)), kernel_config=kernel_config, strict=strict
    )


def question(
    wanted: Sequence[str],
    *,
    final: Mapping[str, str] | None = None,
    strict: bool = False,
    bashrc: str = "bashrc",
) -> dict[str, Any]:
    """The arguments of the question `recipes`, for who asks several at once."""
    return {"cpvs": list(wanted), "final": dict(final or {}), "strict": strict, "bashrc": bashrc}


def understand(
    answer: Mapping[str, Any], compilers: Compilers, *, kernel_config: str = "", strict: bool = False
) -> dict[str, Recipe]:
    """Recipes from what the question `recipes` was answered with."""
    recipes: dict[str, Recipe] = {}
    needs: dict[str, Needs] = {}
    for cpv, said in sorted(answer.items()):
        if not said:
            continue
        recipe = Recipe(cpv, said["parts"])
        tools = compilers.identify({name: recipe.variable(name) for name in VARIABLES})
        name = key.OWN_TOOLCHAIN if is_part(cpv) else key.TOOLCHAIN
        more = {name: f"{tools.identity} {tools.description}"}
        if said["kernel"]:
            more[key.KERNEL] = kernel_config
        recipes[cpv] = recipe.with_parts(more)
        needs[cpv] = Needs(tuple(said["needs"]), tuple(said["runs"]))
    return key.strict(recipes, needs) if strict else recipes
