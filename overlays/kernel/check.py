"""Says which options of WANTED the configuration FINAL does not have, and why; status 1 when it lacks any."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import kconfig  # type: ignore[import-not-found]


def main() -> int:
    wanted, final = (Path(name).read_text(errors="replace") for name in sys.argv[1:3])
    missing = kconfig.missing_symbols(wanted, final)
    if not missing:
        return 0
    texts = {
        str(path): path.read_text(errors="replace") for path in Path().rglob("Kconfig*") if path.is_file()
    }
    definitions = kconfig.dependencies(texts, arch=sys.argv[3])
    for one in missing:
        print(f" * {kconfig.explain(one, definitions, kconfig.parse(final))}")
    return 1


sys.exit(main())
