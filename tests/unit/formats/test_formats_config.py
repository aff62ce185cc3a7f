"""Configuration files: read strictly, edited in place, merged by level."""

from __future__ import annotations

import pytest

from pyexp.errors import FormatError, UsageError
from pyexp.formats import config
from pyexp.formats.config import Config

DVC_WROTE = """\
[cache]
    type = "reflink,copy"
[core]
    remote = my.rem
['remote "my.rem"']
    url = "s3://a/b#c"
    profile = it "q" x
    region = "pa'ss, w#"
"""


def test_what_is_written_is_what_dvc_writes() -> None:
    text = ""
    for option, value in (
        ("cache.type", "reflink,copy"),
        ("core.remote", "my.rem"),
        ("remote.my.rem.url", "s3://a/b#c"),
        ("remote.my.rem.profile", 'it "q" x'),
        ("remote.my.rem.region", "pa'ss, w#"),
    ):
        text = config.set_option(text, "config", option, value)
        assert Config({"repo": config.parse(text, "config")}).get(option) == value
    assert text == DVC_WROTE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# only\n; comments\n", {}),
        ("['remote \"A B\"']\n URL = /x # c\n", {'remote "a b"': {"url": "/x"}}),
        ("[remote \"z\"] # c\nurl='a'#c\n", {'remote "z"': {"url": "a"}}),
        ("\ufeff[core]\r\n    remote = a\r\n", {"core": {"remote": "a"}}),
        (
            "[cache]\ntype = copy, symlink\n[exp]\nauto_push=on\n",
            {"cache": {"type": "copy, symlink"}, "exp": {"auto_push": "on"}},
        ),
        ("[core]\nremote = \n", {"core": {"remote": ""}}),
        ("[gc]\ngrace_seconds = 3\n", {"gc": {"grace_seconds": "3"}}),
        ("[feature]\nanything = 1\n", {"feature": {"anything": "1"}}),
    ],
)
def test_parse(text: str, expected: dict[str, dict[str, str]]) -> None:
    assert config.parse(text, "config") == expected


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[core]\nremot = x\n", 2, "unknown option 'remot' in [core] (did you mean 'remote'?)"),
        ("\n[cor]\n", 2, "unknown section [cor] (did you mean 'core'?)"),
        ("x = 1\n", 1, "before the first [section]"),
        ("[core]\nanalytics = maybe\n", 2, "wants true or false"),
        ("[core]\nchecksum_jobs = many\n", 2, "wants a number"),
        ("[parsing]\nlist = x\n", 2, "nargs or append"),
        ("[remote]\nurl = 1\n", 1, "unknown section [remote]"),
        ("['core \"x\"']\n", 1, "unknown section"),
        ("[core]\nremote = a\n[core]\n", 3, "is there twice"),
        ("[core]\nremote = a\nREMOTE = b\n", 3, "is set twice"),
        ("[core]\nfoo\n", 2, "no 'option = value'"),
        ("[core]\nremote = 'x\n", 2, "quote is not closed"),
        ("[core]\nremote = '''x\n", 2, "several lines"),
    ],
)
def test_mistakes_name_their_line(text: str, line: int, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        config.parse(text, ".dvc/config")
    assert (caught.value.path, caught.value.line) == (".dvc/config", line)
    assert words in caught.value.message


TEXT = "# mine\n[core]\n  remote=a # why\n\n['remote \"a\"']\n    url = /x\n    jobs = 4\n"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("core.remote", "b", TEXT.replace("remote=a #", "remote= b #")),
        ("core.autostage", "true", TEXT.replace("# why\n", "# why\n    autostage = true\n")),
        ("remote.a.jobs", "8", TEXT.replace("jobs = 4", "jobs = 8")),
        ("remote.A.Jobs", None, TEXT.replace("    jobs = 4\n", "")),
        ("remote.a", None, "# mine\n[core]\n  remote=a # why\n\n"),
        ("core.remote", None, TEXT.replace("[core]\n  remote=a # why\n", "")),
        ("exp.pass_env", "A B", TEXT + "[exp]\n    pass_env = A B\n"),
        ("remote.b.c.url", "", TEXT + '[\'remote "b.c"\']\n    url = ""\n'),
    ],
)
def test_set_option_keeps_every_other_byte(option: str, value: str | None, expected: str) -> None:
    assert config.set_option(TEXT, "config", option, value) == expected
    crlf = config.set_option(TEXT.replace("\n", "\r\n"), "config", option, value)
    assert crlf == expected.replace("\n", "\r\n")


def test_a_file_without_final_newline() -> None:
    assert config.set_option("[core]\n    remote = a", "c", "core.remote", "b") == "[core]\n    remote = b"
    assert config.set_option("[core]\n    remote = a", "c", "exp.auto_push", "true").endswith(
        "a\n[exp]\n    auto_push = true\n"
    )
    added = config.set_option("[core]\n    remote = a", "c", "core.autostage", "true")
    assert config.parse(added, "c") == {"core": {"remote": "a", "autostage": "true"}}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("core", "x"), ("core.nope", "x"), ("nope.x", "1"), ("remote.url", "x"), ("core.autostage", "maybe"), ("core.a.b", "x"),
        ("core.remote", "a\nb"), ("core.machine", None), ("remote.zz", None),
    ],
)  # fmt: skip
def test_what_cannot_be_set(option: str, value: str | None) -> None:
    with pytest.raises(UsageError):
        config.set_option(TEXT, "config", option, value)


def test_levels() -> None:
    merged = Config(
        {
            "local": {"core": {"remote": "l"}, 'remote "r.x"': {"password": "p"}},
            "system": {"core": {"remote": "s", "autostage": "On", "checksum_jobs": "3"}},
            "repo": {'remote "r.x"': {"url": "/u", "password": "q"}},
        }
    )
    assert (merged.get("core.remote"), merged.origin("core.remote")) == ("l", "local")
    assert (merged.get("core.machine"), merged.origin("core.machine")) == (None, None)
    assert merged.get_bool("core.autostage") is True
    assert merged.get_bool("core.analytics", True) is True
    assert merged.get_int("core.checksum_jobs") == 3
    assert merged.get_int("pyexp.jobs", 2) == 2
    assert merged.remotes() == {"r.x": {"url": "/u", "password": "p"}}
    assert dict(merged.items())["remote.r.x.password"] == "p"


@pytest.mark.parametrize(
    "option", ["remote.a.password", "studio.token", "remote.x.y.secret_access_key", "remote.a.sas_token"]
)
def test_secrets(option: str) -> None:
    assert config.is_secret(option)


@pytest.mark.parametrize(
    "option", ["core.remote", "remote.a.url", "remote.a.keyfile", "remote.a.ask_password", "remote.a.user"]
)
def test_no_secrets(option: str) -> None:
    assert not config.is_secret(option)
