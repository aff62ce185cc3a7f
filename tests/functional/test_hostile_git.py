"""What a stranger's repository would like to have run: nothing is, but the stages the user asks for."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from functional.stranger import Stranger
from functional.test_servers import place

from pyexp.git import credentials
from pyexp.git import repo as repository

READERS = (
    "status",
    "diff",
    "list . -R",
    "exp list",
    "exp show --no-pager",
    "dag",
    "doctor",
    "git status",
    "git diff",
    "git log",
    "git add .",
    "git branch",
    "git switch other",
    "git checkout -- .",
    "exp save --force",
    "exp apply one --force",
    "exp run --queue",
    "checkout --force",
    "pull",
    "fetch",
    "push",
    "exp pull origin",
    "exp push origin",
    "exp list origin",
    "git pull",
    "git push",
    "update odd.dvc",
    "pull odd.dvc",
    "get . raw.txt -o got.txt --force",
    "gc --workspace --force",
    "git commit -a -m message",
)


@pytest.fixture
def canary(stranger: Stranger) -> str:
    """A command that leaves a trace outside, whether a shell reads it or not, and whatever is given to it."""
    script = stranger.base / "outside/evil"
    script.write_text(f"#!/bin/sh\ntouch '{stranger.base}/outside/RUN'\nexit 1\n")
    script.chmod(0o755)
    return str(script)


NO_SSH = {"GIT_SSH_COMMAND": "false"}


def look(stranger: Stranger, commands: tuple[str, ...] = READERS, env: dict[str, str] | None = None) -> None:
    for command in commands:
        stranger.run(*command.split(), env=NO_SSH if env is None else env)
        assert not (stranger.base / "outside/RUN").exists(), command


def prepare(stranger: Stranger) -> None:
    for words in (
        ["repro"],
        ["exp", "run", "-n", "one", "-S", "lr=0.9"],
        ["git", "switch", "-c", "other"],
        ["git", "switch", "master"],
    ):
        assert stranger.run(*words).code == 0, words


URLS = {
    "a transport that runs": "ext::sh -c {canary}",
    "options for ssh": "ssh://-oProxyCommand={canary}/x",
    "options for ssh, short": "-oProxyCommand={canary}:x",
    "a user that is an option": "ssh://-oProxyCommand={canary}@host/x",
    "a port that is an option": "ssh://host:-oProxyCommand={canary}/x",
    "a path that is an option": "ssh://localhost/--upload-pack={canary}",
    "a program": "--upload-pack={canary}",
    "a file that is an option": "file://--upload-pack={canary}",
    "a shell's words": "ssh://localhost/`{canary}`",
    "more of them": "localhost:$({canary})",
    "fd": "fd::17",
}


@pytest.mark.parametrize("kind", URLS)
def test_urls_that_would_be_run(stranger: Stranger, canary: str, kind: str) -> None:
    url = URLS[kind].format(canary=canary)
    prepare(stranger)
    ctl, quoted = stranger.control.name, url.replace("%", "%%")
    stranger.space.put(
        f"{ctl}/config",
        f'[core]\n    remote = r\n["remote \\"r\\""]\n    url = "{quoted}"\n[exp]\n    git_remote = "{quoted}"\n',
    )
    with (stranger.root / ".git/config").open("a") as file:
        file.write(f'[remote "origin"]\n\turl = "{url}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n')
        file.write('[branch "master"]\n\tremote = origin\n\tmerge = refs/heads/master\n')
    import json

    stranger.space.put(
        "odd.dvc",
        f"frozen: true\ndeps:\n- path: x\n  repo:\n    url: {json.dumps(url)}\nouts:\n- path: odd\n",
    )
    look(stranger)
    for command in (["exp", "pull", url], ["exp", "list", url], ["git", "clone", url, "cloned"], ["list", url]):
        stranger.run(*command, env={"GIT_SSH_COMMAND": "false"})
        assert not (stranger.base / "outside/RUN").exists(), command


def test_what_a_tree_names_is_not_run(stranger: Stranger, canary: str) -> None:
    """Files of git in the tree, not in ``.git``: a config, hooks, attributes that name filters nobody has configured."""
    prepare(stranger)
    put = stranger.space.put
    put(".gitattributes", "* filter=evil diff=evil merge=evil\n*.txt filter=evil\n")
    put(".gitconfig", f'[filter "evil"]\n\tclean = {canary}\n\tsmudge = {canary}\n[core]\n\tfsmonitor = {canary}\n')
    put("config", f'[filter "evil"]\n\tclean = {canary}\n\tsmudge = {canary}\n')
    put(".githooks/pre-commit", f"#!/bin/sh\n{canary}\n")
    put("hooks/post-checkout", f"#!/bin/sh\n{canary}\n")
    put(".lfsconfig", f"[lfs]\n\turl = ext::{canary}\n")
    put(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c {canary}\n\tupdate = !{canary}\n')
    for hook in ("x/hooks/post-checkout", ".githooks/pre-commit", "hooks/post-checkout"):
        put(hook, f"#!/bin/sh\n{canary}\n")
        os.chmod(stranger.root / hook, 0o755)
    put(".env", f"PAGER={canary}\n")
    put("sitecustomize.py", f"import os\nos.system({canary!r})\n")
    put("params.py", f"import os\nLR = 0.1\nos.system({canary!r})\n")
    put("pyexp.py", f"import os\nos.system({canary!r})\n")
    text = stranger.space.read("dvc.yaml")
    put("dvc.yaml", text.replace("    params:\n", "    params:\n    - params.py:\n"))
    look(stranger)


def test_what_the_projects_configuration_names_is_not_run(stranger: Stranger, canary: str) -> None:
    prepare(stranger)
    lines = [
        "[core]\n    remote = r",
        f'["remote \\"r\\""]\n    url = http://127.0.0.1:9/x\n    bearer_token_command = "{canary}"',
        f'["remote \\"s\\""]\n    url = ssh://127.0.0.1:9/x\n    proxy_to = "{canary}"\n    keyfile = "|{canary}"',
        f'[exp]\n    git_remote = "{canary}"\n    auto_push = true\n    pass_env = "PATH,{canary}"\n    copy_paths = /etc',
        f'[hydra]\n    enabled = true\n    config_module = "{canary}"\n    plugins_path = .',
    ]
    stranger.space.put(f"{stranger.control.name}/config", "\n".join(lines) + "\n")
    look(stranger)
    for remote in ("r", "s"):
        for command in ("pull", "push", "fetch", "status --cloud"):
            stranger.run(*command.split(), "-r", remote)
            assert not (stranger.base / "outside/RUN").exists(), command


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can make files somebody else's")
def test_the_git_configuration_of_somebody_else_runs_nothing(stranger: Stranger, canary: str) -> None:
    """As git's safe.directory: a repository that another user owns does not say what this user runs."""
    prepare(stranger)
    stranger.space.put(".gitattributes", "* filter=evil\n")
    with (stranger.root / ".git/config").open("a") as file:
        file.write(
            f"[core]\n\tsshCommand = {canary}\n\tfsmonitor = {canary}\n\tpager = {canary}\n\teditor = {canary}\n"
        )
        file.write(f'[filter "evil"]\n\tclean = {canary}\n\tsmudge = {canary}\n\tprocess = {canary}\n')
        file.write(f'[credential]\n\thelper = "!{canary}"\n[diff]\n\texternal = {canary}\n')
        file.write('[remote "origin"]\n\turl = ssh://127.0.0.1:9/x\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n')
        file.write('[remote "http"]\n\turl = http://127.0.0.1:9/x\n[protocol "ext"]\n\tallow = always\n')
        file.write(f'[remote "ext"]\n\turl = "ext::sh -c {canary}"\n')
        file.write('[branch "master"]\n\tremote = origin\n\tmerge = refs/heads/master\n')
    for hook in (
        "pre-commit",
        "post-checkout",
        "post-commit",
        "pre-push",
        "reference-transaction",
        "post-index-change",
    ):
        path = stranger.root / ".git/hooks" / hook
        path.write_text(f"#!/bin/sh\n{canary}\n")
        path.chmod(0o755)
    for path in [stranger.root, *stranger.root.rglob("*")]:
        os.chown(path, 12345, 12345, follow_symlinks=False)
    look(stranger, env={})
    more = [
        f"{verb} {remote}"
        for verb in ("exp pull", "exp push", "exp list", "git push", "git pull")
        for remote in ("http", "ext")
    ]
    for command in more:
        stranger.run(*command.split())
        assert not (stranger.base / "outside/RUN").exists(), command
    # git's own configuration, of a repository that is ours, is trusted: the filter does run.
    for path in [stranger.root, *stranger.root.rglob("*")]:
        os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
    stranger.space.put("raw.txt", "changed\n")
    stranger.run("git", "add", "raw.txt")
    assert (stranger.base / "outside/RUN").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can make files somebody else's")
def test_a_repository_of_somebody_else_does_not_say_who_gets_the_token(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://127.0.0.1:9/x"
    with (stranger.root / ".git/config").open("a") as file:
        file.write(f'[remote "origin"]\n\turl = {url}\n')
    monkeypatch.setenv("PYEXP_GIT_TOKEN", "s3cretW0rd")
    for owner, told in ((12345, (None, None)), (os.geteuid(), ("x-access-token", "s3cretW0rd"))):
        for path in [stranger.root, *stranger.root.rglob("*")]:
            os.chown(path, owner, owner, follow_symlinks=False)
        with repository.discover(stranger.root) as repo:
            assert credentials.find(repo, "origin", url) == told


# -- remotes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../outside/x", "/outside/x", ".git/hooks/post-commit", "a\0b", ".dvc/config"])
def test_a_manifest_of_a_remote(stranger: Stranger, name: str) -> None:
    """A remote in a directory hands out whatever it likes."""
    hex = stranger.put_manifest(sorted(["good.txt", name]))
    stranger.put_pointer("data", hex)
    remote = stranger.base / "remote"
    shutil.copytree(stranger.control / "cache/files", remote / "files")
    shutil.rmtree(stranger.control / "cache/files")
    assert stranger.run("remote", "add", "-d", "there", str(remote)).code == 0
    before = stranger.around()
    for command in ("fetch", "pull", "pull --force", "status --cloud", "checkout --force", "gc --workspace --cloud -f"):
        stranger.run(*command.split())
        assert {**stranger.around(), **_under(remote, before)} == before, command
    stranger.refused("pull")
    assert not (stranger.root / "data").exists() or not any((stranger.root / "data").iterdir())


@pytest.mark.parametrize("name", ["../../outside/x", ".git/hooks/post-commit"])
@pytest.mark.parametrize("kind", ["s3", "webdav", "http"])
def test_a_manifest_of_a_server(
    stranger: Stranger, kind: str, name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does one that is far away."""
    hex = stranger.put_manifest(sorted(["good.txt", name]))
    stranger.put_pointer("data", hex)
    with ExitStack() as stack:
        there = place(kind, tmp_path_factory.mktemp("far"), stack, monkeypatch)
        there.top.mkdir(exist_ok=True)
        shutil.move(stranger.control / "cache/files", there.top / "files")
        there.add(stranger.space)
        before = stranger.around()
        for command in ("pull", "pull --force", "status --cloud", "gc --workspace --cloud -f"):
            ran = stranger.run(*command.split())
            assert stranger.around() == before and "manifest is damaged" in ran.err, command
            assert (ran.code == 0) == command.startswith("status"), command
    assert not (stranger.root / "data").exists() or not any((stranger.root / "data").iterdir())


def _under(top: Path, found: dict[str, object]) -> dict[str, object]:
    return {path: value for path, value in found.items() if path.startswith(str(top))}


def test_objects_of_a_remote_that_are_not_what_they_say(stranger: Stranger) -> None:
    """Other bytes, a link, a directory, a fifo under an object's name."""
    hex = stranger.put_object(b"good\n")
    stranger.put_pointer("data", hex)
    object_ = stranger.control / "cache/files" / stranger.algo / hex[:2] / hex[2:]
    object_.unlink()
    remote = stranger.base / "remote"
    there = remote / "files" / stranger.algo / hex[:2] / hex[2:]
    there.parent.mkdir(parents=True)
    assert stranger.run("remote", "add", "-d", "there", str(remote)).code == 0
    for make in (
        lambda: there.write_bytes(b"evil\n"),
        lambda: there.symlink_to(stranger.base / "outside/secret.txt"),
        lambda: there.symlink_to("/dev/zero"),
        lambda: os.mkfifo(there),
        lambda: there.mkdir(),
    ):
        make()
        stranger.refused("pull")
        assert not object_.exists() and not (stranger.root / "data").exists()
        # A remote that is a directory of ours has the bad object set aside.
        there.rmdir() if there.is_dir() and not there.is_symlink() else there.unlink(missing_ok=True)
    there.write_bytes(b"good\n")
    assert stranger.run("pull").code == 0
    assert stranger.space.read("data") == "good\n"
