"""The house stands: imports go down only, and what is heavy is imported in one place."""

import ast
from pathlib import Path

import logmlm

ROOT = Path(logmlm.__file__).parent
FLOORS = (
    ("frozen", "backtracking", "translation"),
    ("patterns",),
    ("__init__", "records", "errors", "redaction"),
    (
        "storage",
        "config",
        "secretfile",
        "httpclient",
        "failures",
        "rfc3339",
        "alertjson",
        "jsontext",
        "jsonmessage",
        "linetext",
        "matchers",
        "safepoints",
        "tails",
        "processes",
        "shapes",
        "configdocument",
        "maskadvice",
        "tables",
        "follower",
        "globs",
        "parsed",
    ),
    ("kafkaconfig", "kafkaaddress", "surges", "windowrules", "windowid", "tally", "watermark"),
    ("sourceconfig", "sinkconfig", "serviceconfig", "alertingconfig", "state", "groups"),
    ("kafkatokens", "groupjson", "silences", "feedback", "deadletters"),
    ("kafkaclient",),
    ("runconfig", "labels", "masks", "matcher", "template_file", "manifest", "explanation"),
    ("muting",),
    ("parcels",),
    ("outbox", "alertlist", "statedir"),
    ("audit",),
    ("httplimits", "silenceapi"),
    ("signals", "service", "metrics", "httpserver", "logs", "status"),
    ("couriers",),
    (
        *("formats", "templates", "windows", "calibration", "alerting", "mlm", "sources"),
        *("sinks", "rules", "scoretable", "edits", "turns"),
    ),
    ("keys", "looks", "loops", "parts", "skewreport", "input_check"),
    ("layouts", "configfile"),
    ("parsing",),
    ("screen",),
    ("modeldir", "modelwatch"),
    ("known",),
    ("ladder",),
    ("crew", "reader", "detection_metrics", "fitting", "alerts", "receivers"),
    ("evaluation", "sifting"),
    ("handover", "outside", "shards", "cluster"),
    ("detector", "learning", "report", "pipeline"),
    ("reloading", "lessonadvice"),
    ("training", "assessment", "daemon", "clusterscores", "clusterparsing"),
    ("preflight",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""From the ground up; a module imports only from floors below its own, a package is one noun."""
HEAVY = ("torch", "transformers", "tokenizers", "safetensors")


def noun(module):
    """What a module of ours belongs to: the file or package right under `logmlm`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(source, types_too=True):
    """Names of the modules that a source imports anywhere, in functions too."""
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types_too:
            for inner in node.orelse:
                visit(inner)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute in this house"
            found.update(_parts_of(node))
        for inner in ast.iter_child_nodes(node):
            visit(inner)

    visit(ast.parse(source))
    return found


def _parts_of(node):
    """`from logmlm import records` imports a module, `from logmlm.records import Score` too."""
    if node.module != "logmlm":
        return {node.module}
    names = (alias.name for alias in node.names)
    return {f"logmlm.{name}" if _is_module(name) else "logmlm" for name in names}


def _is_module(name):
    return (ROOT / name).is_dir() or (ROOT / f"{name}.py").exists()


def sources():
    """Each file's own noun, path under the package, and text."""
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT)
        yield inside.parts[0].removesuffix(".py"), inside, path.read_text(encoding="utf-8")


FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def test_every_module_has_a_floor_and_every_floor_its_modules():
    assert {name for name, _, _ in sources()} == set(FLOOR_OF)
    assert len(FLOOR_OF) == sum(map(len, FLOORS))


def test_imports_go_down_only():
    upward = [
        f"{inside} (floor {FLOOR_OF[name]}) imports {noun(module)} (floor {FLOOR_OF[noun(module)]})"
        for name, inside, text in sources()
        for module in imports(text)
        if module.split(".")[0] == "logmlm"
        and noun(module) != name
        and FLOOR_OF[noun(module)] >= FLOOR_OF[name]
    ]
    assert upward == []


def test_torch_and_its_kin_are_imported_under_mlm_alone():
    outside = [
        f"{inside} imports {module}"
        for name, inside, text in sources()
        for module in imports(text, types_too=False)
        if module.split(".")[0] in HEAVY and name != "mlm"
    ]
    assert outside == []


def test_kafka_is_imported_in_kafka_modules_alone():
    outside = [
        f"{inside} imports {module}"
        for _, inside, text in sources()
        for module in imports(text, types_too=False)
        if module.split(".")[0] == "kafka" and "kafka" not in inside.name
    ]
    assert outside == []


def test_ray_is_imported_in_one_module_alone():
    found = {
        str(inside)
        for _, inside, text in sources()
        for module in imports(text)
        if module.split(".")[0] == "ray"
    }
    assert found == {"cluster.py"}


def test_imports_are_found_wherever_they_stand():
    source = (
        "import a.b\n"
        "from logmlm import records, __version__\n"
        "if TYPE_CHECKING:\n    import t\nelse:\n    import e\n"
        "def f():\n    from logmlm.mlm.pll import Scorer\n"
    )
    always = {"a.b", "logmlm.records", "logmlm", "e", "logmlm.mlm.pll"}
    assert imports(source, types_too=False) == always
    assert imports(source) == always | {"t"}
    assert [noun(m) for m in ("logmlm", "logmlm.mlm.pll")] == ["__init__", "mlm"]
