"""Two people: Ann pushes experiments with their data, Bob in a clone of his own lists, pulls, shows and applies them."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from dulwich.repo import Repo as DulwichRepo
from functional.conftest import Space, on_a_terminal
from gitserver import served, served_by_git

TOKEN = "tok_123"


def ok(space: Space, *args: str, env: dict[str, str] | None = None) -> str:
    done = space.cli(*args, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    path = tmp_path / "origin.git"
    path.mkdir()
    DulwichRepo.init_bare(str(path), default_branch=b"master").close()
    return path


@pytest.fixture(params=["path", "http"])
def url(request: pytest.FixtureRequest, bare: Path) -> Iterator[str]:
    if request.param == "path":
        yield str(bare)
        return
    with served(bare) as found:
        yield found


@pytest.fixture
def ann(space: Space, url: str, tmp_path: Path) -> Space:
    """A project with two experiments on one commit, a git remote, and a remote for data."""
    ok(space, "repro")
    ok(space, "remote", "add", "-d", "data", str(tmp_path / "store"))
    space.commit("start")
    ok(space, "git", "remote", "add", "origin", url)
    ok(space, "git", "push", "origin")
    ok(space, "push")
    ok(space, "exp", "run", "-n", "small", "-S", "lr=0.25")
    ok(space, "exp", "run", "-n", "large", "-S", "lr=0.75")
    return space


def clone(ann: Space, url: str, tmp_path: Path, *options: str, name: str = "bob") -> Space:
    done = subprocess.run(
        [sys.executable, "-m", "pyexp", "git", "clone", *options, url, name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return Space(tmp_path / name)


def forget_cache(space: Space) -> None:
    for name in (".pyexp", ".dvc"):
        cache = space.root / name / "cache"
        if cache.is_dir():
            subprocess.run(["chmod", "-R", "u+w", str(cache)], check=True)
            shutil.rmtree(cache)


def test_two_people(ann: Space, url: str, tmp_path: Path) -> None:
    work_together(ann, url, tmp_path)


@pytest.mark.git
@pytest.mark.parametrize("url", ["path"], indirect=True)
def test_two_people_one_of_them_in_a_shallow_clone(ann: Space, url: str, bare: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "-C", str(bare), "config", "http.receivepack", "true"], check=True)
    ann.put("more.txt", "more\n")
    ann.commit("more history")
    ann.put("more.txt", "even more\n")
    ann.commit("even more")
    ok(ann, "git", "push", "origin")
    ok(ann, "exp", "remove", "small")
    ok(ann, "exp", "run", "-n", "small", "-S", "lr=0.25")
    with served_by_git(bare) as address:
        work_together(ann, address, tmp_path, "--depth", "1")


def work_together(ann: Space, url: str, tmp_path: Path, *options: str) -> None:
    told = ok(ann, "exp", "push", "origin", "small")
    assert "Pushed experiment 'small' to Git remote 'origin'." in told and "1 file pushed" in told
    assert "'small' is up to date" in ok(ann, "exp", "push", "origin", "small")
    bob = clone(ann, url, tmp_path, *options)
    assert ok(bob, "exp", "list", "origin") == "master:\n\tsmall\n"
    assert ok(bob, "exp", "list") == ""
    told = ok(bob, "exp", "pull", "origin", "small")
    assert "Pulled experiment 'small' from Git remote 'origin'." in told and "2 files fetched" in told
    assert "Up to date: 'small'" in ok(bob, "exp", "pull", "origin")
    assert bob.experiments() == {"small": ann.experiments()["small"]}
    assert "small" in ok(bob, "exp", "show", "--csv")
    ok(bob, "exp", "apply", "small")
    assert bob.read("model.txt") == "model 0.25\n" and bob.read("params.yaml").startswith("lr: 0.25")
    ok(bob, "exp", "branch", "small", "mine")
    # Bob goes on from there; Ann gets what he made.
    ok(bob, "exp", "run", "-n", "bobs", "-S", "lr=0.125")
    ok(bob, "exp", "push", "origin", "bobs")
    assert ok(ann, "exp", "list", "origin", "--name-only") == "bobs\nsmall\n"
    ok(ann, "exp", "pull", "origin", "bobs")
    ok(ann, "exp", "apply", "bobs")
    assert ann.read("model.txt") == "model 0.125\n"


def test_the_same_name_twice_is_refused(ann: Space, url: str, tmp_path: Path) -> None:
    ok(ann, "exp", "push", "origin")
    bob = clone(ann, url, tmp_path)
    ok(bob, "pull")
    ok(bob, "exp", "run", "-n", "small", "-S", "lr=0.5")
    mine = bob.experiments()["small"]
    done = bob.cli("exp", "push", "origin", "small")
    assert done.returncode == 1
    assert "experiment 'small' was not pushed" in done.stderr and "--force" in done.stderr
    done = bob.cli("exp", "pull", "origin", "small", "large")
    assert done.returncode == 1 and "experiment 'small' was not pulled" in done.stderr
    assert "Pulled experiment 'large'" in done.stdout
    assert bob.experiments()["small"] == mine
    ok(bob, "exp", "push", "-f", "origin", "small")
    ok(ann, "exp", "pull", "-f", "origin", "small")
    assert ann.experiments()["small"] == mine


def test_which_experiments(ann: Space, url: str) -> None:
    ann.commit("with results")
    ok(ann, "exp", "run", "-n", "later", "-S", "lr=0.0625")
    told = ok(ann, "exp", "push", "--no-cache", "origin")
    assert "'later'" in told and "small" not in told and "pushed (" not in told
    assert "'large' and 'small'" in ok(ann, "exp", "push", "origin", "--rev", "HEAD~1")
    assert set(ok(ann, "exp", "list", "origin", "-A", "--name-only").split()) == {"large", "small", "later"}
    assert (
        "'largo' is not the name of an experiment - did you mean 'large'?"
        in ann.cli("exp", "pull", "origin", "largo").stderr
    )
    assert "no git remote 'orign'" in ann.cli("exp", "push", "orign").stderr
    assert ann.cli("exp", "push", "origin", "-A", "large").returncode == 2


def test_removed_there_only(ann: Space, url: str) -> None:
    ok(ann, "exp", "push", "origin")
    assert ann.cli("exp", "remove", "-g", "origin", "large", "nosuch").returncode == 1
    assert "Removed experiments: 'large'" in ok(ann, "exp", "remove", "-g", "origin", "large")
    assert ok(ann, "exp", "list", "origin", "--name-only") == "small\n"
    assert set(ann.experiments()) == {"small", "large"}
    assert ann.cli("exp", "remove", "-g", "origin").returncode == 2
    assert "Removed experiments: 'small'" in ok(ann, "exp", "remove", "-g", "origin", "-A")
    assert "No experiments to remove." in ok(ann, "exp", "remove", "-g", "origin", "-A")


def test_data_that_is_lost_or_has_no_remote_is_told(ann: Space, url: str, tmp_path: Path) -> None:
    ok(ann, "remote", "default", "-u")
    done = ann.cli("exp", "push", "origin", "small")
    assert done.returncode == 0 and "no remote for data is configured" in done.stderr
    ok(ann, "remote", "default", "data")
    forget_cache(ann)
    done = ann.cli("exp", "push", "origin", "large")
    assert done.returncode == 1 and "model.txt (" in done.stderr
    bob = clone(ann, url, tmp_path)
    done = bob.cli("exp", "pull", "origin", "small")
    assert done.returncode == 1 and "model.txt (" in done.stderr and "not on the remote" in done.stderr
    assert "small" in bob.experiments()
    assert ok(bob, "exp", "pull", "--no-cache", "origin", "large").startswith("Pulled experiment 'large'")


def test_an_unreachable_data_remote_leaves_the_git_remote_alone(ann: Space, url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ok(ann, "remote", "add", "gone", str(tmp_path / "file" / "below"))
    assert ann.cli("exp", "push", "-r", "gone", "origin").returncode == 1
    assert ok(ann, "exp", "list", "origin") == ""


def test_pushed_as_soon_as_it_is_made(ann: Space, url: str) -> None:
    ok(ann, "config", "exp.auto_push", "true")
    told = ok(ann, "exp", "run", "-n", "auto", "-S", "lr=0.9")
    assert "Pushed experiment 'auto' to Git remote 'origin'." in told
    ok(ann, "exp", "save", "-n", "saved")
    assert ok(ann, "exp", "list", "origin", "--name-only") == "auto\nsaved\n"
    ok(ann, "config", "exp.git_remote", "nosuch")
    done = ann.cli("exp", "run", "-n", "alone", "-S", "lr=0.8")
    assert done.returncode == 0 and "WARNING" in done.stderr and "alone" in ann.experiments()
    done = ann.cli("exp", "run", "-n", "env", "-S", "lr=0.7", env={"DVC_EXP_GIT_REMOTE": "origin"})
    assert "Pushed experiment 'env'" in done.stdout


def test_data_of_all_experiments(ann: Space, url: str) -> None:
    assert ok(ann, "push", "--all-experiments").startswith("2 files pushed")
    forget_cache(ann)
    assert "deleted:            model.txt" in ok(ann, "status", "-c", "--all-experiments")
    assert ok(ann, "fetch", "--all-experiments").startswith("4 files fetched")


@pytest.mark.git
@pytest.mark.parametrize("where", ["environment", "configuration"])
def test_over_ssh(make: Callable[..., Space], bare: Path, tmp_path: Path, where: str) -> None:
    pytest.importorskip("paramiko")  # makes the keys
    space = make()
    ok(space, "exp", "run", "-n", "one")
    home = tmp_path / "sshd"
    home.mkdir()
    with servers.sshd(home) as port:
        command = f"ssh -i {home}/.ssh/id_rsa -o UserKnownHostsFile={home}/.ssh/known_hosts -o BatchMode=yes"
        env = {"GIT_SSH_COMMAND": command}
        if where == "configuration":
            subprocess.run(["git", "-C", str(space.root), "config", "core.sshCommand", command], check=True)
            env = {}
        url = f"ssh://127.0.0.1:{port}{bare}"
        ok(space, "git", "remote", "add", "origin", url)
        for words in (
            ["git", "push", "origin"],
            ["exp", "push", "--no-cache", "origin", "one"],
            ["exp", "list", "origin"],
        ):
            done = space.cli(*words, env=env)
            assert done.returncode == 0, done.stderr
        assert "one" in done.stdout
        done = space.cli("git", "clone", url, str(tmp_path / "clone"), env={"GIT_SSH_COMMAND": command})
        assert done.returncode == 0 and (tmp_path / "clone/params.yaml").exists(), done.stderr
        (home / ".ssh/known_hosts").write_text("")
        done = space.cli("git", "push", "origin", env=env)
        assert done.returncode == 1 and "Host key verification failed" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_over_ssh_without_an_ssh_program(make: Callable[..., Space], bare: Path, tmp_path: Path) -> None:
    pytest.importorskip("paramiko")
    ann = make()
    ok(ann, "exp", "run", "-n", "one")
    home = tmp_path / "sshd"
    (tmp_path / "bin").mkdir()
    home.mkdir()
    # Nothing of the user's agent, and no program at all.
    env = {"HOME": str(home), "PATH": str(tmp_path / "bin"), "SSH_AUTH_SOCK": ""}
    with servers.sshd(home) as port:
        (home / ".ssh/id_rsa").rename(home / ".ssh/mine")
        (home / ".ssh/config").write_text(
            f"Host box\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile ~/.ssh/mine\n"
        )
        ok(ann, "git", "remote", "add", "origin", f"ssh://box{bare}")
        ok(ann, "git", "push", "origin", env=env)
        ok(ann, "exp", "push", "--no-cache", "origin", "one", env=env)
        assert "one" in ok(ann, "exp", "list", "origin", env=env)
        for name in ("more", "gone"):
            ok(ann, "exp", "run", "-n", name, "-S", f"lr=0.{len(name)}")
            ok(ann, "exp", "push", "--no-cache", f"box:{bare}", name, env=env)
        done = ann.cli("git", "clone", f"box:{bare}", str(tmp_path / "clone"), env=env)
        assert done.returncode == 0, done.stderr
        bob = Space(tmp_path / "clone")
        ok(bob, "exp", "pull", "--no-cache", "origin", "one", "more", env=env)
        assert set(bob.experiments()) == {"one", "more"}
        ok(bob, "exp", "remove", "-g", "origin", "gone", env=env)
        assert "gone" not in ok(ann, "exp", "list", "origin", env=env)
        hook = bare / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        ann.put("more.txt", "more\n")
        ann.commit("more")
        done = ann.cli("git", "push", "origin", env=env)
        assert done.returncode == 1 and "hook declined" in done.stderr and "git pull" not in done.stderr, done.stderr
        for url, why in (
            (f"ssh://box{bare}x", "does not appear to be a git repository"),
            ("ssh://127.0.0.1:1/x", "cannot be reached"),
            (f"ssh://127.0.0.1:{port}{bare}", "refuses us"),  # the key file is that of box only
        ):
            done = ann.cli("exp", "list", url, env=env)
            assert done.returncode == 1 and why in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
        (home / ".ssh/known_hosts").rename(home / ".ssh/away")
        done = ann.cli("exp", "list", "origin", env=env)
        assert "is not known" in done.stderr and f"'[127.0.0.1]:{port} ssh-ed25519" in done.stderr
        (tmp_path / "without").mkdir()
        (tmp_path / "without/paramiko.py").write_text("raise ModuleNotFoundError('no', name='paramiko')\n")
        done = ann.cli("exp", "list", "origin", env={**env, "PYTHONPATH": str(tmp_path / "without")})
        assert done.returncode == 1 and "pip install 'pyexp[ssh]'" in done.stderr and "'paramiko'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_token_is_asked_for(make: Callable[..., Space], bare: Path) -> None:
    space = make()
    ok(space, "exp", "run", "-n", "one")
    with served(bare, TOKEN) as url:
        ok(space, "git", "remote", "add", "origin", url)
        done = space.cli("exp", "push", "--no-cache", "origin")
        assert done.returncode == 1 and "asks who you are" in done.stderr
        ok(space, "git", "remote", "remove", "origin")
        ok(space, "git", "remote", "add", "origin", url.replace("//", f"//ann:{TOKEN}@"))
        told = ok(space, "exp", "push", "--no-cache", "origin")
        assert "'one'" in told and TOKEN not in told
        assert TOKEN not in ok(space, "exp", "list", "origin")


@pytest.mark.parametrize("named", ["GIT_ASKPASS", "core.askPass", "SSH_ASKPASS"])
def test_a_login_from_git_s_askpass_program(
    make: Callable[..., Space], bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    space = make()
    home = tmp_path / "home"
    home.mkdir()
    program = home / "ask me"
    program.write_text(
        f'#!/bin/sh\necho "$1" >> "{home}/asked"\n'
        f'case "$1" in Username*) echo ann;; Password*) [ "$FAIL" ] && exit 1; printf "{TOKEN}\\nmore";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    if named == "core.askPass":
        (home / ".gitconfig").write_text(f"[core]\n\taskPass = {program}\n")
    else:
        monkeypatch.setenv(named, str(program))
    with served(bare, TOKEN) as url:
        ok(space, "git", "remote", "add", "origin", url)
        told = ok(space, "git", "push", "origin")
        where = url.rpartition("/")[0]
        prompts = f"Username for '{where}': \nPassword for '{where.replace('//', '//ann@')}': \n"
        assert (home / "asked").read_text() == prompts and TOKEN not in told
        monkeypatch.setenv("FAIL", "1")
        done = space.cli("exp", "list", "origin")
        assert done.returncode == 1 and "asks who you are" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_login_from_a_helper_or_typed(
    make: Callable[..., Space], bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = make()
    ok(space, "exp", "run", "-n", "one")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with served(bare, TOKEN) as url:
        ok(space, "git", "remote", "add", "origin", url)
        answer = f"echo username=ann; echo password={TOKEN}"
        (home / ".gitconfig").write_text(
            f'[credential]\n\thelper = "!f() {{ echo $1 >> {home}/asked; cat > {home}/said; {answer}; }}; f"\n'
        )
        for args in (("git", "push", "origin"), ("exp", "push", "--no-cache", "origin"), ("exp", "list", "origin")):
            told = space.cli(*args)
            assert told.returncode == 0 and TOKEN not in told.stdout + told.stderr, told.stderr
        # Once for each command, however often that talks to the server; and it is told that the login was right.
        assert (home / "asked").read_text() == "get\nstore\n" * 3
        assert f"password={TOKEN}" in (home / "said").read_text()
        (home / ".gitconfig").write_text(
            f'[credential]\n\thelper = "!f() {{ echo $1 >> {home}/wrong; echo username=ann; echo password=no; }}; f"\n'
        )
        done = space.cli("exp", "list", "origin")
        assert done.returncode == 1 and "asks who you are" in done.stderr and len(done.stderr.splitlines()) == 1
        assert (home / "wrong").read_text() == "get\nerase\n"
        (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
        asked = [("User name for http://127.0.0.1", "ann"), ("assword or token for ann at", TOKEN)]
        code, said = on_a_terminal(space, ["exp", "list", "origin"], asked)
        assert code == 0 and "one" in said and TOKEN not in said, said
        assert (home / ".git-credentials").read_text() == url.replace("//", f"//ann:{TOKEN}@").replace("/r.git", "\n")
        assert "one" in ok(space, "exp", "list", "origin")
        # What reads other repositories asks, too.
        for command in ("import", "get"):
            (home / ".git-credentials").unlink()
            code, said = on_a_terminal(space, [command, url, "params.yaml", "-o", f"{command}.yaml"], asked)
            assert code == 0 and space.read(f"{command}.yaml") == space.read("params.yaml"), said
