"""What is installed beside the program: systemd's units, and the examples of configurations."""

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from harness.agent import program
from harness.timers import Run, Unit

pytestmark = pytest.mark.only(15)

TREE = Path(__file__).parents[2]
UNITS = sorted((TREE / "systemd").glob("*@.*"))
SERVICES = [u.name.removesuffix(".in") for u in UNITS if ".service" in u.name]
THRESHOLD = 20  # tenths


def installed(lab):
    """The units as cmake --install writes them, for the program under test."""
    place = lab.place("units")
    place.mkdir()
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("@PGAGENT_PROGRAM@", str(program()))
        assert "@PG" not in text, unit
        (place / unit.name.removesuffix(".in")).write_text(text, encoding="utf-8")
    return place


def analyze(*args):
    return subprocess.run(["systemd-analyze", *[str(a) for a in args]], capture_output=True,
                          text=True, timeout=120, stdin=subprocess.DEVNULL)


def test_units_are_well_formed_and_each_service_has_a_timer(lab):
    place = installed(lab)
    done = analyze("verify", "--man=no", *sorted(place.iterdir()))
    assert done.returncode == 0 and str(place) not in done.stderr, done.stderr
    assert len(SERVICES) == 4
    for name in SERVICES:
        assert (place / name.replace(".service", ".timer")).exists(), name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(lab, name):
    done = analyze("security", "--offline=true", f"--threshold={THRESHOLD}", "--no-pager",
                   installed(lab) / name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_commands_that_there_are(name):
    unit = Unit(name.removeprefix("pgagent-").removesuffix("@.service"), "main")
    assert unit.of_pgagent
    for command in unit.of_pgagent:
        # The page of the command; what it does not know would be refused before that.
        done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60,
                              env=unit.environment)
        page = re.match(r"Usage: pgagent (\S+)", done.stdout)
        assert done.returncode == 0 and page and page[1] in command, done


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_given_the_keys_of_the_examples(lab, name):
    """From a place of our own in systemd's store, and only if it is there: a path with a '/' must be."""
    text = (installed(lab) / name).read_text(encoding="utf-8")
    keys = {Path(key).name for conf in (TREE / "conf").rglob("*.conf")
            for key in re.findall(r"^;?\s*key_file = (\S+)", conf.read_text(encoding="utf-8"), re.M)}
    assert keys >= {"local.key", "offsite.key"}
    for key in keys:
        assert f"\nLoadCredential={key}:pgagent.{key}\n" in text, key


def readme_drop_in(before):
    """The indented lines behind the paragraph of systemd/README.md that begins with `before`."""
    text = (TREE / "systemd/README.md").read_text(encoding="utf-8")
    block = re.search(rf"^{re.escape(before)}.*\n(?:\S.*\n)*\n((?: {{4}}.*\n)+)", text, re.M)
    return textwrap.dedent(block.group(1))


def test_with_the_drop_in_of_the_readme_what_is_only_copied_to_is_proven(lab):
    drop_in = readme_drop_in("**What is copied to, proven too.**")
    place = installed(lab)
    folder = place / "pgagent-verify@.service.d"
    folder.mkdir()
    (folder / "offsite.conf").write_text(drop_in, encoding="utf-8")
    done = analyze("verify", "--man=no", place / "pgagent-verify@.service")
    assert done.returncode == 0 and str(place) not in done.stderr, done.stderr

    home = lab.place("h")
    home.mkdir()
    agent = lab.agent(lab.server(15), repos={
        name: {"path": home / name, "key_file": home / f"{name}.key"}
        for name in ("local", "offsite")}).protect()
    agent.cluster["repos"] = "local"
    agent.write_config()
    agent.backup()
    agent.server.archive_all()
    agent.run("copy", "--from", "local", "--to", "offsite")
    for added, proven in (("", False), (drop_in, True)):
        assert Run(Unit("verify", "main", added), agent).result().code == 0
        there = agent.json("list", "--repo", "offsite")["backups"]
        assert [b["verified_at"] is not None for b in there] == [proven]


def test_what_is_copied_to_is_pruned_though_the_copy_failed(lab):
    """What is damaged at the source stays there, and the unit fails; no other takes care of the target."""
    home = lab.place("h")
    home.mkdir()
    none = {f"retain_{rule}": "0" for rule in ("daily", "weekly", "monthly", "yearly")}
    agent = lab.agent(lab.server(15), repos={
        name: {"path": home / name, "key_file": home / f"{name}.key"}
        for name in ("local", "offsite")}, expire_auto="off", expire_grace="0", retain_window="0s",
        retain_backups="1", **none).protect()
    agent.repo = home / "local"
    agent.cluster["repos"] = "local"
    agent.write_config()
    first = agent.backup()["id"]
    agent.server.archiver_rests()
    copy = Unit("copy", "main")
    assert Run(copy, agent).result().code == 0
    agent.server.sql("CREATE TABLE more AS SELECT generate_series(1, 1000) AS i")
    second = agent.backup("--type", "full")["id"]
    agent.server.sql("CREATE TABLE most AS SELECT generate_series(1, 1000) AS i")
    third = agent.backup("--type", "full")["id"]
    agent.server.archiver_rests()
    pack = max(agent.repo / o for o in agent.objects() if "packs" in o.parts and third in o.parts)
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes()[:-1])
    done = Run(copy, agent).result()
    assert done.code == 4 and pack.name in done.err, done
    there = {b["id"] for b in agent.json("list", "--repo", "offsite")["backups"]}
    assert second in there and third not in there and first not in there, there


@pytest.mark.parametrize("example", sorted((TREE / "conf/examples").glob("*.conf")),
                         ids=lambda path: path.stem)
def test_an_example_is_a_good_configuration(lab, example):
    text = example.read_text(encoding="utf-8")
    agent = lab.agent(None)
    # The keys are not there, as nothing was initialised: files of this test stand for them.
    for path in set(re.findall(r"^key_file = (.*)$", text, re.M)):
        key = agent.home / Path(path).name
        key.write_text("0" * 64 + "\n", encoding="utf-8")
        key.chmod(0o600)
        text = text.replace(path, str(key))
    agent.config.write_text(text, encoding="utf-8")
    agent.run("config", "check")


def test_a_credential_stands_for_the_key_file_of_its_name(lab):
    agent = lab.agent(lab.server(15))
    agent.init()
    agent.run("key", "test")
    credentials = lab.place("c")
    credentials.mkdir()
    shutil.move(agent.key, credentials / agent.key.name)
    (credentials / agent.key.name).chmod(0o440)
    agent.run("key", "test", expect=2)
    agent.run("key", "test", env={"CREDENTIALS_DIRECTORY": str(credentials)})
    agent.run("list", env={"CREDENTIALS_DIRECTORY": str(credentials)})
