import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyexp.objects import statcache as module
from pyexp.objects.statcache import StatCache, stamp

HEX = "b1946ac92492d2347c6235b4d2611184"


def old_file(path: Path, data: bytes = b"data") -> os.stat_result:
    """A file whose times were settled long before now, as far as a test can make that: its ctime is waited for."""
    path.write_bytes(data)
    os.utime(path, (1_000_000_000.5, 1_000_000_000.5))
    time.sleep(module.TICK_NS / 1e9 + 0.01)
    return path.stat()


def test_what_was_put_is_found_while_the_file_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    status = old_file(path)
    cache = StatCache(None)
    assert cache.get("md5", str(path), status) is None
    cache.put("md5", str(path), status, HEX)
    assert cache.get("md5", str(path), path.stat()) == HEX
    assert cache.get("xxh128", str(path), path.stat()) is None
    assert cache.get("md5", str(tmp_path / "other"), status) is None


def test_every_kind_of_change_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def rewrite() -> None:
        path.write_bytes(b"DATA")

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"x")

    def replace() -> None:
        (tmp_path / "new").write_bytes(b"DATA")
        os.utime(tmp_path / "new", (1_000_000_000.5, 1_000_000_000.5))
        os.replace(tmp_path / "new", path)

    def rewrite_and_restore_the_mtime() -> None:
        path.write_bytes(b"DATA")
        os.utime(path, (1_000_000_000.5, 1_000_000_000.5))

    for change in (rewrite, grow, replace, rewrite_and_restore_the_mtime):
        status = old_file(path)
        cache = StatCache(None)
        cache.put("md5", str(path), status, HEX)
        assert cache.get("md5", str(path), path.stat()) == HEX
        change()
        assert cache.get("md5", str(path), path.stat()) is None, change.__name__


def test_a_file_written_just_now_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    cache = StatCache(None)
    for number in range(50):  # within one tick of the clock both writes look the same
        path.write_bytes(b"%04d" % number)
        cache.put("md5", str(path), path.stat(), HEX)
        path.write_bytes(b"else")
        assert cache.get("md5", str(path), path.stat()) is None


def test_a_fresh_look_at_a_racy_file_forgets_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    cache = StatCache(None)
    cache.put("md5", str(path), old_file(path), HEX)
    path.write_bytes(b"new")
    cache.put("md5", str(path), path.stat(), "0" * 32)
    assert cache.directory("md5", str(tmp_path)).rows == {}


def test_files_stamped_by_pyexp_are_believed_at_once_and_still_watched(tmp_path: Path) -> None:
    path = tmp_path / "file"
    cache = StatCache(None)
    for number in range(50):
        path.write_bytes(b"%04d" % number)
        stamp(str(path))
        cache.put("md5", str(path), path.stat(), HEX, written=True)
        assert cache.get("md5", str(path), path.stat()) == HEX
        path.write_bytes(b"else")
        assert cache.get("md5", str(path), path.stat()) is None


def test_times_without_fractions_are_those_of_a_coarse_file_system(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    status = path.stat()
    now = time.time_ns() // 1_000_000_000
    for age, believed in ((0, False), (1, False), (60, True)):
        fields = list(status)
        coarse = os.stat_result(
            fields,
            {"st_mtime_ns": (now - age) * 10**9, "st_ctime_ns": (now - age) * 10**9, "st_mtime": 0.0, "st_ctime": 0.0},
        )
        cache = StatCache(None)
        cache.put("md5", str(path), coarse, HEX)
        assert (cache.get("md5", str(path), coarse) == HEX) is believed
        cache.put("md5", str(path), coarse, HEX, written=True)
        assert (cache.get("md5", str(path), coarse) == HEX) is believed


def test_times_of_a_server_whose_clock_is_ahead_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    status = old_file(path)
    ahead = time.time_ns() + 3_600 * 10**9
    for changed in ({"st_mtime_ns": ahead}, {"st_ctime_ns": ahead}):
        times = {"st_mtime_ns": status.st_mtime_ns, "st_ctime_ns": status.st_ctime_ns, "st_mtime": 0.0, "st_ctime": 0.0}
        seen = os.stat_result(list(status), {**times, **changed})
        cache = StatCache(None)
        cache.put("md5", str(path), seen, HEX)
        assert cache.get("md5", str(path), seen) is None


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    file, path = tmp_path / "sub" / "statcache", tmp_path / "f\udcff"
    status = old_file(path)
    cache = StatCache(file)
    cache.put("xxh128", str(path), status, HEX)
    cache.save()
    assert file.stat().st_mode & 0o777 == 0o600
    assert StatCache(file).get("xxh128", str(path), path.stat()) == HEX


def test_saving_writes_only_what_is_new(tmp_path: Path) -> None:
    file, path = tmp_path / "statcache", tmp_path / "file"
    status = old_file(path)
    cache = StatCache(file)
    cache.save()
    assert not file.exists()
    cache.put("md5", str(path), status, HEX)
    cache.save()
    written = file.stat().st_mtime_ns, file.stat().st_ino
    cache = StatCache(file)
    assert cache.get("md5", str(path), status) == HEX
    cache.save()
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == written


def test_saving_keeps_directories_that_were_not_looked_at(tmp_path: Path) -> None:
    file, one, other = tmp_path / "statcache", tmp_path / "one" / "f", tmp_path / "other" / "f"
    for path in (one, other):
        path.parent.mkdir()
        cache = StatCache(file)
        cache.put("md5", str(path), old_file(path), HEX)
        cache.save()
    assert StatCache(file).get("md5", str(one), one.stat()) == HEX
    assert StatCache(file).get("md5", str(other), other.stat()) == HEX


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    cache = StatCache(None)
    for name in ("a", "b"):
        cache.put("md5", str(tmp_path / name), old_file(tmp_path / name), HEX)
    folder = cache.directory("md5", str(tmp_path))
    folder.keep_only({"b"})
    assert set(folder.rows) == {"b"}


def test_directories_nobody_looked_at_for_long_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "statcache"
    first, second = tmp_path / "a" / "f", tmp_path / "b" / "f"
    for path in (first, second):
        path.parent.mkdir()
    cache = StatCache(file)
    cache.put("md5", str(first), old_file(first), HEX)
    cache.save()
    later = time.time() + (module.FORGET_DAYS + 2) * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    cache = StatCache(file)
    cache.put("md5", str(second), old_file(second), HEX, written=True)
    cache.save()
    assert StatCache(file).get("md5", str(first), first.stat()) is None
    assert StatCache(file).get("md5", str(second), second.stat()) == HEX


def test_the_file_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    status = old_file(tmp_path / "f")
    cache = StatCache(tmp_path / "statcache")
    for number in range(1000):
        cache.put("md5", f"/d{number}/f", status, HEX)
    cache.save()
    assert (tmp_path / "statcache").stat().st_size < 20_000


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_empty_cache(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = tmp_path_factory.mktemp("damaged") / "statcache"
    status = os.stat("/")
    cache = StatCache(file)
    cache.put("md5", "/data/file", status, HEX, written=True)
    cache.save()
    raw = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    file.write_bytes(raw)
    again = StatCache(file)
    assert again.get("md5", "/data/file", status) is None
    again.put("md5", "/data/file", status, HEX, written=True)
    again.save()
    assert StatCache(file).get("md5", "/data/file", status) == HEX


def test_another_version_or_no_file_at_all_is_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "statcache"
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    cache = StatCache(file)
    cache.put("md5", str(tmp_path / "f"), old_file(tmp_path / "f"), HEX)
    cache.save()
    monkeypatch.undo()
    assert StatCache(file).get("md5", str(tmp_path / "f"), (tmp_path / "f").stat()) is None
    assert StatCache(tmp_path).get("md5", str(tmp_path / "f"), (tmp_path / "f").stat()) is None


@pytest.mark.parametrize("when", [-(1 << 40), -(1 << 31), 1 << 33, (1 << 34) - 1, (1 << 40) + 1])
def test_times_that_no_64_bits_hold(tmp_path: Path, when: int) -> None:
    """An archive may say that a file was made in 2400, or in 1500; what the file system makes of it is its business."""
    path = tmp_path / "file"
    old_file(path)
    os.utime(path, (when, when))
    time.sleep(module.TICK_NS / 1e9 + 0.01)
    mtime = when * 1_000_000_000
    status = os.stat_result([*path.stat()[:8], when, 0], {"st_mtime_ns": mtime, "st_ctime_ns": 1_000_000_001})
    cache = StatCache(tmp_path / "cache")
    cache.put("md5", str(path), status, HEX, written=True)
    assert cache.directory("md5", str(tmp_path)).get_all({"file": status, "other": status})[1] is None
    assert len(module.signature(status)) == 32
    cache.save()
    for found in (status, path.stat()):
        StatCache(tmp_path / "cache").get("md5", str(path), found)
