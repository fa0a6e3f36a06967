"""What a profile asks of its kernel, and what of it the final configuration lacks."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.kconfig import (
    Missing,
    dependencies,
    explain,
    missing_symbols,
    mistakes,
    parse,
    unmet,
)

SYMBOLS = st.text("ABC_1", min_size=1, max_size=6)
NUMBERS = st.one_of(
    st.integers(-(2**31), 2**63).map(str),
    st.integers(0, 2**64).map(hex),
    st.integers(0, 99).map("0X{:X}".format),
)
PLAIN = st.text(st.characters(exclude_characters='"\\', exclude_categories=["C", "Zl", "Zp"]), max_size=20)
TEXTS = PLAIN.map('"{}"'.format)
VALUES = st.one_of(st.sampled_from("ymn"), NUMBERS, TEXTS)
CONFIGS = st.dictionaries(SYMBOLS, VALUES)


def write(config: dict[str, str]) -> str:
    return "".join(
        f"# CONFIG_{symbol} is not set\n" if value == "n" else f"CONFIG_{symbol}={value}\n"
        for symbol, value in config.items()
    )


@given(CONFIGS)
def test_what_is_written_is_read_again(config: dict[str, str]) -> None:
    assert parse(write(config)) == config
    assert mistakes(write(config)) == []


@given(CONFIGS, CONFIGS)
def test_the_last_line_about_a_symbol_wins(first: dict[str, str], second: dict[str, str]) -> None:
    assert parse(write(first) + write(second)) == {**first, **second}


@given(CONFIGS, CONFIGS)
def test_a_configuration_that_holds_all_requests_misses_nothing(
    wanted: dict[str, str], more: dict[str, str]
) -> None:
    assert missing_symbols(write(wanted), write({**more, **wanted})) == []


@given(CONFIGS, SYMBOLS, st.sampled_from("ym"))
def test_a_symbol_that_is_gone_is_named(config: dict[str, str], symbol: str, wanted: str) -> None:
    final = {name: value for name, value in config.items() if name != symbol}
    found = missing_symbols(write({**config, symbol: wanted}), write(final))
    assert found == [Missing(symbol, wanted, "n")]
    assert str(found[0]) == f"CONFIG_{symbol} is n, wanted {wanted}"


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    parse(text)
    mistakes(text)
    dependencies({"Kconfig": text}, arch="x86")


def test_built_in_serves_who_asked_for_a_module_but_not_the_other_way() -> None:
    assert missing_symbols("CONFIG_A=m\n", "CONFIG_A=y\n") == []
    assert missing_symbols("CONFIG_A=y\n", "CONFIG_A=m\n") == [Missing("A", "y", "m")]


def test_no_is_fulfilled_by_absence_and_by_nothing_else() -> None:
    for wanted in ("CONFIG_A=n\n", "# CONFIG_A is not set\n", 'CONFIG_A=""\n'):
        assert missing_symbols(wanted, "") == []
        assert len(missing_symbols(wanted, "CONFIG_A=y\n")) == 1
    assert missing_symbols("CONFIG_A=n\n", "CONFIG_A=m\n") == [Missing("A", "n", "m")]


def test_numbers_are_compared_as_numbers_and_texts_as_texts() -> None:
    assert missing_symbols("CONFIG_A=0x1000\n", "CONFIG_A=0X00001000\n") == []
    assert missing_symbols("CONFIG_A=64\n", "CONFIG_A=8\n") == [Missing("A", "64", "8")]
    assert missing_symbols('CONFIG_A="-x"\n', 'CONFIG_A="-y"\n') == [Missing("A", '"-x"', '"-y"')]
    assert missing_symbols('CONFIG_A="64"\n', "CONFIG_A=64\n") != []


def test_a_remark_after_an_option_is_no_part_of_it() -> None:
    assert parse('CONFIG_A=y # why\nCONFIG_B="a # b" # c\nCONFIG_C=3 # d\n') == {
        "A": "y",
        "B": '"a # b"',
        "C": "3",
    }


def test_a_misspelt_line_is_a_mistake() -> None:
    text = "CONFIG_A=y\nCONFG_B=y\n# a remark\n\nCONFIG_C\nCONFIG_D=yes please\n"
    assert mistakes(text) == [(2, "CONFG_B=y"), (5, "CONFIG_C"), (6, "CONFIG_D=yes please")]


DATA = Path(__file__).parent.parent / "data/kconfig"
FILES = {str(path.relative_to(DATA)): path.read_text() for path in DATA.rglob("Kconfig")}


def test_dependencies_come_from_the_symbol_its_menus_and_its_conditions() -> None:
    found = dependencies(FILES, arch="x86")
    assert found["X86"] == [[]]
    assert found["NET"] == [[]]
    assert found["E1000"][0] == ["NET", "PCI || USB", "ETHERNET && (PHY=y || !MODULES)"]
    assert found["LATER"] == [["NET", "$(success,true)"]]


def test_unmet_dependencies_are_those_the_final_configuration_lacks() -> None:
    found = dependencies(FILES, arch="x86")
    assert unmet("E1000", found, {}) == ["NET", "PCI || USB", "ETHERNET"]
    final = {"NET": "y", "USB": "m", "ETHERNET": "y", "MODULES": "y", "PHY": "m"}
    assert unmet("E1000", found, final) == ["(PHY=y || !MODULES)"]
    assert unmet("E1000", found, {**final, "PHY": "y"}) == []
    assert unmet("LATER", found, {"NET": "y"}) == []


def test_the_explanation_names_symbol_wanted_got_and_reason() -> None:
    found = dependencies(FILES, arch="x86")
    final = {"NET": "y", "PCI": "y"}
    assert explain(Missing("E1000", "y", "n"), found, final) == (
        "CONFIG_E1000 is n, wanted y: it depends on ETHERNET"
    )
    assert explain(Missing("NONE", "y", "n"), found, final).endswith("these sources know no such symbol")
    assert explain(Missing("E1000", "y", "n"), {}, final) == "CONFIG_E1000 is n, wanted y"
