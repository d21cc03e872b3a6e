"""The two files that pgagent consists of: what each loads, and how one finds the other."""

import shutil
import subprocess

import pytest

from harness.agent import program

pytestmark = pytest.mark.only(15)

WHOLE = "pgagent-whole"
FOR_SERVERS = ("libpq", "libarchive", "libssl", "libgssapi", "libldap", "libxml2", "libicu")


@pytest.fixture
def home(lab):
    return lab.agent(None).home


def run(argv, **more):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, **more)


def install(root, front, whole):
    """Copies of the two programs, at these paths below `root`."""
    for source, path in ((program(), front), (program().with_name(WHOLE), whole)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, root / path)
    return root / front


def test_what_postgresql_starts_loads_no_library_for_servers(lab):
    loaded = run(["ldd", program()]).stdout
    assert "libcrypto" in loaded, loaded
    assert not [name for name in FOR_SERVERS if name in loaded], loaded


@pytest.mark.parametrize("front, whole", [("pgagent", WHOLE),
                                          ("bin/pgagent", f"libexec/pgagent/{WHOLE}")])
def test_an_installation_works_wherever_it_lies(lab, home, front, whole):
    moved = install(home / "a place", front, whole)
    link = home / "link"
    link.symlink_to(moved)
    for started in (moved, link):
        done = run([started, "--config", home / "pgagent.conf", "check", "--output", "json"])
        assert '"command": "check"' in done.stdout, done


def test_a_command_line_for_others_names_the_program_that_people_start(lab, major):
    done = lab.agent(lab.server(major)).run("init", "--yes", expect=0)
    assert f"{program().resolve()} archive-push" in done.out
    assert WHOLE not in done.out


def test_one_file_alone_says_where_it_looked_for_the_other(lab, home):
    alone = home / "alone" / "pgagent"
    alone.parent.mkdir()
    shutil.copy(program(), alone)
    done = run([alone, "--config", home / "pgagent.conf", "backup"])
    assert done.returncode == 1
    assert WHOLE in done.stderr and str(alone.parent) in done.stderr
    assert "cmake --install" in done.stderr
    assert run([alone, "--version"]).returncode == 0
