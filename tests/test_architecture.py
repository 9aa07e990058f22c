"""The rules of the house, held by a test."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from services.settings.table import VARIABLES
from utils import late
from utils.env_names import OURS

ROOT = Path(__file__).parent.parent
LAYERS = ["app", "blueprints", "services", "database", "utils"]
LONGEST_FILE = 450
# Each room, and those that it may import from. Where a circle or an arrow back is needed, a file is in the wrong room.
ROOMS = {
    "smtp": "",
    "web_request": "smtp",
    "oauth": "web_request smtp",
    "message": "",
    "audit": "",
    "inbox_listening": "",
    "local_inbox": "inbox_listening",
    "registry": "",
    "reasons": "",
    "calendar": "smtp oauth",
    "address_key": "",
    "tracing": "",
    "conversations": "smtp",
    "settings": "smtp oauth audit reasons calendar address_key conversations",
    "suppression": "address_key reasons audit",
    "diagnosis": "smtp registry reasons",
    "delivery": "smtp message settings diagnosis reasons suppression conversations address_key tracing",
    "providers": "registry web_request smtp settings delivery",
    "outbox": "reasons delivery settings message diagnosis audit calendar address_key suppression conversations"
    " tracing",
    "accounts": "reasons outbox audit",
    "single_sign_on": "oauth web_request smtp accounts audit",
    "factors": "accounts outbox audit",
    "domain": "smtp registry settings",
    "worker": "reasons outbox delivery accounts settings message smtp audit oauth suppression tracing",
    "checks": "gallery oauth reasons worker outbox delivery diagnosis settings message smtp calendar",
    "connecting": "settings oauth checks delivery outbox audit providers registry diagnosis smtp calendar personal",
    "personal": "settings smtp delivery reasons outbox worker accounts audit checks diagnosis message providers",
    "gateway": "accounts audit delivery message outbox personal settings smtp tracing",
    "privacy": "address_key suppression outbox accounts audit reasons conversations smtp",
    "alerts": "settings smtp web_request audit outbox delivery message calendar checks worker",
    "gallery": "message outbox delivery settings audit",
    "metrics": "settings reasons outbox delivery calendar checks worker alerts",
    "overview": "alerts checks delivery outbox reasons settings",
    "backup": "outbox audit",
    "email_service": "checks outbox delivery diagnosis settings message smtp",
    "blueprints": "",
    "pages": "blueprints",
    "api": "blueprints",
    "cli": "blueprints",
}
TOP_LEVEL = {
    "app.py", "blueprints", "database", "services", "utils", "templates", "tests", "requirements.txt",
    ".env.example", "README.md", "static", "benchmarks", "requirements-dev.txt", "Makefile", "pyproject.toml",
    "CHANGELOG.md", "LICENSE", "deploy", "docs", "CONTRIBUTING.md", "gunicorn.conf.py", "examples",
    "Containerfile", "compose.yaml",
}  # fmt: skip
PRIVATE_PARTS = {
    "database.driver": {"_flushing", "_invalidate"},
    "services.smtp.tls": {"_sslobj"},  # the standard library's, public from Python 3.13 on
    "services.gateway.conversation": {"_handler_coroutine"},  # aiosmtpd's, which is pinned
}
# The script that stands at /usr/sbin/sendmail has to be one file that needs nothing else of ours.
STANDS_ALONE = "utils.sendmail"
TWICE: set[str] = set()
PUBLIC = {
    "static", "bootstrap.static", "pages.home", "auth.setup", "auth.login", "auth.forgot_password",
    "auth.redeem", "auth.reset_password", "address.show", "address.confirm", "typed.session",
    "sender_link.ask", "sender_link.confirm", "open_pixel.show", "oauth.callback",
    "single_sign_on.begin", "single_sign_on.callback", "single_sign_on.begin_invited", "single_sign_on.signed_out",
    "single_sign_on.link", "single_sign_on.redeem_link",
    "auth.second_step", "auth.finish",
    "passkeys.options_to_sign_in", "passkeys.sign_in", "health.live", "health.ready", "health.mail_ready",
}  # fmt: skip


def sources() -> list[Path]:
    folders = [ROOT / layer for layer in LAYERS[1:]]
    found = [ROOT / "app.py", *(file for folder in folders for file in folder.rglob("*.py"))]
    return [file for file in found if "versions" not in file.parts]


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(file: Path) -> Iterator[tuple[str, int]]:
    """The modules of ours that a file imports, with how deep in the code the import stands."""
    tree = ast.parse(file.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.partition(".")[0] in LAYERS:
                yield name, 0 if id(node) in top else 1
    for name in late_ones_of(file):
        yield name, 0


def late_ones_of(file: Path) -> set[str]:
    """The modules that a file loads when it needs them, of which utils/late.py is the list."""
    return set(re.findall(r"\blate\.load\(\"([\w.]+)\"\)", file.read_text()))


def room_of(name: str) -> str:
    """The package of a module of services or blueprints, or the module itself where it stands beside the packages."""
    layer, *parts = name.split(".")
    if name == "services.providers.mailboxes":
        return "registry"  # the part of it that reads the second file
    if name in (
        "services.providers.registry",
        "services.outbox.reasons",
        "services.connecting.calendar",
    ):
        # They know nothing of ours, so that rooms below theirs may ask them.
        return name.rpartition(".")[2]
    if layer == "blueprints":
        return parts[0] if len(parts) > 1 else layer
    return parts[0] if layer == "services" and parts else layer


def graph() -> dict[str, set[str]]:
    files = {name_of(file): file for file in sources()}
    return {name: {to for to, _ in imports_of(file) if to in files and to != name} for name, file in files.items()}


def test_imports_go_one_way() -> None:
    for name, targets in graph().items():
        layer = name.partition(".")[0]
        for target in targets:
            other = target.partition(".")[0]
            assert LAYERS.index(other) >= LAYERS.index(layer), f"{name} imports {target}"
            assert (layer, other) != ("blueprints", "database"), f"{name} imports {target}"
            assert other != "app", f"{name} imports {target}"


def test_rooms_import_only_along_these_arrows() -> None:
    graph_of_all = graph()
    for name, targets in graph_of_all.items():
        for target in targets:
            here, there = room_of(name), room_of(target)
            is_package = any(other.startswith(f"{target}.") for other in graph_of_all)
            if here != there and not is_package and name.partition(".")[0] == target.partition(".")[0]:
                assert there in ROOMS[here].split(), f"{name} imports {target}"


def test_every_file_of_services_and_blueprints_is_in_a_room_or_named() -> None:
    assert {room_of(name_of(file)) for file in sources()} <= {*ROOMS, *LAYERS}


def test_there_is_no_circle_of_imports() -> None:
    edges, done = graph(), set[str]()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for target in edges[name]:
                walk(target, (*path, name))
            done.add(name)

    for name in edges:
        walk(name, ())


def test_no_import_of_ours_hides_in_a_function() -> None:
    hidden = [(name_of(file), to) for file in sources() for to, depth in imports_of(file) if depth]
    assert hidden == []


def test_what_is_imported_late_stands_in_the_list_with_its_reason_and_is_still_imported_so() -> None:
    assert set().union(*map(late_ones_of, sources())) == set(late.LATE)
    assert all(late.LATE.values())


def test_only_one_file_imports_by_name() -> None:
    named = re.compile(r"\b(?:importlib\.import_module|__import__|import_string|find_modules)\b")
    assert {name_of(file) for file in sources() if named.search(file.read_text())} == {"utils.late"}


def private_names(file: Path) -> set[str]:
    """Names with an underscore that a file uses of something, and keys that look like them."""
    tree = ast.parse(file.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            used |= set((node.module or "").split(".")) | {alias.name for alias in node.names}
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            used.add(str(node.slice.value))
    return {name for name in used if name.startswith("_") and not name.startswith("__")}


def defined_names() -> set[str]:
    """Everything that a file of ours defines: functions, classes, variables, attributes."""
    found: set[str] = set()
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def test_private_parts_of_libraries_are_used_in_the_driver_path_alone() -> None:
    named_tuples = {"_asdict", "_fields", "_replace"}
    ours = defined_names() | named_tuples | {"_get_current_object", "_exit"}  # which Werkzeug and os document
    theirs = {name_of(file): private_names(file) - ours for file in sources()}
    assert {name: used for name, used in theirs.items() if used} == PRIVATE_PARTS


def test_only_the_smtp_client_opens_sockets_and_nobody_uses_smtplib() -> None:
    opens = {
        name_of(file) for file in sources() if re.search(r"^(?:import|from) (?:socket|ssl)\b", file.read_text(), re.M)
    }
    client = {f"services.smtp.{part}" for part in ("wire", "dial", "tls", "trust", "alerts")}
    listening = {"blueprints.serving", "blueprints.gunicorn_requests", "utils.service_manager"}
    listening |= {f"services.gateway.{part}" for part in ("conversation", "listening", "certificate")}
    asking = "utils.own_addresses"  # where it can be reached
    assert opens == {*listening, asking, *client, STANDS_ALONE}
    assert {name_of(file) for file in sources() if "smtplib" in file.read_text()} == {STANDS_ALONE}


def test_only_the_pool_the_connection_test_and_its_probes_hold_smtp_conversations() -> None:
    callers = {name_of(file) for file in sources() if re.search(r"\bSmtpClient\(", file.read_text())}
    assert callers == {"services.smtp.pool", "services.checks.connection_test", "services.smtp.probe"}


@pytest.mark.parametrize("file", sources(), ids=name_of)
def test_a_file_is_one_subject_and_not_too_long(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST_FILE or name_of(file) == STANDS_ALONE


def test_the_script_that_stands_alone_needs_the_standard_library_only() -> None:
    tree = ast.parse((ROOT / "utils" / "sendmail.py").read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in modules} <= sys.stdlib_module_names


def test_every_route_has_a_guard_and_the_public_ones_are_these(app: Flask) -> None:
    guards = {name: getattr(view, "guard", None) for name, view in app.view_functions.items()}
    assert {name for name, guard in guards.items() if guard in (None, "public")} == PUBLIC
    assert set(guards.values()) <= {
        None,
        "public",
        "signed_in",
        "admin_page",
        "admin_api",
        "account_api",
        "metrics_api",
        "inbox_reader",
        "document_reader",
    }


def test_every_variable_that_is_read_stands_in_the_sample_with_a_line_about_it() -> None:
    code = "".join((ROOT / "utils" / f"{name}.py").read_text() for name in ("env_utils", "env_urls"))
    read = set(re.findall(r"env\.\w+\(\"([A-Z]+(?:_[A-Z]+)+|HOST|PORT)\"", code)) | set(VARIABLES.values())
    sample = (ROOT / ".env.example").read_text()
    documented = set(re.findall(r"^#?([A-Z_]+)=", sample, re.MULTILINE))
    assert documented == OURS
    assert read <= OURS


def public_types_of(file: Path) -> Iterator[str]:
    """The classes that a file defines for others, and its names for types."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id


def test_no_two_public_types_share_a_name() -> None:
    is_type = re.compile("[A-Z]+[a-z]").match
    found = Counter(name for file in sources() for name in public_types_of(file) if is_type(name))
    assert {name for name, times in found.items() if times > 1} == TWICE


def test_the_top_level_holds_what_was_agreed_and_nothing_else() -> None:
    ignored = set((ROOT / ".gitignore").read_text().split())
    found = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}
    strangers = {name for name in found - TOP_LEVEL if f"{name}/" not in ignored and name not in ignored}
    assert strangers == set()


def test_no_page_holds_inline_script_or_style() -> None:
    for template in (ROOT / "templates").rglob("*.html"):
        if "email" in template.parts:
            continue
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", text), template.name
        assert "|safe" not in text.replace(" ", "")


def test_no_script_writes_markup() -> None:
    for script in (ROOT / "static").glob("*.js"):
        text = script.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            script
        )


def test_browsers_are_given_nothing_to_store_but_the_colours_and_a_key() -> None:
    stored = re.compile(r"(?:localStorage|sessionStorage)\.\w+\(\"(\w+)\"|(indexedDB|caches\.|document\.cookie)")
    found = {
        (script.name, *match)
        for script in (ROOT / "static").glob("*.js")
        for match in stored.findall(script.read_text())
    }
    assert {key for _, *key_or_kind in found for key in key_or_kind if key} == {"theme", "slash"}


def called_in(file: Path) -> set[str]:
    """What a file calls, as it is written."""
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)}


def test_nothing_is_evaluated_and_no_program_is_started() -> None:
    """Nor is anything read that could be code: no pickle, no marshal, no YAML."""
    forbidden = re.compile(
        r"(builtins\.)?(eval|exec|compile|__import__)|(subprocess|pty|pickle|marshal|shelve|yaml)\.\w+"
        r"|os\.(system|popen|exec\w+|spawn\w+|posix_spawn\w*)|asyncio\.create_subprocess_\w+"
    )
    found = {(name_of(file), call) for file in sources() for call in called_in(file) if forbidden.fullmatch(call)}
    # Our own programs: what a container becomes after it has migrated, and the gateway beside gunicorn.
    ours = {("utils.container", "subprocess.Popen"), ("utils.container", "os.execv")}
    assert found == ours | {("blueprints.sibling", "subprocess.Popen")}


def test_weak_hashes_are_used_where_a_servers_protocol_wants_them_alone() -> None:
    named = re.compile(r"\b(?:md5|sha1)\b")
    assert {name_of(file) for file in sources() if named.search(file.read_text())} == {"services.smtp.sasl"}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "benchmarks/requirements.txt"])
def test_every_requirement_is_pinned_with_its_hash(name: str) -> None:
    text = re.sub(r"\\\n\s*", "", (ROOT / name).read_text())
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if not re.match(r"[\w.\[\]-]+==[\w.]+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
