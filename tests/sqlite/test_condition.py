"""Conditions of strangers: what they mean, what they may not ask, and that they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from watcher.changes import InvalidText, Value
from watcher.errors import BadFilter
from watcher.sqlite.condition import MAX_EXPRESSION, Condition

DECLARED = {"n": ("INTEGER", "BINARY"), "t": ("TEXT", "NOCASE"), "x": ("BLOB", "BINARY")}
ROWS: list[list[Value]] = [
    [1, "abc", None],
    [2, "ABC", "3"],
    [None, InvalidText(b"a\xff"), b"3"],
    [3, "a\0b", 3.0],
]


def matching(expression: str, rows: Sequence[Sequence[Value]] = ROWS) -> list[int]:
    """Which rows an expression is true of."""
    found = Condition(expression).matches("items", tuple(DECLARED), DECLARED, rows)
    return [number for number, is_true in enumerate(found) if is_true]


@pytest.mark.parametrize(
    ("expression", "numbers"),
    [
        ("n > 1", [1, 3]),
        ("n = '2'", [1]),
        ("items.n IS NULL", [2]),
        ('"n" IN (1, 3)', [0, 3]),
        ("NOT n", []),
        ("t = 'abc'", [0, 1]),
        ("t COLLATE BINARY = 'abc'", [0]),
        ("t LIKE 'a%'", [0, 1, 2, 3]),
        ("t GLOB 'a*'", [0, 2, 3]),
        ("t LIKE 'A!%' ESCAPE '!'", []),
        ("CAST(t AS BLOB) = x'61ff'", [2]),
        ("length(CAST(t AS BLOB)) = 3", [0, 1, 3]),
        ("typeof(x) = 'text'", [1]),
        ("x = 3", [3]),
        ("x BETWEEN 2 AND 4 -- and no more", [3]),
        ("CASE n WHEN 1 THEN t ELSE 1 END", [1, 2, 3]),
        ("(n, t) = (1, 'abc')", [0]),
        ("max(n, 2) = 2", [0, 1]),
        ("1", [0, 1, 2, 3]),
        ("NULL", []),
    ],
)
def test_it_means_what_it_would_after_where(expression: str, numbers: list[int]) -> None:
    """With the affinity and collation of each column."""
    assert matching(expression) == numbers


@pytest.mark.parametrize("text", ["é", "\0", "a\0", "\U0001f600"])
def test_values_reach_it_whole(text: str) -> None:
    assert matching("length(CAST(t AS BLOB)) > 0", [[1, text, None]]) == [0]
    assert matching("t IS NULL", [[1, text, None]]) == []


REFUSED = {
    "nothing": ("", "syntax error"),
    "half": ("n >", "syntax error: it is not complete"),
    "a bracket too many": ("n > 1)", "syntax error"),
    "unknown column": ("missing > 1", "no such column: missing"),
    "unknown table": ("other.n > 1", "no such column: other.n"),
    "its own number": ("rowid > 1", "no such column: rowid"),
    "text in double quotes": ('n = "one"', "no such column: .one"),
    "unknown function": ("f(n)", "no such function: f"),
    "subquery": ("n IN (SELECT 1)", "query of its own"),
    "exists": ("EXISTS (SELECT 1)", "query of its own"),
    "values": ("n IN (VALUES(1))", "query of its own|compound"),
    "schema": ("(SELECT sql FROM sqlite_schema)", "may only be"),
    "recursion": (
        "(WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i) SELECT max(x) FROM i)",
        "query of its own|compound|may only be",
    ),
    "table function": ("n IN generate_series", "no such table|query|may only"),
    "pragma": ("n IN pragma_database_list", "no such table|query|may only"),
    "pragma statement": ("1); PRAGMA writable_schema=1; SELECT (1", "may only be|query of its own"),
    "attach": ("1); ATTACH '/tmp/x' AS x; SELECT (1", "may only be|query of its own|too many"),
    "drop": ("1); DROP TABLE t0; SELECT (1", "may only be|query of its own"),
    "begin": ("1); BEGIN; SELECT (1", "may only be|query of its own"),
    "second statement": ("1); SELECT (1", "query of its own"),
    "semicolon": ("n > 1;", "syntax error"),
    "union": ("1) UNION SELECT (1", "compound|query of its own"),
    "order": ("1) ORDER BY (1", "syntax error"),
    "limit": ("1) LIMIT (1", "syntax error"),
    "group": ("1) GROUP BY (n", "syntax error"),
    "having": ("1) HAVING (n", "syntax error"),
    "join": ("1), items AS (1", "syntax error"),
    "aggregate": ("max(n) > 1", "aggregate"),
    "window": ("min(n) OVER () > 1", "window function"),
    "open comment": ("n > 1 /* ", "incomplete|syntax"),
    "parameter": ("n > ?", "parameters"),
    "named parameter": ("n > :n", "parameters"),
    "load_extension": ("load_extension('x')", "may not call the function load_extension"),
    "readfile": ("readfile('/etc/passwd')", "no such function|may not call"),
    "randomblob": ("randomblob(1000000000)", "may not call the function randomblob"),
    "zeroblob": ("length(zeroblob(1000000000))", "may not call the function zeroblob"),
    "printf": ("printf('%.*c', 1000000000, 'x')", "may not call the function printf"),
    "format": ("format('%1000000000d', 1)", "may not call the function format"),
    "random": ("random() > 0", "may not call the function random"),
    "changes": ("changes()", "may not call the function changes"),
    "version": ("sqlite_version()", "may not call the function sqlite_version"),
    "replace": ("replace(t, 'a', t)", "may not call the function replace"),
    "instr": ("instr(t, t)", "may not call the function instr"),
    "trim of a set": ("trim(t, t)", "wrong number of arguments"),
    "regexp": ("t REGEXP 'a'", "no such function: REGEXP|may not call"),
    "match": ("t MATCH 'a'", "may not call"),
    "raise": ("RAISE(ABORT, 'x')", "trigger"),
    "depth": ("-~" * 200 + "1", "depth|overflow|too deep"),
    "length": ("1" * (MAX_EXPRESSION + 1), "longer than 4096"),
    "arguments": (f"max({','.join(['1'] * 40)})", "too many arguments"),
    "NUL": ("n > 1\0", "incomplete|syntax|NUL|null"),
    "surrogate": ("t = '\ud800'", "surrogates"),
}


@pytest.mark.fault("H8")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_more_than_an_expression_is_refused(what: str) -> None:
    """With one sentence that says why; and what is asked next is answered."""
    expression, reason = REFUSED[what]
    with pytest.raises(BadFilter, match=reason):
        Condition(expression).reads("items", tuple(DECLARED), DECLARED)


THREES = "hex(" * 30 + "'3'" + ")" * 30
COSTLY = {
    "blow-up": f"length({THREES}) > 0",
    "blow-up by joining": "t" + " || t" * 90 + " = ''",
    "many blow-ups": " OR ".join([f"length({'hex(' * 14}t{')' * 14}) = 1"] * 40),
    "pattern": " OR ".join([f"{'hex(' * 11}'333'{')' * 11} || '4' LIKE '%{'3' * 90}5'"] * 20),
    "glob": " OR ".join([f"{'hex(' * 11}'333'{')' * 11} GLOB '*{'[3]' * 30}5'"] * 20),
    "long pattern": f"t LIKE '%{'a' * 200}'",
    "dates": " + ".join(["timediff('0000-01-01', '9999-01-01')"] * 60),
}


@pytest.mark.fault("H8")
@pytest.mark.parametrize("what", COSTLY)
def test_what_costs_much_ends_soon(what: str) -> None:
    """It is evaluated, or refused, in little more than the time it has, for a thousand rows."""
    rows: list[list[Value]] = [[1, "a" * 1000, None]] * 1000
    began = time.monotonic()
    try:
        Condition(COSTLY[what]).matches("items", tuple(DECLARED), DECLARED, rows)
    except BadFilter as error:
        assert str(error)  # noqa: PT017 - that it may also be evaluated is the claim
    assert time.monotonic() - began < 2.0


@pytest.mark.fault("H8")
def test_the_clock_stops_it_and_the_next_rows_are_looked_at_anew() -> None:
    """What takes too long is said; the condition itself is not spoilt by it."""
    costly = " AND ".join(["length(t || hex(t)) > n"] * 60)
    condition = Condition(costly, seconds=0.05)
    began = time.monotonic()
    with pytest.raises(BadFilter, match="takes too long"):
        condition.matches("items", tuple(DECLARED), DECLARED, [[1, "a" * 9999, None]] * 1000)
    assert time.monotonic() - began < 1.0
    assert condition.matches("items", tuple(DECLARED), DECLARED, [[1, "a", None]]) == [True]


@pytest.mark.fault("H8")
def test_too_large_a_value_is_said() -> None:
    with pytest.raises(BadFilter, match="makes too large a value"):
        matching(f"{THREES} = n")


@pytest.mark.fault("H8")
def test_one_that_takes_long_holds_up_no_other_thread() -> None:
    """SQLite works without the interpreter's lock: another condition is evaluated meanwhile."""
    costly = Condition(" AND ".join(["length(t || hex(t)) > n"] * 60), seconds=1.0)
    rows: list[list[Value]] = [[1, "a" * 20_000, None]] * 1000

    def work() -> None:
        with pytest.raises(BadFilter, match="takes too long"):
            costly.matches("items", tuple(DECLARED), DECLARED, rows)

    thread = threading.Thread(target=work)
    thread.start()
    answered = 0
    while thread.is_alive():
        assert matching("n > 1") == [1, 3]
        answered += 1
    thread.join()
    assert answered >= 10


def test_many_shapes_are_told_apart() -> None:
    """Tables of the same name with other columns, more of them than are remembered."""
    condition = Condition("n > 1")
    for number in [*range(100), 1, 99]:
        columns = ("n", f"c{number}")
        declared = {"n": ("TEXT" if number % 2 else "INTEGER", "BINARY")}
        assert condition.reads("items", columns, declared) == {"n"}
        assert condition.matches("items", columns, declared, [["x", 1], [0, 2]]) == [True, False]


def test_a_table_may_have_any_names() -> None:
    columns = ('a"b', "watcher row number", "rowid", "]", "é;--")
    condition = Condition('"a""b" = 1 AND rowid = 3 AND [watcher row number] = 2')
    rows = [[1, 2, 3, 4, 5], [1, 2, 4, 4, 5]]
    assert condition.matches('x"; y', columns, {}, rows) == [True, False]
