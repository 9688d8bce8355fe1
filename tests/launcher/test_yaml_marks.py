"""YAML becomes a tree that knows its places; what is dangerous or ambiguous is refused where it stands."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.yaml_marks import MAX_DEPTH, MAX_NODES, load_yaml
from launcher.yaml_nodes import MappingNode, ScalarNode, resolve_plain, to_plain


def plain(text: str) -> object:
    """The value of a text that must have no problems."""
    document = load_yaml(text)
    assert document.problems == ()
    assert document.root is not None
    return to_plain(document.root)


def problems(text: str) -> list[tuple[int, int, str]]:
    """(line, column, message) of each problem."""
    return [(p.mark.line, p.mark.column, p.message) for p in load_yaml(text).problems]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("010", "010"),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("-7", -7),
        ("+1.5", 1.5),
        ("2026-01-01", "2026-01-01"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("<<", "<<"),
        ("=", "="),
    ],
)
def test_plain_words_mean_what_yaml_12_says(word: str, value: object) -> None:
    """Only true and false are booleans; nothing is guessed to be a time, a date or an octal number."""
    found = resolve_plain(word)
    assert found == value
    assert type(found) is type(value)
    if word != "<<":
        assert plain(f"a: {word}") == {"a": value}


def test_quoted_words_stay_text() -> None:
    """Quotes and `!!str` keep a word as it is."""
    assert plain("a: 'true'\nb: \"5\"\nc: !!str 7\nd: |\n  1\n") == {
        "a": "true",
        "b": "5",
        "c": "7",
        "d": "1\n",
    }


def test_every_node_knows_its_place() -> None:
    """Keys and values have line, column (from 1) and width."""
    root = load_yaml("a:\n  port: 5000\n  list: [x, yy]\n").root
    assert isinstance(root, MappingNode)
    inner = root.entries["a"]
    assert isinstance(inner, MappingNode)
    port = inner.entries["port"]
    assert isinstance(port, ScalarNode)
    assert (port.mark.line, port.mark.column, port.mark.width) == (2, 9, 4)
    assert (inner.key_marks["port"].line, inner.key_marks["port"].column) == (2, 3)
    assert port.path == ("a", "port")


def test_each_duplicate_key_is_a_problem_at_its_place() -> None:
    """The first one counts, the later ones are all reported."""
    text = "a: 1\nb: 2\na: 3\nb: 4\n"
    assert [(line, column) for line, column, _ in problems(text)] == [(3, 1), (4, 1)]
    assert "first is on line 1" in problems(text)[0][2]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!int", "!mine", "!!binary", "!!timestamp", "!!set"]
)
def test_tags_are_refused(tag: str) -> None:
    """No tag can make an object; nothing is constructed."""
    (problem,) = problems(f"a: {tag} '1'\n")
    assert problem[:2] == (1, 4)
    assert "tag" in problem[2]


def test_a_merge_key_is_refused_with_the_mend() -> None:
    """`<<` has a successor here: defaults."""
    (problem,) = problems("x: &x {a: 1}\ny:\n  <<: *x\n")
    assert problem[:2] == (3, 3)
    assert "defaults" in problem[2]


def test_aliases_work() -> None:
    """An anchor and its alias give the same value."""
    assert plain("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_bomb_fails_fast_and_small() -> None:
    """Nine levels of nine aliases are refused within 100 ms and 50 MB."""
    lines = ["l0: &l0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    tracemalloc.start()
    began = time.process_time()
    found = problems("\n".join(lines))
    spent_s = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 1
    assert str(MAX_NODES) in found[0][2]
    assert peak < 50_000_000
    assert spent_s < 1.0  # tracing slows it tenfold


def test_an_alias_inside_its_own_anchor_is_refused() -> None:
    """No tree can hold itself."""
    assert "no anchor before it" in problems("a: &x [*x]\n")[0][2]


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "{a: " * 200 + "1" + "}" * 200])
def test_deep_nesting_is_refused(text: str) -> None:
    """Depth is limited before Python's own stack is."""
    (problem,) = problems(text)
    assert str(MAX_DEPTH) in problem[2]


def test_a_huge_file_is_refused() -> None:
    """Beyond a mebibyte it is no configuration."""
    assert "larger" in problems("a: " + "x" * (1024 * 1024))[0][2]


def test_a_tab_gets_its_own_words() -> None:
    """The commonest YAML mistake is named as what it is, at the tab."""
    assert problems("a:\n\tb: 1\n") == [(2, 1, "a tab; YAML is indented with spaces only")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b: c\n", "one ': ' too many"),
        ("a: [1, 2\n", "',' or ']' is missing"),
        ("a: 'open\n", "quote is opened"),
        ("a: 1\nb\nc: 2\n", "':' is missing"),
        ("a:\n    b: 1\n  c: 2\n", "indentation does not match"),
        ("a: @b\n", "put the value in quotes"),
        ("a: \x01\n", "U+0001"),
        ("? [a]\n: 1\n", "a single word"),
        ("a: 1\n---\nb: 2\n", "one document"),
    ],
)
def test_syntax_errors_are_said_in_plain_words(text: str, words: str) -> None:
    """Each has a place and a sentence without the parser's terms."""
    found = problems(text)
    assert len(found) == 1
    assert words in found[0][2]


@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    """Whatever comes in, a document or problems come out, with places inside the text."""
    document = load_yaml(text)
    assert document.root is not None or document.problems
    for problem in document.problems:
        assert problem.mark.line >= 1
        assert problem.mark.column >= 1


@given(
    st.recursive(
        st.booleans() | st.integers(-(10**9), 10**9) | st.text("abcxyz -:#'\"\n", max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abc:# ", max_size=5), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_json_reads_as_itself(value: object) -> None:
    """JSON is YAML: what one writer quotes, this reader returns unchanged."""
    import json

    document = load_yaml(json.dumps(value))
    assert document.root is not None
    assert to_plain(document.root) == value
