"""What a Python file says about itself, read with `ast` and never run: the names it binds, and the marks on them."""
from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# Handlers of the logging module that files keep under the very name AWS users give their function:  handler = logging.StreamHandler()
_LOG_HANDLER = re.compile(r"logging\..*|(?:.*\.)?(?:Stream|File|Null|Queue|Memory|Socket|SysLog|RotatingFile|TimedRotatingFile|Rich)Handler")
_HANDLER_TEXT = re.compile(
    rb"^(?:async[ \t]+)?def[ \t]+(?P<defined>handler|lambda_handler)\b|^(?P<assigned>handler|lambda_handler)[ \t]*[:=]"
    rb"|^from[ \t]+\S+[ \t]+import\b.*\b(?P<imported>handler|lambda_handler)\b",
    re.MULTILINE,
)
_MARKS = {f"microlam.{home}{name}": name for home in ("", "declare.") for name in ("http", "schedule", "on_file")}


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A decorator of ours with its arguments; `problem` says why they cannot be read."""

    kind: str                           # http · schedule · on_file
    line: int
    positional: tuple[object, ...] = ()
    named: Mapping[str, object] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class SyntaxProblem:
    """Why a file does not parse, in the words of the runtime."""

    message: str                        # invalid syntax (hello.py, line 3)
    line: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a file binds at top level, what it imports, and how it is marked. For one that does not parse: what its lines look like."""

    names: frozenset[str] = frozenset()
    only_imported: frozenset[str] = frozenset()     # names that nothing but `from … import` binds
    imports: Mapping[str, int] = field(default_factory=dict)    # first component of every absolute import, and its line
    marks: Mapping[str, tuple[Mark, ...]] = field(default_factory=dict)
    blank: bool = False
    problem: SyntaxProblem | None = None

    @property
    def handler(self) -> str | None:
        return next((name for name in ("handler", "lambda_handler") if name in self.names), None)


def read_source(text: bytes, name: str) -> Reading:
    """Read a file's text; `name` is what a syntax error calls it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text, name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _unparsed(text, name, error)
    # A docstring or `pass` is what editors and generators leave for a moment, too.
    if all(isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)) for statement in module.body):
        return Reading(blank=True)
    return _Reader(module).reading()


def _unparsed(text: bytes, name: str, error: BaseException) -> Reading:
    found = [(kind, match[kind].decode()) for match in _HANDLER_TEXT.finditer(text) for kind in ("defined", "assigned", "imported") if match[kind]]
    names = frozenset(handler for _, handler in found)
    line = getattr(error, "lineno", None) or 0
    message = str(error) if isinstance(error, SyntaxError) else f"{error or type(error).__name__} ({name})"
    return Reading(
        names=names,
        only_imported=names - {handler for kind, handler in found if kind != "imported"},
        problem=SyntaxProblem(message=message, line=line, text=(getattr(error, "text", None) or "").rstrip("\n")),
    )


class _Reader:
    """One walk over a module's top level."""

    def __init__(self, module: ast.Module) -> None:
        self._module = module
        self._aliases: dict[str, str] = {}
        self._marks: dict[str, tuple[Mark, ...]] = {}
        self._names: set[str] = set()
        self._imported: set[str] = set()

    def reading(self) -> Reading:
        for statement in _top_level(self._module.body):
            self._read(statement)
        return Reading(
            names=frozenset(self._names | self._imported),
            only_imported=frozenset(self._imported - self._names),
            imports=_imports(self._module.body),
            marks=self._marks,
        )

    def _read(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import(names):
                # `import handler` binds a module, which nothing can call: it is no handler.
                self._aliases |= {name.asname or name.name.partition(".")[0]: name.name if name.asname else name.name.partition(".")[0] for name in names}
            case ast.ImportFrom(module, names):
                self._aliases |= {name.asname or name.name: f"{'.' * statement.level}{module or ''}.{name.name}" for name in names}
                if "microlam.*" in self._aliases.values():
                    self._aliases |= {name: f"microlam.{name}" for name in ("http", "schedule", "on_file")}
                self._imported |= {name.asname or name.name for name in names}
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                self._bind(name, tuple(mark for decorator in statement.decorator_list if (mark := self._mark(decorator))))
            case ast.ClassDef(name):
                self._bind(name, ())
            case ast.Assign(targets, value):
                for name in (name for target in targets for name in _target_names(target)):
                    self._assign(name, value)
            case ast.AnnAssign(ast.Name(name), value=ast.expr() as value):
                self._assign(name, value)

    def _assign(self, name: str, value: ast.expr) -> None:
        if isinstance(value, ast.Call) and _LOG_HANDLER.fullmatch(self._dotted(value.func) or ""):
            return
        self._bind(name, tuple(self._marks_within(value)))

    def _bind(self, name: str, marks: tuple[Mark, ...]) -> None:
        self._names.add(name)
        self._marks.pop(name, None)
        if marks:
            self._marks[name] = marks

    def _marks_within(self, value: ast.expr) -> Iterator[Mark]:
        """The marks of `http("GET /")(application)`, of a marked function's other name, and of one that is wrapped: `wrap(main)`."""
        match value:
            case ast.Name(name):
                yield from self._marks.get(name, ())
            case ast.Call(func, arguments):
                mark = self._mark(func)
                if mark:
                    yield mark
                for argument in arguments:
                    yield from self._marks_within(argument)

    def _mark(self, node: ast.expr) -> Mark | None:
        """The mark that `@http("GET /")` is; None for everybody else's decorators."""
        called = node.func if isinstance(node, ast.Call) else node
        kind = _MARKS.get(self._dotted(called) or "")
        if kind is None:
            return None
        if not isinstance(node, ast.Call):
            return Mark(kind=kind, line=node.lineno, problem=f"@{kind} needs its arguments in parentheses")
        try:
            if any(keyword.arg is None for keyword in node.keywords):
                raise ValueError("** is not a literal")
            return Mark(
                kind=kind, line=node.lineno,
                positional=tuple(ast.literal_eval(argument) for argument in node.args),
                named={keyword.arg or "": ast.literal_eval(keyword.value) for keyword in node.keywords},
            )
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return Mark(kind=kind, line=node.lineno, problem=f"the file is not run to read @{kind}, so its arguments must be written out as literals")

    def _dotted(self, node: ast.expr) -> str | None:
        """`m.http` → `microlam.http`, whatever the file calls it."""
        match node:
            case ast.Name(name):
                return self._aliases.get(name, name)
            case ast.Attribute(value, name):
                head = self._dotted(value)
                return head and f"{head}.{name}"
        return None


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement that an import of the file may run, those under `if`, `try` and the like included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(statement, ast.If) and _never_on_import(statement.test):
            yield from _top_level(statement.orelse)
            continue
        for block in _blocks(statement):
            yield from _top_level(block)


def _blocks(statement: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    """The statements within a statement."""
    if isinstance(statement, ast.Expr | ast.Assign):
        return      # most of them, and they have none
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, ())
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _never_on_import(test: ast.expr) -> bool:
    """`if __name__ == "__main__"` and `if TYPE_CHECKING`."""
    match test:
        case ast.Compare(ast.Name("__name__"), [ast.Eq()]) | ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


def _target_names(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Name(name):
            yield name
        case ast.Starred(inner):
            yield from _target_names(inner)
        case ast.Tuple(parts) | ast.List(parts):
            for part in parts:
                yield from _target_names(part)


def _imports(body: Sequence[ast.stmt], found: dict[str, int] | None = None) -> dict[str, int]:
    """Every absolute import of a module, those within its functions too."""
    found = {} if found is None else found
    for statement in body:
        if isinstance(statement, ast.Import):
            for name in statement.names:
                found.setdefault(name.name.partition(".")[0], statement.lineno)
        elif isinstance(statement, ast.ImportFrom):
            if statement.module and not statement.level:
                found.setdefault(statement.module.partition(".")[0], statement.lineno)
        else:
            for block in _blocks(statement):
                _imports(block, found)
    return found
