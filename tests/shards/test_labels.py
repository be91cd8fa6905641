"""Label rules: what each spelling takes for the identity, and that no two identities become one."""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wds_face.errors import WdsFaceError
from wds_face.shards.label_pattern import compile_pattern
from wds_face.shards.labels import (
    MAX_JSON,
    MAX_KEY,
    MAX_LABEL,
    Label,
    PatternRule,
    candidates,
    recorded_rule,
    same_number,
    whole_number,
)

quick = settings(deadline=None, max_examples=200)


def read(spec: str, key: str = "", **members: bytes) -> Label:
    rule = candidates(spec)[0]
    assert rule.spec == spec
    return rule.read(key, {name.replace("_", "."): memoryview(data) for name, data in members.items()})


def text(spec: str, key: str = "", **members: bytes) -> str:
    return read(spec, key, **members).text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"7", "7"),
        (b" 7\r\n", "7"),
        (b"007", "007"),
        (b"+7", "+7"),
        (b"10.0", "10.0"),
        ("１".encode(), "１"),
        ("Zoë".encode(), "Zoë"),
        ("Zoë".encode("latin-1"), "Zo\udceb"),
        (b"Ann Lee", "Ann Lee"),
    ],
)
def test_a_text_member_is_the_label_as_it_is_spelled(content: bytes, expected: str) -> None:
    assert text("cls", cls=content) == expected
    assert text("person.txt", person_txt=content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"7", "7"), (b"007", "7"), (b"+7", "7"), (b"-7", "-7"), (b"7.0", "7"), ("１".encode(), "1"), (b"10.00", "10")],
)
def test_whole_numbers_in_any_spelling(content: bytes, expected: str) -> None:
    assert text("cls:number", cls=content) == expected
    assert text("json:label:number", json=json.dumps({"label": content.decode()}).encode()) == expected


@pytest.mark.parametrize("content", [b"7.5", b"ann", b"1e3", b"0x7", b"7" * 5000])
def test_what_is_no_whole_number(content: bytes) -> None:
    assert read("cls:number", cls=content).kind == "bad"


@pytest.mark.parametrize(
    ("spec", "members", "kind"),
    [
        ("cls", {}, "missing"),
        ("cls", {"cls": b""}, "missing"),
        ("cls", {"cls": b" \n"}, "missing"),
        ("cls", {"cls": struct.pack("<i", 300)}, "binary"),
        ("cls", {"cls": pickle.dumps(3)}, "binary"),
        ("cls", {"cls": b"x" * (MAX_LABEL + 1)}, "bad"),
        ("cls:int", {"cls": b"123"}, "bad"),
        ("json:label", {"json": b"{}"}, "missing"),
        ("json:label", {"json": b'{"label": null}'}, "missing"),
        ("json:label", {"json": b'{"label": NaN}'}, "missing"),
        ("json:label", {"json": b'{"label": ""}'}, "missing"),
        ("json:label", {"json": b'{"label": true}'}, "bad"),
        ("json:label", {"json": b'{"label": [1]}'}, "bad"),
        ("json:label", {"json": b'{"label": "\\ud800x"}'}, "bad"),
        ("json:label", {"json": b'{"label": "\\udc80"}'}, "bad"),
        ("json:label", {"json": b"["}, "bad"),
        ("json:label", {"json": b"[" * 200_000}, "bad"),
        ("json:label", {"json": b" " * (MAX_JSON + 1)}, "bad"),
        ("json:a.b", {"json": b'{"a": 3}'}, "missing"),
        ("key:text", {}, "missing"),
    ],
)
def test_what_is_no_label(spec: str, members: dict[str, bytes], kind: str) -> None:
    label = read(spec, "1", **members)
    assert (label.text, label.kind) == ("", kind)
    assert label.problem
    assert "\n" not in label.problem


@pytest.mark.parametrize(
    ("content", "path", "expected"),
    [
        ({"label": 3}, "label", "3"),
        ({"label": 3.0}, "label", "3"),
        ({"label": 3.5}, "label", "3.5"),
        ({"label": " ann "}, "label", "ann"),
        ({"id": 9}, "id", "9"),
        ({"person": {"name": {"full": "ann"}}}, "person.name.full", "ann"),
        ({"person.name": "bob", "person": {"name": "ann"}}, "person.name", "bob"),
        ({"a": {"b.c": "ann"}}, "a.b.c", "ann"),
        ({"schema:id": "ann"}, "schema:id", "ann"),
    ],
)
def test_fields_of_json(content: object, path: str, expected: str) -> None:
    assert text(f"json:{path}", json=json.dumps(content).encode()) == expected


def test_no_digit_of_a_number_in_json_is_lost() -> None:
    numbers = ["9007199254740993.0", "9007199254740992.0", "0.1", "0.10000000000000000001", "1" * 5000]
    assert len({text("json:label", json=f'{{"label": {number}}}'.encode()) for number in numbers}) == len(numbers)


@pytest.mark.parametrize(
    ("spec", "key", "expected"),
    [
        ("key", "ann/0001", "ann"),
        ("key", "./ann/0001", "ann"),
        ("key", "././1", ""),
        ("key", "x/ann/1", "x/ann"),
        ("key", "m.0107/1", "m.0107"),
        ("key:number", "0000123/000004", "123"),
        ("key:text", "0000123/000004", "0000123"),
        ("key:([^/]+)/[^/]*$", "train/ann/1", "ann"),
        ("key:^([^/]+)/", "./ann/trip/1", "ann"),
        ("key:(.+)_", "Ann_Bee_0001", "Ann_Bee"),
        ("key:(?P<who>[a-z]+)-(x)", "ann-x", "ann"),
        ("key:(?P<set>[a-z]+)-(?P<label>[a-z]+)", "one-ann", "ann"),
        ("key:(a)?b", "b", ""),
        ("key:^([0-9]+)$", "x", ""),
        ("key:(.*):text", "ann:text", "ann"),
    ],
)
def test_labels_in_the_key(spec: str, key: str, expected: str) -> None:
    assert text(spec, key) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("key:(", "not a regular expression"),
        ("key:ann", "put what is the label into parentheses"),
        ("key:(?P<a>x)(?P<b>y)", "2 named groups"),
        ("key:((a+)+)$", "repetition within a repetition"),
        ("key:((a|aa)+)$", "repetition within a repetition"),
        ("key:(([^/]+/)*)", "repetition within a repetition"),
        ("key:((a|a)*)b", "repetition within a repetition"),
        ("key:(.*.*.*.*)x", "at most 3 of"),
        ("key:(a?a?a?a?a?a?a?)b", "and at most 6 of"),
        ("", "it must be auto"),
        ("key:", "it must be auto"),
        ("json:", "it must be auto"),
        ("auto:text", "it must be auto"),
        ("a/b", "it must be auto"),
        ("cls:utf8", "it must be auto"),
        ("key:int", "put what is the label"),
        (".cls", "it must be auto"),
        ("JPG", "is the image"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(WdsFaceError, match=message) as error:
        candidates(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pattern", ["(.*.*.*)x$", "(a?b?c?.*.*.*)x$"])
def test_a_search_ends_in_time(pattern: str) -> None:
    rule = PatternRule(pattern)
    begin = time.thread_time()
    with contextlib.suppress(WdsFaceError):
        rule.read("a" * (MAX_KEY // 2), {})
    assert time.thread_time() - begin < 20


def test_an_expression_that_takes_long_on_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wds_face.shards.labels._SLOW", 0.01)
    with pytest.raises(WdsFaceError, match="takes seconds on the key 'aaa"):
        PatternRule("(.*.*.*)x$").read("a" * MAX_KEY, {})


def test_a_key_that_is_too_long_for_an_expression() -> None:
    assert text("key:(a+)", "a" * MAX_KEY) == "a" * MAX_KEY
    assert read("key:(a+)", "a" * (MAX_KEY + 1)).kind == "bad"


def test_what_older_versions_recorded_still_reads() -> None:
    def members(content: bytes) -> dict[str, memoryview]:
        return {"json": memoryview(content)}

    assert recorded_rule("json").read("", members(b'{"id": 3}')).text == "3"
    assert recorded_rule("json").read("", members(b'{"id": 3, "label": 4.0}')).text == "4"
    assert recorded_rule("json:a.b").read("", members(b'{"a.b": 3}')).text == "3"
    assert recorded_rule("key").read("7-1", {}).text == "7"
    assert recorded_rule("key").read("0000007/000001", {}).text == "0000007"
    assert recorded_rule("cls").read("", {"cls": memoryview(b"3")}).text == "3"
    assert recorded_rule("auto").read("7/1", {}).text == "7"


def test_spellings_of_one_number() -> None:
    assert same_number(["1", "7", "ann", "007"]) == ("7", "007")
    assert same_number(["7", "+7"]) == ("7", "+7")
    assert same_number(["10.0", "10"]) == ("10.0", "10")
    assert same_number(["1", "１"]) == ("1", "１")
    assert same_number(["007", "08", "7.5", "x"]) is None


def test_whole_numbers_are_ascii() -> None:
    assert whole_number("007") == 7
    assert [whole_number(label) for label in ("１", "+7", "7.0", "", "9" * 19)] == [None] * 5


@quick
@given(st.lists(st.binary(min_size=1, max_size=12), unique_by=lambda data: data.strip(b" \t\r\n")))
def test_distinct_bytes_are_distinct_identities(contents: list[bytes]) -> None:
    """White space around a text apart, which is no part of it."""
    labels = [read("cls", cls=data) for data in contents]
    named = [label.text for label in labels if label.text]
    assert len(set(named)) == len(named)
    for data, label in zip(contents, labels, strict=True):
        assert not label.text or label.text.encode("utf-8", "surrogateescape") == data.strip(b" \t\r\n")
    assert len({text("cls:hex", cls=data) for data in contents}) == len(contents)


@quick
@given(st.lists(st.integers(-(2**31), 2**31 - 1), unique=True))
def test_binary_integers_are_read_or_refused(numbers: list[int]) -> None:
    contents = [struct.pack("<i", number) for number in numbers]
    assert [text("cls:int", cls=data) for data in contents] == [str(number) for number in numbers]
    for number, data in zip(numbers, contents, strict=True):
        if 0 <= number < 1 << 24:  # a label of a data set has a zero byte
            assert read("cls", cls=data).kind == "binary"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.text(min_size=1), st.integers()), unique_by=lambda value: str(value).strip(" \t\r\n")))
def test_distinct_values_in_json_are_distinct_identities(values: list[str | int]) -> None:
    labels = [text("json:who", json=json.dumps({"who": value}).encode()) for value in values]
    named = [label for label in labels if label]
    assert len(set(named)) == len(named)


@quick
@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_refused_in_one_line(spec: str) -> None:
    try:
        rules = candidates(spec)
    except WdsFaceError as error:
        assert "\n" not in str(error)  # noqa: PT017 (some are refused, some are not)
        return
    for rule in rules:
        assert candidates(rule.spec)[0] == rule
        rule.read("a/b_1", {"json": memoryview(b"{}"), "cls": memoryview(b"3")})


@quick
@given(st.from_regex(r"[ab/(|)*+?\[\]\^$.{}1,2]{0,14}", fullmatch=True))
def test_expressions_that_are_taken_end_in_time(pattern: str) -> None:
    try:
        compiled = compile_pattern(pattern)
    except WdsFaceError:
        return
    begin = time.thread_time()
    compiled.search("a" * 40)
    assert time.thread_time() - begin < 5
