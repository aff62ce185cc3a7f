import hashlib
import io
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyexp.errors import StoreError
from pyexp.model import Oid
from pyexp.objects import behind, hashes


def test_known_digests() -> None:
    assert hashes.hash_bytes(b"", "xxh128") == "99aa06d3014798d86001c324468d497f"
    assert hashes.hash_bytes(b"[]", "md5") == "d751713988987e9331980363e24189ce"
    assert hashes.hash_bytes(b"hello\n", "md5") == "b1946ac92492d2347c6235b4d2611184"
    assert hashes.hash_bytes(b"", "sha256") == hashlib.sha256().hexdigest()
    assert hashes.hash_bytes(b"a\r\nb\r\n", "md5-dos2unix") == "dd8c6a395b5dd36c56d23275028f526c"
    assert hashes.hash_bytes(b"a\r\n\0", "md5-dos2unix") == hashlib.md5(b"a\r\n\0").hexdigest()
    assert (
        hashes.hash_bytes(b"\xff\xfe" * 9 + b"\r\n", "md5-dos2unix")
        == hashlib.md5(b"\xff\xfe" * 9 + b"\r\n").hexdigest()
    )


@pytest.mark.skipif(shutil.which("xxh128sum") is None, reason="no xxh128sum")
def test_xxh128_is_what_xxh128sum_prints(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(100_000))
    printed = subprocess.run(["xxh128sum", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]
    assert hashes.hash_file(str(path), "xxh128")[0] == printed


@pytest.mark.parametrize("algo", list(hashes.ALGORITHMS))
def test_stream_file_and_bytes_agree(algo: str, tmp_path: Path) -> None:
    for size in (0, 1, hashes.CHUNK_BYTES - 1, hashes.CHUNK_BYTES, hashes.CHUNK_BYTES + 1, 2 * hashes.CHUNK_BYTES):
        data = (b"line\r\n" * (size // 6 + 1))[:size]
        path = tmp_path / "file"
        path.write_bytes(data)
        copied = bytearray()
        expected = hashes.hash_bytes(data, algo), size
        assert hashes.hash_stream(io.BytesIO(data), algo, copied.extend) == expected
        assert hashes.hash_file(str(path), algo) == expected
        assert copied == data


class Dribble(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe or socket may."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece, self._rest = self._rest[: min(7000, len(buffer))], self._rest[min(7000, len(buffer)) :]
        buffer[: len(piece)] = piece
        return len(piece)


def test_short_reads_do_not_move_the_borders_of_the_legacy_hash() -> None:
    # A CRLF across DVC's border between two pieces stays as it is.
    data = b"x" * (hashes.CHUNK_BYTES - 1) + b"\r\n" + b"y\r\n" * 5000
    normal = hashlib.md5(data[: hashes.CHUNK_BYTES] + data[hashes.CHUNK_BYTES :].replace(b"\r\n", b"\n")).hexdigest()
    assert hashes.hash_stream(Dribble(data), "md5-dos2unix") == (normal, len(data))
    assert hashes.hash_stream(Dribble(data), "xxh128")[0] == hashes.hash_bytes(data, "xxh128")


def test_only_regular_files_are_opened_and_nothing_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, what in (("pipe", "a named pipe"), ("link", "a device"), (".", "a directory")):
        with pytest.raises(StoreError, match=what):
            hashes.hash_file(str(tmp_path / name), "md5")
    with pytest.raises(StoreError, match="No such file"):
        hashes.hash_file(str(tmp_path / "absent"), "md5")


def test_unknown_algorithms_are_named() -> None:
    with pytest.raises(StoreError, match="crc32"):
        hashes.hash_bytes(b"", "crc32")
    with pytest.raises(StoreError, match="crc32"):
        hashes.check_oid(Oid("crc32", "0" * 8))


@given(st.sampled_from(sorted(hashes.DIGEST_BYTES)), st.binary(max_size=64), st.booleans())
def test_check_oid_takes_every_digest(algo: str, data: bytes, is_dir: bool) -> None:
    oid = Oid(algo, hashes.hash_bytes(data, algo) + ".dir" * is_dir)
    assert hashes.check_oid(oid) is oid
    assert oid.is_dir == is_dir


@given(st.text(alphabet="0123456789abcdefABCDEFg./\\\n\0 ", max_size=70))
def test_check_oid_takes_nothing_else(text: str) -> None:
    stem = text.removesuffix(".dir")
    good = len(stem) == 32 and all(c in "0123456789abcdef" for c in stem)
    if good:
        hashes.check_oid(Oid("md5", text))
    else:
        with pytest.raises(StoreError):
            hashes.check_oid(Oid("md5", text))


def test_written_behind_writes_everything_in_order() -> None:
    data = os.urandom(5 * hashes.CHUNK_BYTES + 7)
    written = bytearray()

    def slowly(piece: memoryview) -> None:
        time.sleep(0.005)
        written.extend(piece)

    with behind.written_behind(slowly) as later:
        digest, size = hashes.hash_stream(io.BytesIO(data), "xxh128", later, buffers=behind.BEHIND + 1)
    assert (digest, size) == (hashes.hash_bytes(data, "xxh128"), len(data))
    assert written == data


def test_written_behind_raises_what_the_writer_met() -> None:
    def full(piece: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), behind.written_behind(full) as later:
        later(memoryview(b"x"))
    with pytest.raises(KeyError), behind.written_behind(lambda piece: None) as later:
        raise KeyError
