"""Judges that know nothing of pgagent: PostgreSQL's own tools, and the rows themselves."""

import hashlib
import json
import re
from pathlib import Path

from .postgres import DEBIAN_BIN, run

TABLES = """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 1"""


def fingerprint(server):
    """{database.schema.table: "count|sum of row hashes"} of every permanent user table."""
    prints = {}
    databases = server.sql("SELECT datname FROM pg_database WHERE datallowconn AND NOT "
                           "datistemplate ORDER BY 1").splitlines()
    for db in databases:
        tables = server.sql(TABLES, db=db).splitlines()
        hashes = [f"SELECT {number}, count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 15))"
                  f"::bit(60)::bigint::numeric), 0) FROM {table} t"
                  for number, table in enumerate(tables)]
        if hashes:
            for number, count, total in server.rows(" UNION ALL ".join(hashes), db=db):
                prints[f"{db}.{tables[int(number)]}"] = f"{count}|{total}"
    return prints


def same_rows(expected, actual):
    """Compares two fingerprints and names the tables that differ."""
    assert expected, "nothing to compare: no user table"
    differ = {name: (expected.get(name), actual.get(name))
              for name in expected.keys() | actual.keys()
              if expected.get(name) != actual.get(name)}
    assert not differ, f"tables differ (expected, found): {differ}"


def pgbench_balanced(server):
    """Whatever the moment, a transaction of pgbench is there as a whole or not at all."""
    sums = server.sql("SELECT (SELECT sum(abalance) FROM pgbench_accounts), "
                      "(SELECT sum(bbalance) FROM pgbench_branches), "
                      "(SELECT sum(tbalance) FROM pgbench_tellers), "
                      "(SELECT coalesce(sum(delta), 0) FROM pgbench_history)").split("|")
    assert len(set(sums)) == 1, f"half a transaction was restored: {sums}"
    return int(server.sql("SELECT count(*) FROM pgbench_history"))


def amcheck(server):
    """Every heap and index checked, every heap tuple looked up in its indexes."""
    run([DEBIAN_BIN / "pg_amcheck", "-h", server.sockets, "-p", server.port, "-U", "postgres",
         "--heapallindexed", "-d", "postgres"], timeout=240)
    failed = server.sql("SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database")
    assert failed == "0", f"{failed} checksum failures were counted by the server"


def checksums(server):
    """pg_checksums --check; the server must be stopped cleanly (15 only)."""
    assert server.major == 15
    run([DEBIAN_BIN / "pg_checksums", "--check", "-D", server.data])


def manifest_version_1(manifest):
    """A manifest of 17 or newer as 15's pg_verifybackup reads it: no system identifier, version 1.

    The text is edited, not parsed and written again, so that every other byte stays as it was.
    """
    text = manifest.read_text(encoding="utf-8")
    text = re.sub(r'("PostgreSQL-Backup-Manifest-Version":) *2', r"\1 1", text, count=1)
    text = re.sub(r'"System-Identifier": *[0-9]+,\n', "", text, count=1)
    end = text.rindex('"Manifest-Checksum"')
    digest = hashlib.sha256(text[:end].encode()).hexdigest()
    text = text[:end] + f'"Manifest-Checksum": "{digest}"}}\n'
    json.loads(text)
    return text


def verifybackup(data, major, scratch, parse_wal=False, changed=()):
    """pg_verifybackup of a restored directory that has not been started yet.

    What a restore adds beside the backup's own files is left out by name, and only at the top;
    `changed` names what it has to change (tablespace_map, when tablespaces moved).
    """
    manifest = Path(data) / "backup_manifest"
    assert manifest.is_file(), "the restored directory has no backup_manifest"
    command = [DEBIAN_BIN / "pg_verifybackup"]
    if major >= 17:
        rewritten = Path(scratch) / f"manifest-{Path(data).name}"
        rewritten.write_text(manifest_version_1(manifest), encoding="utf-8")
        command += ["-m", rewritten]
    if not parse_wal:
        command.append("-n")
    for added in sorted(Path(data).iterdir()):
        if "pgagent" in added.name:
            command += ["-i", added.name]
    for name in changed:
        command += ["-i", name]
    done = run([*command, data])
    assert "successfully verified" in done.stdout, done.stdout


def manifest(data, backup):
    """What 15's pg_verifybackup can't know of a newer manifest, and what it is not shown of it.

    The checksum over its own text, and the system identifier and the WAL that it claims.
    """
    text = (Path(data) / "backup_manifest").read_bytes()
    parsed = json.loads(text)
    end = text.rindex(b'"Manifest-Checksum"')
    assert parsed["Manifest-Checksum"] == hashlib.sha256(text[:end]).hexdigest()
    major = backup["server_version"] // 10000
    assert parsed["PostgreSQL-Backup-Manifest-Version"] == (2 if major >= 17 else 1)
    if major >= 17:
        assert str(parsed["System-Identifier"]) == str(backup["system_identifier"])
    wal = parsed["WAL-Ranges"]
    assert wal[0]["Start-LSN"] == backup["start_lsn"] and wal[-1]["End-LSN"] == backup["stop_lsn"]
    assert wal[-1]["Timeline"] == backup["timeline"]
    names = [f.get("Path", f.get("Encoded-Path")) for f in parsed["Files"]]
    assert len(names) == len(set(names)), "a file is named twice"
    assert "backup_label" in names
