"""Random command lines: usual and hostile values of every option, and mistakes."""

from __future__ import annotations

import dataclasses
import random
from functools import cache
from pathlib import Path

import typer

from bench.commands.app import app
from methods.registry import known_detectors

# Values

LONG = ("x" * 255, "x" * 256, "x" * 300, "x" * 5000, "a/" * 2100 + "a", "ü" * 200)
NAMES = ("", " ", ".", "..", "-", "--", "-x", "=", "a=b", ",", ",,,", "a,b", "all", "None", "true", "*", "?")
NAMES += ("C:\\x", "//x/y")
NAMES += ("\n", "a\nb", "\t", "\r", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x07", "\x9b31m", "\u202egnp")
NAMES += ("\u2028", "\ufeff")
NAMES += ("ü", "螺母", "🔩", "e\u0301", "\udcff", "n\udcc3\udc28", "\udce2\udc82", "[bold]", "[/]", "[link=x]", "{x}")
NAMES += ("{0}", "%s", "%(x)s")
NAMES += ("$(touch pwned)", "`touch pwned`", "; touch pwned", "| cat", "&&", "'", '"', "\\", "<b>", "con", "nul")
NAMES += ("__class__",)
NUMBERS = ("0", "-1", "1", "2", "3", "21", "00", "+5", " 7", "1e3", "1_000", "0x10", "²", "٣", "nan", "inf", "-inf")
NUMBERS += ("1e400",)
NUMBERS += ("-0", "0.5", "1,5", ".", "1e-400", "2147483647", "2147483648", "9" * 20, "9" * 400, "9" * 4300)
NUMBERS += ("1" * 5000, "-" + "9" * 5000)
BELOW = ("", "runs", "other", "folder", "images", "empty", "fifo", "loop", "nowhere", "zero", "h.safetensors")
BELOW += ("torn.safetensors",)
BELOW += ("text.pth", "study.toml", "torn.toml", "binary.toml", "gone", "text.pth/below", "fifo/below")
BELOW += ("h.safetensors/x",)
ELSEWHERE = ("~nobody", "~nobody/x", "~no-such-user", "~no-such-user/x", "~", "~/x", "~\n", "/dev/null")
ELSEWHERE += ("/dev/null/x", "/dev/full")
ELSEWHERE += ("/proc/self/x", "/proc/self/mem", "/sys/x", "/dev/zero", "/dev/stdin", "/dev/fd/99")
USUAL = {
    "dataset": ("folder", "folder", "folder", "synthetic", "mvtec", "cifar10", "visa", "folder,folder", "btad"),
    "name": ("folder", "synthetic", "mvtec", "btad", "dtd", "real-iad", "cifar10", "mvtec_loco", "mvtec-ad2", "elpv"),
    "methods": ("padim", "uniad", "patchcore", "all", "uniad,padim", "rlr,hvq_trans", "draem", "simplenet,cutpaste"),
    "settings": ("unified", "separate", "unified,separate", "both"),
    "seeds": ("1", "3", "0,4", "42-46", "111,", "21", "5-3", "0-2000", "1-"),
    "preset": ("quick", "paper", "official"),
    "categories": ("bolt", "cloth", "bolt,cloth", "nut"),
    "only": ("bolt", "cloth", "nut"),
    "category": ("bolt", "cloth", "nut"),
    "checkpoint_categories": ("bolt", "bolt,cloth"),
    "device": ("cpu", "auto", "cuda", "cuda:7", "mps"),
    "cluster": ("tcp://127.0.0.1:1", "127.0.0.1:1", "tls://x"),
    "weights": ("random", "random", "packaged", "file", "pretrained"),
    "backbone": ("resnet18", "tf_efficientnet_lite0", "resnet50", "efficientnet_b4", "vit_tiny_patch16_224"),
    "backbone_padding": ("timm", "native"),
    "bank_dtype": ("float16", "float32"),
    "keep": ("none", "last", "all", "mine", "theirs", "newest", "ask"),
    "map_size": ("native", "16", "64", "256"),
    "fpr_limit": ("0.3", "0.05", "1"),
    "output": ("csv", "md", "latex", "parquet"),
    "kind": ("headline", "categories", "paper"),
    "metric": ("I-AUROC", "P-AUROC", "PRO", "I-AP (common)"),
    "precision": ("float32", "bfloat16"),
    "study": ("uniad-query", "all", "uniad-query,uniad-query", "draem-query"),
}
COUNTS = {"jobs", "threads", "curves", "steps", "batch_size", "mask_threshold", "bank_gib", "map_size", "fpr_limit"}
COUNTS |= {"seeds"}
PATHS = {"data_dir", "root", "textures_dir", "weights_dir", "checkpoint", "results_dir", "reference_dir", "cache_dir"}
PATHS |= {"site", "images", "out", "save", "other", "study"}


@cache
def settings_of_methods() -> tuple[str, ...]:
    """``method.field`` of every hyper-parameter."""
    detectors = known_detectors().items()
    return tuple(f"{name}.{field.name}" for name, cls in detectors for field in dataclasses.fields(cls.config_type))


def assignment(rng: random.Random) -> str:
    """A value of ``--set``."""
    name = rng.choice(settings_of_methods()) if rng.random() < 0.8 else rng.choice(NAMES)
    value = rng.choice((*NUMBERS, *NUMBERS, "none", "true", "float32", "auto", *NAMES))
    usual, odd = f"{name}={value}", (name, f"{name}=", f"={value}", f"{name}=={value}", f"{name}={value}={value}")
    return rng.choice((*(usual,) * 8, *odd))


def path(rng: random.Random, place: Path) -> str:
    """A path, usual or hostile; what does not begin with ``place`` or ``/`` is below the working directory."""
    chosen = rng.random()
    if chosen < 0.5:
        return str(place / rng.choice(BELOW))
    if chosen < 0.7:
        return rng.choice(ELSEWHERE)
    if chosen < 0.85:
        return f"{place}/{rng.choice((*LONG, *NAMES))}"
    return rng.choice((*LONG, *NAMES))


def value(rng: random.Random, name: str, place: Path) -> str:
    """A value of an option."""
    if rng.random() < 0.5 and name in USUAL:
        return rng.choice(USUAL[name])
    if name == "assignments":
        return assignment(rng)
    if name in PATHS:
        return path(rng, place)
    if name in COUNTS and rng.random() < 0.8:
        return rng.choice(NUMBERS)
    return rng.choice((*NAMES, *LONG, *NUMBERS))


# Lines

COMMANDS = {"run": 25, "rescore": 5, "shortcut": 6, "ablation": 6, "data": 12, "verify": 13, "report": 0.5, "table": 10}
COMMANDS |= {"merge": 9, "export": 8, "score": 5, "list": 1, "": 2}
FIRST = {
    "run": (("--dataset", "folder"), ("--root", "folder"), ("--methods", "padim"), ("--preset", "quick")),
    "ablation": (("--study", "uniad-query"), ("--dataset", "folder"), ("--root", "folder")),
    "data": (), "verify": (("--root", "folder"),),
    "report": (("--results-dir", "runs"), ("--site", "site")), "table": (("--results-dir", "runs"),),
    "merge": (("--results-dir", "runs"),), "export": (("--results-dir", "runs"), ("--out", "out")),
    "score": (("--checkpoint", "h.safetensors"), ("--images", "images"), ("--out", "out")),
    "list": (), "": (),
}  # fmt: skip
FIRST |= {"rescore": FIRST["run"], "shortcut": (("--dataset", "folder"), ("--root", "folder"), ("--preset", "quick"))}
ARGUMENTS = {"data": "name", "verify": "dataset", "merge": "other"}
OWN = {"--root", "--results-dir", "--site", "--out", "--images"}
REAL = ("--methods", "padim", "--preset", "quick", "--categories", "bolt", "--settings", "separate", "--seeds", "1")
REAL += ("--backbone", "resnet18", "--weights", "random", "--set", "padim.image_size=64", "--set", "padim.channels=12")
REAL += ("--device", "cpu", "--jobs", "1", "--threads", "1", "--no-looks", "--curves", "0", "--cluster", "")
OTHERS = ("--unknown", "--dat", "--dry", "-v", "-h", "--help", "--install-completion", "--no-force", "---", "--=")
OTHERS += ("—dry-run",)


@cache
def commands() -> dict[str, typer.main.TyperCommand]:
    return typer.main.get_command(app).commands


def line(rng: random.Random, place: Path) -> list[str]:
    """The words of a random command line."""
    command = rng.choices(list(COMMANDS), list(COMMANDS.values()))[0]
    if not command:
        return [rng.choice((*NAMES, *LONG, *commands(), *OTHERS)) for _ in range(rng.randint(0, 3))]
    parts: list[list[str]] = []
    for option, usual in FIRST[command]:
        if rng.random() < 0.9:
            below = usual in (*BELOW, "site", "out") and (option in OWN or usual == "h.safetensors")
            parts.append([option, str(place / usual) if below else usual])
    options = [p for p in commands()[command].params if type(p).__name__ == "TyperOption" and p.name != "dry_run"]
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 5))):
        if not options:
            break
        option = rng.choice(options)
        word = rng.choice((*option.opts, *option.secondary_opts))
        if option.is_flag:
            parts.append([word])
        else:
            given = value(rng, option.name, place)
            parts.append([f"{word}={given}"] if rng.random() < 0.2 else [word, given])
    if command in ARGUMENTS and rng.random() < 0.95:
        other = command == "merge" and rng.random() < 0.4
        parts.append([str(place / "other") if other else value(rng, ARGUMENTS[command], place)])
    rng.shuffle(parts)
    if rng.random() < 0.15:
        _spoil(rng, parts)
    words = [command, *(word for part in parts for word in part)]
    if command in ("run", "rescore", "shortcut", "ablation"):
        if command == "run" and not {"--set", "--", "--help"} & set(words) and rng.random() < 0.003:
            return [*words, *REAL]
        words.insert(1, "--dry-run")
    return words


def _spoil(rng: random.Random, parts: list[list[str]]) -> None:
    """Make a mistake."""
    kind = rng.choice(("unknown", "extra", "twice", "short", "no value", "end"))
    at = rng.randint(0, len(parts))
    if kind == "unknown":
        parts.insert(at, [rng.choice(OTHERS)])
    elif kind == "extra":
        parts.insert(at, [rng.choice((*NAMES, *LONG))])
    elif kind == "end":
        parts.append(["--"])
    elif parts:
        part = rng.choice(parts)
        if kind == "twice":
            parts.append(list(part))
        elif kind == "short":
            option = rng.choice([one for one in parts if one[0].startswith("--")] or [["--"]])
            option[0] = option[0][: rng.randint(1, len(option[0]))]
        else:
            del part[1:]
