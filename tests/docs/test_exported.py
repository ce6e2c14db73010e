"""`reunite.__all__` is the public surface: complete, resolvable, and each name documented."""

import inspect
from types import ModuleType

import reunite

# Left in a module's names by import statements that are about typing only.
TYPING_NAMES = {"annotations", "TYPE_CHECKING"}


def test_all_is_sorted_and_has_no_name_twice() -> None:
    assert list(reunite.__all__) == sorted(set(reunite.__all__))


def test_every_name_in_all_exists() -> None:
    missing = [name for name in reunite.__all__ if not hasattr(reunite, name)]
    assert missing == []


def test_every_public_name_is_in_all() -> None:
    for name in reunite.__all__:
        getattr(reunite, name)  # names may be loaded when they are first asked for
    found = {
        name
        for name, value in vars(reunite).items()
        if not name.startswith("_")
        and name not in TYPING_NAMES
        and not isinstance(value, ModuleType)
    }
    assert found - set(reunite.__all__) == set(), (
        "add these to reunite.__all__, or import them under a name with an underscore"
    )


def test_every_exported_class_and_function_says_what_it_promises() -> None:
    silent = [
        name
        for name in reunite.__all__
        if (inspect.isclass(value := getattr(reunite, name)) or inspect.isroutine(value))
        and not (value.__doc__ or "").strip()
    ]
    assert silent == []
