"""The object room beside its limits: in each group ``limit_*`` is what the machine itself needs for the same bytes.

Run: pytest benchmarks/micro/test_objects_bench.py --benchmark-group-by=group
"""

import json
import os
import shutil
from pathlib import Path

import msgpack
import pytest
import xxhash
from pytest_benchmark.fixture import BenchmarkFixture

from pyexp.model import Content, Tree, TreeFile
from pyexp.objects import tree as trees
from pyexp.objects.build import observe
from pyexp.objects.checkout import checkout
from pyexp.objects.hashes import hash_file
from pyexp.objects.statcache import StatCache
from pyexp.objects.store import LocalStore

BIG_BYTES = 256 << 20
FILES, FILE_BYTES = 2000, 10 << 10
NAMES = 50_000


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "file"
    path.write_bytes(os.urandom(1 << 20) * (BIG_BYTES >> 20))
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("many") / "data"
    for number in range(FILES):
        path = top / f"s{number % 20}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(8, "little") * (FILE_BYTES // 8))
    return top


@pytest.fixture(scope="module")
def stored(many: Path) -> tuple[Content, LocalStore, StatCache]:
    """The files in a cache, with everything known of them."""
    cache = StatCache(many.parent / "statcache")
    store = LocalStore(many.parent / "cache", "xxh128", statcache=cache)
    found = observe(str(many), algo="xxh128", statcache=cache, store=store)
    assert found is not None
    store.flush()
    observe(str(many), algo="xxh128", statcache=cache)
    cache.save()
    return found, store, cache


@pytest.fixture(scope="module")
def manifest() -> Tree:
    names = sorted(f"part{number % 300}/sub/file_{number}.txt" for number in range(NAMES))
    return Tree(
        "xxh128",
        {name: TreeFile(xxhash.xxh3_128_hexdigest(name.encode()), number) for number, name in enumerate(names)},
    )


def fresh(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return path


def list_and_stat(top: Path) -> int:
    count, pending = 0, [str(top)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    count += bool(entry.stat(follow_symlinks=False))
    return count


# -- one big file ----------------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="hash a file of 256 MiB")
@pytest.mark.parametrize("algo", ["xxh128", "md5"])
def test_hash_file(benchmark: BenchmarkFixture, big: Path, algo: str) -> None:
    benchmark.pedantic(hash_file, (str(big), algo), rounds=5)


@pytest.mark.benchmark(group="hash a file of 256 MiB")
def test_limit_xxh128_of_memory(benchmark: BenchmarkFixture, big: Path) -> None:
    data = big.read_bytes()
    benchmark.pedantic(xxhash.xxh3_128_digest, (data,), rounds=5)


@pytest.mark.benchmark(group="store a file of 256 MiB")
def test_put_file(benchmark: BenchmarkFixture, big: Path) -> None:
    place = big.parent / "cache"
    benchmark.pedantic(
        lambda store: store.put_file(str(big)),
        setup=lambda: ((LocalStore(fresh(place), "xxh128"),), {}),
        rounds=5,
    )


@pytest.mark.benchmark(group="store a file of 256 MiB")
def test_put_file_and_flush(benchmark: BenchmarkFixture, big: Path) -> None:
    place = big.parent / "cache"
    benchmark.pedantic(
        lambda store: (store.put_file(str(big)), store.flush()),
        setup=lambda: ((LocalStore(fresh(place), "xxh128"),), {}),
        rounds=5,
    )


@pytest.mark.benchmark(group="store a file of 256 MiB")
def test_limit_copy(benchmark: BenchmarkFixture, big: Path) -> None:
    target = big.parent / "copy"
    benchmark.pedantic(
        shutil.copyfile, setup=lambda: (target.unlink(missing_ok=True), ((str(big), str(target)), {}))[1], rounds=5
    )


# -- many small files ------------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="store 2000 files of 10 KiB")
@pytest.mark.parametrize("algo", ["xxh128", "md5"])
def test_observe_into_a_store(benchmark: BenchmarkFixture, many: Path, algo: str) -> None:
    place = many.parent / f"new-{algo}"
    benchmark.pedantic(
        lambda store: (observe(str(many), algo=algo, store=store), store.flush()),
        setup=lambda: ((LocalStore(fresh(place), algo),), {}),
        rounds=3,
    )


@pytest.mark.benchmark(group="store 2000 files of 10 KiB")
def test_limit_copy_of_the_tree(benchmark: BenchmarkFixture, many: Path) -> None:
    benchmark.pedantic(shutil.copytree, setup=lambda: ((str(many), str(fresh(many.parent / "tree"))), {}), rounds=3)


@pytest.mark.benchmark(group="look at 2000 unchanged files")
def test_observe_again(benchmark: BenchmarkFixture, many: Path, stored: tuple[Content, LocalStore, StatCache]) -> None:
    place = many.parent / "statcache"
    found = benchmark(lambda: observe(str(many), algo="xxh128", statcache=StatCache(place)))
    assert found == stored[0]


@pytest.mark.benchmark(group="look at 2000 unchanged files")
def test_limit_list_and_stat(benchmark: BenchmarkFixture, many: Path) -> None:
    assert benchmark(list_and_stat, many) == FILES


@pytest.mark.benchmark(group="check out 2000 files of 10 KiB")
@pytest.mark.parametrize("links", ["copy", "hardlink", "symlink"])
def test_checkout(
    benchmark: BenchmarkFixture, many: Path, stored: tuple[Content, LocalStore, StatCache], links: str
) -> None:
    want, store, cache = stored
    target = many.parent / f"out-{links}"
    options = {"root": str(many.parent), "store": store, "statcache": cache, "links": (links,)}
    benchmark.pedantic(checkout, setup=lambda: (fresh(target), ((str(target), want), options))[1], rounds=3)


@pytest.mark.benchmark(group="check out 2000 files of 10 KiB")
def test_limit_copy_of_the_tree_back(benchmark: BenchmarkFixture, many: Path) -> None:
    benchmark.pedantic(shutil.copytree, setup=lambda: ((str(many), str(fresh(many.parent / "tree"))), {}), rounds=3)


@pytest.mark.benchmark(group="check out 2000 files that are there")
def test_checkout_of_nothing_to_do(
    benchmark: BenchmarkFixture, many: Path, stored: tuple[Content, LocalStore, StatCache]
) -> None:
    want, store, cache = stored
    benchmark(checkout, str(many), want, root=str(many.parent), store=store, statcache=cache)


@pytest.mark.benchmark(group="check out 2000 files that are there")
def test_limit_list_and_stat_of_what_is_there(benchmark: BenchmarkFixture, many: Path) -> None:
    benchmark(list_and_stat, many)


@pytest.mark.benchmark(group="which of 2000 objects are missing")
def test_missing(benchmark: BenchmarkFixture, stored: tuple[Content, LocalStore, StatCache]) -> None:
    oids = [oid for oid, _, _ in stored[1].all()]
    assert benchmark(stored[1].missing, oids) == set()


@pytest.mark.benchmark(group="which of 2000 objects are missing")
def test_limit_a_stat_of_each(benchmark: BenchmarkFixture, stored: tuple[Content, LocalStore, StatCache]) -> None:
    paths = [stored[1].path(oid) for oid, _, _ in stored[1].all()]
    benchmark(lambda: [os.stat(path) for path in paths])


# -- manifests and the statcache -------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="write a manifest of 50,000 files")
@pytest.mark.parametrize("algo", ["xxh128", "md5"])
def test_encode(benchmark: BenchmarkFixture, manifest: Tree, algo: str) -> None:
    benchmark(trees.encode, Tree(algo, manifest.files))


@pytest.mark.benchmark(group="write a manifest of 50,000 files")
def test_limit_json_dumps(benchmark: BenchmarkFixture, manifest: Tree) -> None:
    items = [{"md5": file.hex, "relpath": name} for name, file in manifest.files.items()]
    benchmark(json.dumps, items)


@pytest.mark.benchmark(group="read a manifest of 50,000 files")
@pytest.mark.parametrize("algo", ["xxh128", "md5"])
def test_decode(benchmark: BenchmarkFixture, manifest: Tree, algo: str) -> None:
    data = trees.encode(Tree(algo, manifest.files))
    assert len(benchmark(trees.decode, data, algo).files) == NAMES


@pytest.mark.benchmark(group="read a manifest of 50,000 files")
def test_limit_json_loads(benchmark: BenchmarkFixture, manifest: Tree) -> None:
    benchmark(json.loads, trees.encode(Tree("md5", manifest.files)))


@pytest.mark.benchmark(group="load what is known of 50,000 files")
def test_statcache_load(benchmark: BenchmarkFixture, manifest: Tree, tmp_path: Path) -> None:
    status = os.stat(tmp_path)
    cache = StatCache(tmp_path / "statcache")
    for name, file in manifest.files.items():
        cache.put("xxh128", f"/data/{name}", status, file.hex, written=True)
    cache.save()
    directories = sorted({os.path.dirname(f"/data/{name}") for name in manifest.files})

    def load() -> int:
        again = StatCache(tmp_path / "statcache")
        return sum(len(again.directory("xxh128", directory).rows) for directory in directories)

    assert benchmark(load) == NAMES


@pytest.mark.benchmark(group="load what is known of 50,000 files")
def test_limit_msgpack(benchmark: BenchmarkFixture, manifest: Tree, tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(msgpack.packb({f"/data/{name}": bytes(48) for name in manifest.files}))
    assert len(benchmark(lambda: msgpack.unpackb(path.read_bytes()))) == NAMES
