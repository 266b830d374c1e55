import pytest

from ssinfnet.storage import strict_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 8)}]\n"
    for before, name in zip("abcde", "bcdef", strict=True)
)


def test_plain_values_come_as_they_are_written():
    text = "{a: 1, b: 1e-4, c: 1.5, d: yes, e: null, f: [x, 'y'], g: {h: 0x10}}"
    wanted = {"a": 1, "b": 1e-4, "c": 1.5, "d": True, "e": None, "f": ["x", "y"], "g": {"h": 16}}
    assert strict_yaml.parse(text, "it") == wanted


def test_an_alias_stands_for_what_it_names():
    assert strict_yaml.parse("a: &short {b: 1}\nc: *short", "it")["c"] == {"b": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "more than 10000 values"),
        ("a: &a [*a]", "holds itself"),
        ("[" * 21 + "]" * 21, "nested deeper than 20"),
        ("[" * 5000 + "]" * 5000, "nested deeper than 20"),
        ("a: 1\n'a': 2", "key a is given twice in line 2"),
        ("[{b: 1, b: 2}]", "key b is given twice"),
        ("? [1]\n: 2", "a key is a list"),
        ("x" * 65537, "more than 65536 characters"),
        ("a: 2021-01-01", "got 'timestamp' in line 1; put text in quotes"),
        ("a: !!python/object/apply:os.system [ls]", "got 'python/object/apply"),
        ("a: !!binary eA==", "got 'binary'"),
        ("a: &a {b: 1}\nc: {<<: *a}", "got 'merge'"),
        ("!!bool maybe", "not YAML that is read here"),
        ("!!float " + ":".join(["59"] * 400), "not YAML that is read here"),
        ("9" * 5000, "not YAML that is read here"),
        ("a: [", "not YAML that is read here"),
        ("a: 1\n--- b", "not YAML that is read here"),
        ("a: \x07", "not YAML that is read here"),
    ],
)
def test_what_no_study_needs_is_refused_and_named(text, words):
    with pytest.raises(ValueError, match="^it ") as refused:
        strict_yaml.parse(text, "it")
    assert words in str(refused.value)


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(ValueError, match=r"a\.yaml is not YAML in UTF-8"):
        strict_yaml.read(path)
    path.write_bytes(b"a" * 10**6)
    with pytest.raises(ValueError, match=r"a\.yaml has more than 65536 characters"):
        strict_yaml.read(path)
