"""The walls between the rooms: imports go one way, I/O happens where it may, modules stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "featurespace"

# A room may import those before it in this list, and its own row's earlier entries are named below.
ORDER = [
    {"errors", "memory", "options", "interrupts"},
    {"files", "seeding", "progress", "spreadsheets", "yaml_files"},
    {"distributed", "record", "locking"},
    {"device"},
    {"config", "provenance"},
    {"bug_reports"},
    {"stats"},
    {"data"},
    {"results"},
    {"models"},
    {"metrics"},
    {"features"},
    {"tables"},
    {"training"},
    {"run"},
    {"studies"},
    {"plots"},
    {"report"},
    {"plan"},
    {"inputs"},
    {"passing"},
    {"measuring", "overlap", "viewing"},
    {"analyze", "comparing", "exploration", "exporting", "indexing", "inspection"},
    {"studying"},
    {"demo", "extraction"},
    {"arguments"},
    {"cli_compare", "cli_inspect", "cli_leakage", "cli_study", "cli_train"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
PURE = {
    "metrics": {"pandas", "pathlib", "matplotlib", "PIL", "timm"},
    "stats": {"pandas", "pathlib", "torch", "matplotlib"},
}
HEAVY = {
    "torch",
    "timm",
    "umap",
    "pandas",
    "sklearn",
    "scipy",
    "matplotlib",
    "pydantic",
    "rich",
    "numpy",
    "pytorch_lightning",
    "torchvision",
}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py"))


def room(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(tree, *, top_level=False):
    nodes = tree.body if top_level else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = room(path)
    if own == "__init__":
        return
    for name in imports(parsed(path)):
        parts = name.split(".")
        if parts[0] == "featurespace" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != own:
            assert LEVEL[parts[1]] < LEVEL[own], f"{path.name} in {own} imports {name}"


def test_every_room_has_its_place():
    assert {room(path) for path in modules()} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("own", PURE)
def test_pure_rooms_stay_pure(own):
    for path in (PACKAGE / own).rglob("*.py"):
        for name in imports(parsed(path)):
            assert name.split(".")[0] not in PURE[own], f"{path.name} imports {name}"


def test_no_pyplot_and_no_show():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert "pyplot" not in text and ".show()" not in text, path


def test_print_and_echo_only_in_the_command_line():
    for path in modules():
        if room(path) in ("cli", "progress"):
            continue
        calls = [
            node.func.id
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert "print" not in calls, path


@pytest.mark.parametrize("name", ["__init__", "cli", "cli_inspect", "cli_train", "options", "errors", "__main__"])
def test_what_help_imports_is_light(name):
    top = {each.split(".")[0] for each in imports(parsed(PACKAGE / f"{name}.py"), top_level=True)}
    assert not top & HEAVY


def test_modules_and_functions_stay_small():
    for path in modules():
        assert path.read_text(encoding="utf-8").count("\n") <= 300, f"{path} is too long: a second subject in one file?"
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert length <= 50, f"{path.name}: {node.name} has {length} lines"


def test_every_public_function_has_a_docstring():
    for path in modules():
        for node in parsed(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_no_global_random_state():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert "np.random.seed" not in text and "np.random.rand" not in text, path


def test_tests_mirror_the_package():
    for folder in PACKAGE.iterdir():
        if folder.is_dir() and not folder.name.startswith("__"):
            assert list((ROOT / "tests" / folder.name).glob("test_*.py")), f"tests/{folder.name} is missing"


def test_nothing_in_the_package_is_imported_from_scripts():
    for path in modules():
        assert not {name.split(".")[0] for name in imports(parsed(path))} & {"analyses", "figures", "tests"}
