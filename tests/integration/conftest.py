"""Fixtures: the major versions, a laboratory per test, small file systems where there are any."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.lab import Lab  # noqa: E402
from harness.postgres import bindir  # noqa: E402

MAJORS = [int(m) for m in os.environ.get("PGAGENT_TEST_MAJORS", "15,16,17,18").split(",")]


def pytest_configure(config):
    config.addinivalue_line("markers", "nightly: too long for every commit; run by --nightly")
    config.addinivalue_line("markers", "only(*majors): what is tested exists for these only")
    if os.geteuid() == 0:
        raise pytest.UsageError("PostgreSQL does not run as root: use tests/run.sh, "
                                "which runs these tests as user postgres")
    program = os.environ.get("PGAGENT", "")
    if not os.access(program, os.X_OK):
        raise pytest.UsageError(f"PGAGENT must name the program to test (is: '{program}')")
    for major in MAJORS:
        if not (bindir(major) / "postgres").exists():
            raise pytest.UsageError(f"no PostgreSQL {major} in {bindir(major)}: "
                                    f"infrastructure/install-deps.sh run pg{major}")


def pytest_generate_tests(metafunc):
    if "major" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("only")
        majors = [m for m in MAJORS if not mark or m in mark.args]
        if "reading" in metafunc.fixturenames:
            # From 17 on the server can send what changed; each way is tested where there are two.
            ways = [(m, way) for m in majors for way in ("stream", "server-side")[:1 + (m >= 17)]]
            metafunc.parametrize("major, reading", ways, scope="module",
                                 ids=[f"pg{m}-{way}" for m, way in ways])
            return
        metafunc.parametrize("major", majors, scope="module", ids=[f"pg{m}" for m in majors])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Tests that share a server (module fixtures) stay together on one worker, per major.

    Those that share go first, as a group that begins last would keep one worker alone at the end.
    """
    for item in items:
        if getattr(item.module, "SHARES_SERVER", False):
            callspec = getattr(item, "callspec", None)
            kind = [str(callspec.params.get(k, "")) for k in ("major", "reading")] if callspec else []
            item.add_marker(pytest.mark.xdist_group("-".join([item.module.__name__, *kind])))
    items.sort(key=lambda item: not getattr(item.module, "SHARES_SERVER", False))
    if os.environ.get("PGAGENT_TEST_NIGHTLY") != "1":
        kept = [i for i in items if not i.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=[i for i in items if i not in kept])
        items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the ends of the server logs of its laboratory."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            lab = value if isinstance(value, Lab) else getattr(value, "lab", None)
            if isinstance(lab, Lab):
                report.sections += [(f"server log {name}", text) for name, text in lab.logs()]


@pytest.fixture(scope="session")
def session_root(request):
    """Where all of this session lies; the workers of one run share the templates in it."""
    given = os.environ.get("PGAGENT_TEST_DIR")
    root = Path(given or tempfile.mkdtemp(prefix="pgagent-", dir="/var/tmp"))
    assert len(str(root)) < 60, f"{root}: too long for the socket paths below it"
    yield root
    if not given:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def worker_number():
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])


def new_lab(session_root, worker_number, state={"port": 0}):
    port = 21000 + worker_number * 2000 + state["port"] * 20 % 2000
    state["port"] += 1
    root = Path(tempfile.mkdtemp(prefix="l", dir=session_root))
    return Lab(root, session_root / "templates", port)


@pytest.fixture
def lab(session_root, worker_number):
    made = new_lab(session_root, worker_number)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_lab(session_root, worker_number):
    made = new_lab(session_root, worker_number)
    yield made
    made.close()


@pytest.fixture
def small_fs(worker_number):
    """An empty file system of 96 MiB, as a path.  tests/run.sh makes them when it runs as root."""
    given = [d for d in os.environ.get("PGAGENT_TEST_SMALL_FS", "").split(":") if d]
    if not given:
        pytest.skip("no small file system: mounting a tmpfs needs root (tests/run.sh as root)")
    if worker_number >= len(given):
        pytest.fail(f"{len(given)} small file systems for more workers")
    place = Path(given[worker_number])
    for old in place.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    yield place
    for old in place.iterdir():
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()
