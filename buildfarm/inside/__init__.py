"""Questions to the Portage of a root: each module's text is sent in and run by the root's own Python.

A question is a module of this package with `answer(arguments) -> dict`. It runs inside the root, where
nothing of DistServer is installed and the Python may be another version: it imports the standard library and
`portage`, and of ours only other modules of this package, which are sent along. ask() sends several
questions to one process, because a Portage start-up costs most of a second. Documented or long-stable names
of Portage may be used anywhere; its private ones only in plan.py, which has the public commands to fall back
to.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.run import CommandFailed, run
from appliance.sandbox import Sandbox

# Run with -c: the questions come through standard input, since a plan of thousands of packages does not fit
# into a command line. What Portage itself prints goes to standard error, the answers to standard output.
DRIVER = """
import json, os, sys, types
asked = json.load(sys.stdin)
out = os.dup(1)
os.dup2(2, 1)
answers = {}
inside = types.ModuleType("buildfarm.inside")
sys.modules.update({"buildfarm": types.ModuleType("buildfarm"), "buildfarm.inside": inside})
for name, text, arguments in asked:
    module = types.ModuleType("buildfarm.inside." + name)
    exec(compile(text, "<inside/" + name + ".py>", "exec"), module.__dict__)
    setattr(inside, name, module)
    if arguments is not None:
        answers[name] = module.answer(arguments)
with os.fdopen(out, "w") as sink:
    sink.write("\\n@answers " + json.dumps(answers) + "\\n")
"""
MARK = "@answers "
IMPORT = re.compile(r"^from buildfarm\.inside import ([\w, ]+)$", re.MULTILINE)


def ask(sandbox: Sandbox, questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Question name -> arguments in, question name -> answer out; asked in the given order.

    Raises CommandFailed, with all that Portage printed, when one of them could not be answered.
    """
    texts = [sent for name, arguments in questions.items() for sent in _with_imports(name, arguments)]
    asked = run(
        ["python3", "-c", DRIVER],
        prefix=sandbox.prefix(),
        stdin=json.dumps(texts).encode(),
        ok=range(256),
    )
    found: Sequence[str] = [line for line in asked.stdout.splitlines() if line.startswith(MARK)]
    if asked.status != 0 or not found:
        raise CommandFailed(["python3", "inside", *questions], asked.status, asked.stdout)
    answers: dict[str, Any] = json.loads(found[-1].removeprefix(MARK))
    return answers


def _with_imports(name: str, arguments: Mapping[str, Any] | None) -> list[list[Any]]:
    """A module after those of this package that it imports, which are only read: their arguments are None."""
    text = _text(name)
    others = [other for line in IMPORT.findall(text) for other in line.split(", ")]
    needed = [sent for other in others for sent in _with_imports(other, None)]
    return [*needed, [name, text, arguments]]


def _text(name: str) -> str:
    return Path(__file__).with_name(f"{name}.py").read_text()
