"""Root. Mutation testing of the scoring core: change one thing in a function of `health/`, and see whether one of its unit tests notices.

One pytest session collects once, learns which test reaches which line, then forks for each mutant: the child swaps the function's code and
runs the tests that reach the line, those that found mutants of it before and those that reach little else first. Tools that take a
module's name from its path do not find an installed package.
"""

import argparse
import ast
import importlib
import os
import resource
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from zlib import crc32

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "churnsignal_scoring.health"
SOURCE = ROOT / "services" / "scoring" / PACKAGE.replace(".", "/")
TESTS = ROOT / "tests" / "unit" / "scoring"
OTHERS = ("test_backtest", "test_dedup", "test_resolving", "test_credited_exactly_once", "test_watchdog")
EXPLAINED = ROOT / "tools" / "mutants.toml"
REPORT = ROOT / "docs" / "mutants.md"
BAR = 85
TESTS_S = 3.0
"""A mutant is looked for during so many seconds of tests; one that is not found by then counts as a survivor."""
HANGS_S = 30
EXAMPLES = 15
MEMORY = 4 << 30

_PAIRS: tuple[tuple[type[ast.AST], type[ast.AST], str, str], ...] = (
    (ast.Lt, ast.LtE, "<", "<="),
    (ast.Gt, ast.GtE, ">", ">="),
    (ast.Eq, ast.NotEq, "==", "!="),
    (ast.Is, ast.IsNot, "is", "is not"),
    (ast.In, ast.NotIn, "in", "not in"),
    (ast.And, ast.Or, "and", "or"),
    (ast.Add, ast.Sub, "+", "-"),
    (ast.Mult, ast.FloorDiv, "*", "//"),
    (ast.LShift, ast.RShift, "<<", ">>"),
    (ast.BitOr, ast.BitAnd, "|", "&"),
)
_SWAPS = {here: (there, f"`{old}` → `{new}`") for a, b, x, y in _PAIRS for here, there, old, new in ((a, b, x, y), (b, a, y, x))}
_SWAPS |= {ast.Mod: (ast.FloorDiv, "`%` → `//`"), ast.Div: (ast.Mult, "`/` → `*`")}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


Change = Callable[[], Callable[[], None]]
"""Makes the change, and returns what undoes it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change in one function. `name` stays the same when lines move."""

    module: str
    function: str
    line: int
    name: str
    change: Change = field(repr=False)


def changes(node: ast.AST) -> Iterator[tuple[str, Change]]:  # noqa: C901 -- a table of kinds of nodes, each in one line
    """Yield what may be changed at this node: what it says, and how to do it; doing it returns how to undo it."""
    match node:
        case ast.Compare():
            for place, op in enumerate(node.ops):
                there, told = _SWAPS[type(op)]
                yield told, _put(node, "ops", [there() if at == place else one for at, one in enumerate(node.ops)])
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in _SWAPS:
            there, told = _SWAPS[type(node.op)]
            yield told, _put(node, "op", there())
        case ast.UnaryOp(op=ast.Not()):
            yield "`not` dropped", _put(node, "operand", ast.copy_location(ast.UnaryOp(ast.Not(), node.operand), node.operand))
        case ast.UnaryOp(op=ast.USub()):
            yield "`-` dropped", _put(node, "op", ast.UAdd())
        case ast.Constant(value=bool() | int() | float() as value):
            other = not value if isinstance(value, bool) else value + 1
            yield f"`{value}` → `{other}`", _put(node, "value", other)
        case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
            yield f"`{name}` → `{_NAMES[name]}`", _put(node.func, "id", _NAMES[name])
        case ast.Return() if node.value is not None and ast.unparse(node.value) != "None":
            yield "returns `None`", _put(node, "value", ast.copy_location(ast.Constant(None), node.value))
        case ast.Assign() if ast.unparse(node.value) != "None":
            yield f"`{ast.unparse(node.targets[0])} = None`", _put(node, "value", ast.copy_location(ast.Constant(None), node.value))
        case ast.Expr(value=ast.Call(func=called)):
            yield f"no `{ast.unparse(called)}()`", _put(node, "value", ast.copy_location(ast.Constant(None), node.value))


def _put(owner: Any, name: str, value: Any) -> Change:
    def do() -> Callable[[], None]:
        old = getattr(owner, name)
        setattr(owner, name, value)
        return lambda: setattr(owner, name, old)

    return do


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{one.name}", one) for one in node.body if isinstance(one, ast.FunctionDef))


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs: no annotations, no docstrings."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from _inside(child)


class Module:
    """A module of the core: its tree, its functions, and their code as it should be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        self.tree = ast.parse(path.read_text())
        self.live = importlib.import_module(f"{PACKAGE}.{self.name}")
        self.mutants = list(self._mutants())

    def _mutants(self) -> Iterator[Mutant]:
        for function, node in _functions(self.tree):
            told: Counter[str] = Counter()
            for inner in _inside(node):
                for what, change in changes(inner):
                    told[what] += 1
                    again = f" ({told[what]})" if told[what] > 1 else ""
                    yield Mutant(
                        self.name, function, getattr(inner, "lineno", node.lineno), f"{self.name}.{function}: {what}{again}", change
                    )

    def function(self, name: str) -> Any:
        """Return the plain function behind a name, whatever wraps it."""
        found: Any = vars(self.live)
        for part in name.split("."):
            found = found[part] if isinstance(found, dict) else vars(found)[part]
            found = getattr(found, "fget", None) or getattr(found, "func", None) or getattr(found, "__wrapped__", None) or found
            found = getattr(found, "__func__", found)
        return found

    def forget(self) -> None:
        """Empty what its functions remember."""
        for thing in vars(self.live).values():
            if clear := getattr(thing, "cache_clear", None):
                clear()

    def compiled(self, mutant: Mutant) -> CodeType:
        """Return the function's code with the change."""
        undo = mutant.change()
        try:
            whole = compile(ast.fix_missing_locations(self.tree), str(self.path), "exec")
        finally:
            undo()
        return next(code for code in _codes(whole) if code.co_qualname == mutant.function)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


class Hunt:
    """The pytest plugin that runs instead of the tests."""

    def __init__(self, modules: list[Module], sample: int | None, seed: int) -> None:
        self.chosen = [(module, one) for module in modules for one in module.mutants]
        self.modules, self.all = modules, len(self.chosen)
        # By a hash of the name: who is drawn stays drawn when others come and go.
        self.chosen = sorted(self.chosen, key=lambda pair: crc32(f"{seed} {pair[1].name}".encode()))[:sample]
        self.survivors: list[Mutant] = []
        self.takes: dict[str, float] = {}
        self.reach: dict[str, int] = {}
        self.reached: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.kills: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Learn, then hunt."""
        items = {item.nodeid: item for item in session.items}
        self._learn(session.items)
        for number, (module, mutant) in enumerate(self.chosen, 1):
            if not self._is_found(module, mutant, items):
                self.survivors.append(mutant)
                print(f"{number}/{len(self.chosen)} survives: line {mutant.line}, {mutant.name}", flush=True)
        return True

    def _learn(self, items: list[pytest.Item]) -> None:
        files = {str(module.path) for module in self.modules}
        for item in items:
            _make_small(item)
            lines: set[tuple[str, int]] = set()

            def note(frame: FrameType, event: str, _: object, lines: set[tuple[str, int]] = lines) -> Any:
                if event == "line":
                    lines.add((frame.f_code.co_filename, frame.f_lineno))
                return note if frame.f_code.co_filename in files else None

            started = time.process_time()
            reports = runtestprotocol(item, log=False, nextitem=None)
            self.takes[item.nodeid] = time.process_time() - started
            # A line whose answer is remembered from the run before is not reached again.
            for module in self.modules:
                module.forget()
            sys.settrace(note)
            runtestprotocol(item, log=False, nextitem=None)
            sys.settrace(None)
            self.reach[item.nodeid] = len(lines)
            if any(report.failed for report in reports):
                raise pytest.UsageError(f"{item.nodeid} fails without any mutant:\n{[report.longreprtext for report in reports]}")
            for line in lines:
                self.reached[line].add(item.nodeid)

    def _is_found(self, module: Module, mutant: Mutant, items: dict[str, pytest.Item]) -> bool:
        kills = self.kills[f"{module.name}.{mutant.function}"]
        tests, seconds = [], 0.0
        for test in sorted(self.reached[str(module.path), mutant.line], key=lambda one: (-kills[one], self.reach[one], self.takes[one])):
            seconds += self.takes[test]
            tests.append(test)
            if seconds > TESTS_S:
                break
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _be_mutant(module, mutant, [items[test] for test in tests], writer)
        os.close(writer)
        with os.fdopen(reader) as said:
            killer = said.read()
        _, status = os.waitpid(child, 0)
        if killer:
            kills[killer] += 1
        return status != 0


def _be_mutant(module: Module, mutant: Mutant, items: list[pytest.Item], writer: int) -> None:
    """Run the tests as the mutant; never returns. Ends well only if no test notices."""
    # In seconds of its own work: a busy machine finds no mutants.
    resource.setrlimit(resource.RLIMIT_CPU, (HANGS_S, HANGS_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        module.function(mutant.function).__code__ = module.compiled(mutant)
        module.forget()
        for item in items:
            if any(report.failed for report in runtestprotocol(item, log=False, nextitem=None)):
                os.write(writer, item.nodeid.encode())
                os._exit(1)
    except BaseException:  # noqa: BLE001 -- whatever a mutant does, the child must not go on as a second parent
        os._exit(1)
    os._exit(0)


def _make_small(item: pytest.Item) -> None:
    """Let properties try few examples, the same ones each time, and not look for the smallest."""
    inner = getattr(getattr(item, "obj", None), "hypothesis", None)
    if inner is not None:
        function = item.obj  # type: ignore[attr-defined]  # it has one: it is a function's item
        old = function._hypothesis_internal_use_settings  # noqa: SLF001 -- there is no public way to change a test's own settings
        small = settings(
            old,
            max_examples=min(EXAMPLES, old.max_examples),
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        function._hypothesis_internal_use_settings = small  # noqa: SLF001


def report(hunt: Hunt, explained: dict[str, str], draws: dict[str, str], seed: int) -> str:
    """Return the document: scores by module, every survivor with the reason why nobody misses it, and what earlier draws showed."""
    tried = Counter(module.name for module, _ in hunt.chosen)
    alive = Counter(one.module for one in hunt.survivors)
    part = (
        f"all {hunt.all:,}" if len(hunt.chosen) == hunt.all else f"{len(hunt.chosen):,} of {hunt.all:,}, drawn at random with seed {seed}"
    )
    lines = [
        "# Mutants of the scoring core\n",
        "Generated by `make mutants`; do not edit. Reasons are kept in `tools/mutants.toml`.\n",
        "Each mutant is one change in the body of one function of `services/scoring/churnsignal_scoring/health/`: a comparison, an operator, a",
        "number, a flag, a `min` for a `max`, a return or assigned value that is lost, a call left out. Texts and the tables of modules are left",
        f"alone. A mutant that the unit tests do not notice within {TESTS_S:g} seconds of tests that reach its line is a survivor.\n",
        f"**{_percent(len(hunt.chosen), len(hunt.survivors))} of {len(hunt.chosen):,} mutants are noticed** (tried: {part}).\n",
        "| module | mutants | survivors | noticed |\n|---|---|---|---|",
        *(f"| {name} | {count} | {alive[name]} | {_percent(count, alive[name])} |" for name, count in sorted(tried.items())),
        "\n## Survivors\n",
        *(
            f"- `{one.name.partition(': ')[0]}`, {one.name.partition(': ')[2]}: {reason(one, explained) or '**not explained**'}"
            for one in hunt.survivors
        ),
        "\n## Earlier draws\n",
        "As drawn, before tests were written for what survived. Such tests flatter their draw, so each draw has a seed of its own.\n",
        *(f"- seed {drawn}: {shown}" for drawn, shown in draws.items() if int(drawn) < seed),
    ]
    return "\n".join(lines) + "\n"


def reason(one: Mutant, explained: dict[str, str]) -> str | None:
    """Return why nobody misses it: said of the mutant, or of all mutants of its function."""
    return explained.get(one.name) or explained.get(one.name.partition(": ")[0])


def _percent(tried: int, alive: int) -> str:
    return f"{100 * (tried - alive) / tried:.1f} %"


def main() -> int:
    """Hunt; ends with 1 below the bar or when a survivor is not explained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="modules whose name begins so, such as measures or view")
    parser.add_argument("--sample", type=int, help="only so many of the mutants, drawn at random")
    known = tomllib.loads(EXPLAINED.read_text())
    parser.add_argument(
        "--seed", type=int, default=1 + max(map(int, known["draws"])), help="what the draw begins with; a new one if not said"
    )
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if path.name != "__init__.py"]
    hunt = Hunt([module for module in map(Module, paths) if module.name.startswith(options.only)], options.sample, options.seed)
    tests = [str(path) for path in sorted(TESTS.glob("test_*.py")) if path.stem not in OTHERS]
    plugins = [f"no:{name}" for name in ("randomly", "timeout", "xdist", "cacheprovider", "terminal")]
    if ended := pytest.main(
        ["-s", "-o", "addopts=--import-mode=importlib", *(word for name in plugins for word in ("-p", name)), *tests], plugins=[hunt]
    ):
        return int(ended)
    known = tomllib.loads(EXPLAINED.read_text())  # again: it takes so long that reasons may have come meanwhile
    explained = known["survivors"]
    if not options.only:
        REPORT.write_text(report(hunt, explained, known["draws"], options.seed))
    strange = [one for one in hunt.survivors if reason(one, explained) is None]
    print(f"{_percent(len(hunt.chosen), len(hunt.survivors))} of {len(hunt.chosen)} noticed; {len(strange)} survivors are not explained")
    return int(bool(strange) or 100 * len(hunt.survivors) > (100 - BAR) * len(hunt.chosen))


if __name__ == "__main__":
    sys.exit(main())
