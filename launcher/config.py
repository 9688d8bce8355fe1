"""Read config.yaml: a file in, one frozen `Config` out, or every problem of the file at once.

Decides the order of the work (marks, variables, defaults, models, cross-checks) and what a service is when
its file says nothing. Knows nothing of the machine: whether a port is free or a GPU exists is `preflight`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from launcher.configuration.checks import Draft, check_services, port_of
from launcher.configuration.models import Health, Restart, Service, ServiceKeys, child_names
from launcher.configuration.resolved import flatten, resolved_service
from launcher.configuration.tree import merge_defaults, origins_of, prepare_tree
from launcher.configuration.wording import TOP_KEYS, problems_of, unknown_key
from launcher.errors import ConfigInvalid, ConfigMissing, ConfigProblem
from launcher.yaml_marks import YamlProblem, load_yaml, split_lines
from launcher.yaml_nodes import MappingNode, Mark, Node, ScalarNode, to_plain

__all__ = ["Config", "Service", "child_names", "load_config", "locate_problem"]

DEFAULT_PROJECT = "lucid"


@dataclass(frozen=True)
class Config:
    """A configuration file, valid and resolved.

    `root` is the file's folder; relative paths are relative to it. `origins` tells for each dotted key of
    the resolved file where its value came from: `config.yaml:7:11`, `environment NAME` or `default`.
    `metrics_port` is where the supervisor's own metrics can be read on loopback; None for nowhere.
    `lines` and `places` are the file's text and the marks of each value and its key, for problems that are
    found later.
    """

    project: str
    path: Path
    root: Path
    services: Mapping[str, Service]
    origins: Mapping[str, str]
    metrics_port: int | None = None
    lines: tuple[str, ...] = ()
    places: Mapping[str, tuple[Mark, Mark]] = field(default_factory=dict)

    def mark(self, dotted_key: str) -> str | None:
        """The place of a value in the file (`config.yaml:7:11`); None for one that is not written there."""
        place = self.places.get(dotted_key)
        return None if place is None else f"{self.path.name}:{place[0].line}:{place[0].column}"

    def source(self, dotted_key: str) -> str:
        """The line of the file on which a value stands; empty for one that is not written there."""
        place = self.places.get(dotted_key)
        return "" if place is None else self.lines[place[0].line - 1]


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read, validate and resolve the file at `path`; `${NAME}` is looked up in `environ`.

    Raises ConfigMissing when there is no such file and ConfigInvalid with every problem found.
    """
    text = _read_text(path)
    reading = _Reading(path, text)
    document = load_yaml(text)
    reading.add(document.problems)
    if document.root is None:
        raise ConfigInvalid(reading.problems)
    root, problems = prepare_tree(document.root, environ)
    reading.add(problems)
    return reading.config(root)


def locate_problem(config: Config, dotted_key: str, message: str, *, at_key: bool = False) -> ConfigProblem:
    """A problem found after loading, at the nearest place in the file that `dotted_key` leads to.

    The caret goes under the value, or under the key with `at_key` and when the value is not written.
    """
    parts = dotted_key.split(".")
    known = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    here = next((config.places[key] for key in known if key in config.places), (Mark(1, 1), Mark(1, 1)))
    is_written = dotted_key in config.places
    mark = here[1] if at_key or not is_written else here[0]
    source = config.lines[mark.line - 1] if mark.line <= len(config.lines) else ""
    return ConfigProblem(
        mark.line, mark.column, config.path.name, dotted_key, message, source=source, width=mark.width
    )


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigMissing(path) from None
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise ConfigInvalid([ConfigProblem(1, 1, path.name, "", text)]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        text = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ConfigInvalid([ConfigProblem(line, column, path.name, "", text)]) from None


class _Reading:
    """One reading of one file: collects problems, and builds the Config when there were none."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = split_lines(text)
        self.problems: list[ConfigProblem] = []

    def add(self, problems: Iterator[YamlProblem] | tuple[YamlProblem, ...]) -> None:
        """Note problems, each with its source line."""
        for problem in problems:
            mark = problem.mark
            source = self.lines[mark.line - 1] if mark.line <= len(self.lines) else ""
            key = ".".join(problem.path)
            self.problems.append(
                ConfigProblem(
                    mark.line,
                    mark.column,
                    self.path.name,
                    key,
                    problem.message,
                    source=source,
                    width=mark.width,
                )
            )

    def config(self, root: Node) -> Config:
        """The Config; raises ConfigInvalid when anything was or is found wrong."""
        if not isinstance(root, MappingNode):
            what = "is empty" if isinstance(root, ScalarNode) and root.value is None else "is not a mapping"
            self.add((YamlProblem(root.mark, f"the file {what}; it needs at least 'services:'"),))
            raise ConfigInvalid(self.problems)
        self._check_top(root)
        drafts = {draft.name: draft for draft in self._drafts(root)}
        self.add(check_services(drafts))
        if self.problems:
            raise ConfigInvalid(_worth_saying(self.problems))
        return self._resolved(root, drafts)

    def _check_top(self, root: MappingNode) -> None:
        for key in root.entries:
            if key not in TOP_KEYS:
                self.add((unknown_key(root, (key,), (), TOP_KEYS),))
        project = root.entries.get("project")
        if project is not None and not (isinstance(project, ScalarNode) and isinstance(project.value, str)):
            self.add((YamlProblem(project.mark, "must be text", ("project",)),))
        metrics_port = root.entries.get("metrics_port")
        if metrics_port is not None and _port_number(metrics_port) is None:
            text = "must be a port number from 1 to 65535"
            self.add((YamlProblem(metrics_port.mark, text, ("metrics_port",)),))
        services = root.entries.get("services")
        is_misspelt = any(key not in TOP_KEYS for key in root.entries)
        if services is None and not is_misspelt and not any(p.key == "services" for p in self.problems):
            self.add((YamlProblem(root.mark, "is missing: the services to run", ("services",)),))

    def _mapping(self, node: Node | None, path: tuple[str, ...], mark: Mark | None) -> MappingNode | None:
        """`node` if it is a mapping, else None and a problem; None stays None."""
        if node is not None and not isinstance(node, MappingNode):
            self.add((YamlProblem(mark or node.mark, "must be a mapping of keys to values", path),))
            return None
        return node

    def _drafts(self, root: MappingNode) -> Iterator[Draft]:
        defaults = self._mapping(root.entries.get("defaults"), ("defaults",), root.key_marks.get("defaults"))
        if defaults is not None:
            self._validated(defaults, ("defaults",))
        services = self._mapping(root.entries.get("services"), ("services",), root.key_marks.get("services"))
        if services is not None and not services.entries:
            self.add((YamlProblem(root.key_marks["services"], "is empty; name a service", ("services",)),))
        for name, node in (services.entries if services is not None else {}).items():
            path = ("services", name)
            mark = services.key_marks[name] if services is not None else node.mark
            tree = self._mapping(node, path, mark)
            if tree is not None:
                merged = merge_defaults(defaults, tree)
                yield Draft(name, merged, mark, *self._validated(merged, path))

    def _validated(self, tree: MappingNode, path: tuple[str, ...]) -> tuple[ServiceKeys, frozenset[str]]:
        """What the models take of `tree`, and the keys they refuse; each refusal is noted as a problem."""
        try:
            return ServiceKeys.model_validate(to_plain(tree), by_alias=True, by_name=False), frozenset()
        except ValidationError as error:
            self.add(problems_of(error, tree, path))
            refused = frozenset(str(finding["loc"][0]) for finding in error.errors())
        taken = {key: to_plain(value) for key, value in tree.entries.items() if key not in refused}
        return ServiceKeys.model_validate(taken, by_alias=True, by_name=False), refused

    def _resolved(self, root: MappingNode, drafts: Mapping[str, Draft]) -> Config:
        folder = self.path.parent
        services: dict[str, Service] = {}
        origins: dict[str, str] = {"project": "default"}
        places = {
            key: (node.mark, root.key_marks[key])
            for key, node in root.entries.items()
            if key in ("project", "metrics_port")
        }
        for name, draft in drafts.items():
            services[name] = _resolve(name, draft.keys, folder)
            origins |= dict.fromkeys(flatten(resolved_service(services[name]), draft.path), "default")
            for origin in origins_of(draft.tree, draft.path, draft.name_mark, self.path.name):
                origins[origin.key], places[origin.key] = origin.text, (origin.mark, origin.key_mark)
        project = root.entries.get("project")
        if project is not None:
            origins["project"] = f"{self.path.name}:{project.mark.line}:{project.mark.column}"
        title = str(to_plain(project)) if project is not None else DEFAULT_PROJECT
        port = root.entries.get("metrics_port")
        number = None if port is None else _port_number(port)
        return Config(title, self.path, folder, services, origins, number, self.lines, places)


def _port_number(node: Node) -> int | None:
    value = node.value if isinstance(node, ScalarNode) else None
    is_port = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
    return value if is_port and isinstance(value, int) else None


def _worth_saying(problems: list[ConfigProblem]) -> list[ConfigProblem]:
    """The problems without those that a misspelt key above them explains."""
    unknown = {problem.key for problem in problems if problem.message.startswith("unknown key")}
    return [
        problem
        for problem in problems
        if problem.message.startswith("unknown key")
        or not any(problem.key == key or problem.key.startswith(f"{key}.") for key in unknown)
    ]


def _resolve(name: str, keys: ServiceKeys, root: Path) -> Service:
    """`keys` with paths made absolute and with what the kind of server implies."""
    fields = {field: getattr(keys, field) for field in ServiceKeys.model_fields}
    health = keys.health
    if keys.server is not None and health.kind is None:
        health = Health.model_validate({**health.model_dump(), "websocket": "stats"})
    inherits = keys.inherit_sockets
    return Service.model_validate(
        {
            **fields,
            "name": name,
            "port": port_of(keys),
            "health": health,
            "restart": _with_room(keys.restart),
            "inherit_sockets": keys.server is not None if inherits is None else inherits,
            "cwd": root / keys.cwd if keys.cwd is not None else root,
            "env_file": None if keys.env_file is None else root / keys.env_file,
        }
    )


def _with_room(restart: Restart) -> Restart:
    """`restart` with a longest delay that is at least the first: who writes only the first means it."""
    backoff = restart.backoff
    longest_s = max(backoff.initial_s, backoff.max_s)
    return restart.model_copy(update={"backoff": backoff.model_copy(update={"max_s": longest_s})})
