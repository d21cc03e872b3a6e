"""What tidy asks of a tree: one function per rule, each yields (path, line, text).

The tree is read once.  C is looked at with its comments, strings and characters blanked out, line
by line where they were, so that a rule sees code only and can still name the line.
"""
import os
import re
import shutil
import subprocess

# Who may include whom, beside itself: base <- {pgformat, crypto, codec} <- {postgres, tar, store}
# <- repo <- wal <- {backup, restore} <- agent.  Siblings in braces do not see each other, and the
# rooms that touch one thing of the outside see as little as they can do with.
BELOW_REPO = {"base", "pgformat", "crypto", "codec", "store"}
BELOW_WORKFLOWS = BELOW_REPO | {"repo", "wal", "postgres", "tar"}
MAY_SEE = {
    "base": set(),
    "pgformat": {"base"},
    "crypto": {"base"},
    "codec": {"base"},
    "postgres": {"base", "pgformat"},
    "tar": {"base"},
    "store": {"base"},
    "repo": BELOW_REPO,
    "wal": BELOW_REPO | {"repo"},
    "backup": BELOW_WORKFLOWS,
    "restore": BELOW_WORKFLOWS,
}
DRIVERS = ("store/posix/", "store/memory/")  # chosen by agent/ alone

FOREIGN = (
    (re.compile(r"(libpq-fe\.h|libpq/|pg_config|postgres_fe\.h|internal/libpq)"), "lib/postgres/"),
    (re.compile(r"archive(_entry)?\.h$"), "lib/tar/"),
    (re.compile(r"openssl/"), "lib/crypto/"),
    (re.compile(r"(zstd|zstd_errors|zdict)\.h$"), "lib/codec/"),
    (re.compile(r"(ini|jansson)\.h$"), "agent/"),
)

BANNED = "strcpy strcat strncpy sprintf strtok atoi atol localtime gmtime gets vsprintf".split()
BANNED_IN_LIB = ("open close read write rename unlink mkdir fsync time clock_gettime sleep usleep "
                 "nanosleep getenv exit printf fprintf abort").split()

LINES_MAX = 600
SKIPPED_DIRS = {".git", ".deps", "__pycache__", "node_modules"}
# Put together here, so that this file does not contain what it looks for.
MARKERS = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "X" "XX")) + r")\b")
FOREIGN_PATHS = re.compile(r"(?<![\w})\]])/wo" r"rk/|\.\./sha" r"red\b")

INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]+([<\"])([^>\"\n]+)[>\"]", re.M)
NOT_CODE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


class Tree:
    def __init__(self, root):
        self.root = root
        self.paths = sorted(list_files(root))
        self.text = {}
        for path in self.paths:
            with open(os.path.join(root, path), "rb") as f:
                data = f.read()
            if b"\0" not in data:
                self.text[path] = data.decode("utf-8", "replace")

    def c_files(self, *tops):
        return [p for p in self.text
                if p.endswith((".c", ".h")) and (not tops or p.startswith(tops))]


def list_files(root):
    """What git tracks or would track; without git (an unpacked archive), what is there."""
    run = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "-co",
                          "--exclude-standard", "--deduplicate"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if run.returncode == 0 and os.path.exists(os.path.join(root, ".git")):
        names = [n.decode() for n in run.stdout.split(b"\0") if n]
        return [n for n in names if os.path.isfile(os.path.join(root, n))]
    found = []
    for folder, dirs, files in os.walk(root):
        at_top = folder == root
        dirs[:] = [d for d in dirs if d not in SKIPPED_DIRS
                   and not (at_top and (d == "build" or d.startswith("build-")))]
        found += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return [f for f in found if os.path.isfile(os.path.join(root, f))]


def code_of(text):
    """The text with comments, strings and characters blanked, newlines kept."""
    def blank(match):
        s = match.group(0)
        if s[0] in "\"'":
            return s[0] + " " * (len(s) - 2) + s[0]
        return re.sub(r"[^\n]", " ", s)
    return NOT_CODE.sub(blank, text)


def line_at(text, offset):
    return text.count("\n", 0, offset) + 1


def room_of(path):
    """The room of a file in lib/, "agent", or the room that a unit test belongs to."""
    parts = path.split("/")
    if parts[0] == "lib" and len(parts) > 2:
        return parts[1]
    if parts[0] == "agent":
        return "agent"
    if parts[:2] == ["tests", "unit"] and len(parts) > 3:
        return parts[2]
    return None


def includes(tree, *tops):
    for path in tree.c_files(*tops):
        text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                      tree.text[path], flags=re.S)
        for m in INCLUDE.finditer(text):
            yield path, line_at(text, m.start(1)), m.group(1) == '"', m.group(2)


def rule_arrows(tree):
    for path, line, quoted, name in includes(tree, "lib/"):
        room = room_of(path)
        if room not in MAY_SEE:
            yield path, line, "the room is not in the map of tests/tidy/rules.py"
            continue
        other = name.split("/")[0]
        if other not in MAY_SEE:
            if quoted:
                yield path, line, '"%s": includes are written from lib/: "room/header.h"' % name
            continue
        if other != room and other not in MAY_SEE[room]:
            yield path, line, "%s may not include %s: %s" % (room, other, name)
        elif other != room and name.startswith(DRIVERS):
            yield path, line, "only agent/ chooses a driver: " + name


def rule_privacy(tree):
    for path, line, _, name in includes(tree):
        if not name.endswith("_internal.h"):
            continue
        owner = name.split("/")[0] if "/" in name else room_of(path)
        if owner != room_of(path):
            yield path, line, "%s belongs to the room %s alone" % (name, owner)


def rule_foreign_headers(tree):
    for path, line, _, name in includes(tree, "lib/", "agent/"):
        for pattern, home in FOREIGN:
            if pattern.match(name) and not path.startswith(home):
                yield path, line, "<%s> is for %s alone" % (name, home)


def rule_banned(tree):
    everywhere = re.compile(r"\b(" + "|".join(BANNED) + r")\s*\(")
    in_lib = re.compile(r"\b(" + "|".join(BANNED + BANNED_IN_LIB) + r")\s*\(")
    for path in tree.c_files("lib/", "agent/"):
        code = code_of(tree.text[path])
        outside_base = path.startswith("lib/") and room_of(path) != "base"
        for m in (in_lib if outside_base else everywhere).finditer(code):
            before = code[:m.start()].rstrip()
            if not before.endswith((".", "->")):  # a member of an operations table
                yield path, line_at(code, m.start()), "%s() is banned here" % m.group(1)


def is_mutable(declaration):
    """Of one definition at file scope or `static` one in a function, without its initialiser."""
    d = re.sub(r"__attribute__\s*\(\(.*\)\)", "", declaration, flags=re.S)
    d = re.sub(r"\[[^\]]*\]", "", d).strip()
    if re.match(r"(typedef|extern|_Static_assert|static_assert)\b", d) or not d:
        return False
    pointer_to_function = re.match(r"[\w\s*]+\(\s*\*\s*(const\b)?", d)
    if pointer_to_function:
        return pointer_to_function.group(1) is None
    if "(" in d:  # a prototype
        return False
    if re.match(r"(static\s+)?(struct|union|enum)\s*\w*\s*(\{\})?$", d):
        return False
    pointee, star, rest = d.rpartition("*")
    return not re.search(r"\bconst\b", rest if star else d)


def definitions(code):
    """(offset, text) of what ends in `;` or `=` at file scope, blocks shortened to {}, and of
    every `static` inside a block."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                  code, flags=re.M)
    depth, start, text, done = 0, 0, "", False
    for i, ch in enumerate(code):
        if ch == "{":
            depth += 1
            if depth == 1 and not done:
                text += "{"
        elif ch == "}":
            depth -= 1
            if depth == 0 and not done:
                text += "}"
                if re.search(r"\)\s*\{\}$", text):  # a function's body: the end
                    text = ""
        elif depth == 0 and ch == ";":
            if not done:
                yield start, text
            text, done = "", False
        elif depth == 0 and ch == "=" and not done:
            yield start, text
            done = True
        elif depth == 0 and not done and (text or not ch.isspace()):
            if not text:
                start = i
            text += ch
    for m in re.finditer(r"(?<=[{;}\s])[ \t]+(static\b[^;={(]*)[;=]", code):
        yield m.start(1), m.group(1)


def rule_mutable(tree):
    for path in tree.c_files("lib/"):
        code = code_of(tree.text[path])
        seen = set()
        for offset, text in definitions(code):
            line = line_at(code, offset)
            if line not in seen and is_mutable(text):
                seen.add(line)
                yield path, line, "mutable outside of any object: " + " ".join(text.split())


def rule_headers_alone(tree):
    headers = [p for p in tree.c_files("lib/", "agent/") if p.endswith(".h")]
    if not headers:
        return
    packages = ["libpq", "libcrypto", "libzstd", "libarchive", "inih", "jansson"]
    flags = []
    for package in packages:
        run = subprocess.run(["pkg-config", "--cflags", package], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, check=False)
        flags += run.stdout.split()
    run = subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra",
                          "-Werror", "-fno-diagnostics-show-caret", "-Ilib", "-Iagent", *flags,
                          "-x", "c", *headers],
                         cwd=tree.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, check=False)
    found = False
    for m in re.finditer(r"^([^\s:]+):(\d+)(?::\d+)?: (?:fatal )?error: (.*)$", run.stdout, re.M):
        found = True
        yield m.group(1), int(m.group(2)), "does not compile alone: " + m.group(3)
    if run.returncode != 0 and not found:
        yield headers[0], 1, "gcc: " + run.stdout.strip()


def rule_format(tree):
    files = tree.c_files()
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not files:
        return
    if tool is None:
        yield ".clang-format", 1, "clang-format is not installed"
        return
    run = subprocess.run([tool, "-n", "--Werror", *files], cwd=tree.root, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, check=False)
    seen = set()
    for m in re.finditer(r"^([^\s:]+):(\d+):\d+: error: ", run.stdout, re.M):
        if m.group(1) not in seen:
            seen.add(m.group(1))
            yield m.group(1), int(m.group(2)), "clang-format -i would change it from here on"
    if run.returncode != 0 and not seen:
        yield ".clang-format", 1, run.stdout.strip()


def rule_markers(tree):
    for path, text in tree.text.items():
        for m in MARKERS.finditer(text):
            yield path, line_at(text, m.start()), "work left undone: " + m.group(1)


def rule_length(tree):
    for path, text in tree.text.items():
        if path.endswith((".c", ".h", ".py", ".sh")) or text.startswith("#!"):
            lines = text.count("\n")
            if lines > LINES_MAX:
                yield path, lines, "%d lines, at most %d" % (lines, LINES_MAX)


def rule_readme(tree):
    rooms = sorted({room_of(p) for p in tree.paths if p.startswith("lib/") and room_of(p)})
    for room in rooms:
        if "lib/%s/README.md" % room not in tree.text:
            yield "lib/%s/README.md" % room, 1, "the room has no README.md"


def rule_foreign_paths(tree):
    for path, text in tree.text.items():
        for m in FOREIGN_PATHS.finditer(text):
            yield path, line_at(text, m.start()), "names a place outside the project: " + m.group(0)


RULES = {name[len("rule_"):]: rule for name, rule in list(globals().items())
         if name.startswith("rule_")}


def findings(root, only=None):
    tree = Tree(root)
    found = []
    for name, rule in RULES.items():
        if only is None or name == only:
            found += [(path, line, name, text) for path, line, text in rule(tree)]
    return tree, sorted(found)
