# SPDX-License-Identifier: GPL-2.0
"""What a row of the table is, and how most of them are measured."""

import dataclasses
import typing

import breakdown

# Fields of a row that are figures, in the order in which they are written out.
LATENCY = ("p50", "p90", "p99", "max", "mean", "per_io", "total_per_io")


@dataclasses.dataclass
class Row:
    """One line of the table.

    name: unique; ITEMS picks by it. title: what it is, for a reader. ours: whether it is
    remote-copy's. measure: Machine -> dictionary of figures."""

    name: str
    title: str
    ours: bool
    measure: typing.Callable


@dataclasses.dataclass
class Stack:
    """Rows that share one stack of devices.

    up: a line of shell that makes it; down: one that takes it away, if others follow in the
    same machine; check: one that fails if the stack is not what was to be measured any more."""

    up: str
    rows: list
    device: str = ""
    down: str = ""
    check: str = "true"


@dataclasses.dataclass
class Scene:
    """Stacks that are measured one after the other in one machine."""

    name: str
    stacks: list
    options: dict = dataclasses.field(default_factory=dict)


def figures_of(run):
    """The part of a load's figures that goes into a row."""
    figures = {key: run[key] for key in LATENCY if key in run} | {"n": run["n"]}
    if run["bytes"] > run["n"] * 4096:
        figures["MB_per_s"] = run["bytes"] / run["n"] * 1000 / run["per_io"]
    return figures


def load_row(name, title, options, device, ours=False, settle=0):
    """A row that is one run of the load."""
    def measure(machine):
        run = machine.load(options, device, settle=settle)
        if name in breakdown.PROFILED:
            breakdown.write(name, run["window"], run["n"], machine.symbols())
        return figures_of(run)
    return Row(name, title, ours, measure)
