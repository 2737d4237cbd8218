# SPDX-License-Identifier: GPL-2.0
"""The figures as one SVG picture, made without any library.

A page is a column of panels; a panel is a title and rows of bars. Ours are blue, peers grey;
the pale rest of a bar is work behind the host's back."""

import html
import math

WIDTH = 1030
LABEL = 370
RIGHT = 150
LINE = 21
OURS, OURS_PALE = "#1f6fb4", "#b9d6ee"
PEER, PEER_PALE = "#777777", "#d4d4d4"
GOOD, BAD, NONE = "#2e8b57", "#c0392b", "#999999"


class Page:
    def __init__(self):
        self.parts = []
        self.y = 20

    def text(self, x, y, what, size=13, anchor="start", color="#222222", weight="normal"):
        self.parts.append(f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' "
                          f"fill='{color}' font-weight='{weight}'>{html.escape(what)}</text>")

    def box(self, x, y, width, height, color):
        self.parts.append(f"<rect x='{x:.1f}' y='{y:.1f}' width='{max(width, 0.8):.1f}' height='{height:.1f}' "
                          f"fill='{color}'/>")

    def heading(self, title, note=""):
        self.y += 26
        self.text(20, self.y, title, 16, weight="bold")
        if note:
            self.y += 18
            self.text(20, self.y, note, 12, color="#555555")
        self.y += 10

    def bars(self, items, logarithmic=False, unit=""):
        """items: (label, ours, value, whole or None)."""
        items = [item for item in items if item[2] is not None]
        if not items:
            return
        most = max(max(value, whole or 0) for _, _, value, whole in items) or 1
        room = WIDTH - LABEL - RIGHT

        def length(value):
            if not logarithmic:
                return value / most * room
            return math.log10(max(value, 1)) / max(math.log10(most), 1) * room
        for label, ours, value, whole in items:
            y = self.y
            self.text(LABEL - 8, y + 14, label, 12, "end")
            if whole and whole > value:
                self.box(LABEL, y + 3, length(whole), 14, OURS_PALE if ours else PEER_PALE)
            self.box(LABEL, y + 3, length(value), 14, OURS if ours else PEER)
            said = f"{value:,.0f}{unit}" + (f"  ({whole:,.0f} in all)" if whole and whole > value * 1.01 else "")
            self.text(LABEL + length(max(value, whole or 0)) + 6, y + 14, said, 11, color="#333333")
            self.y += LINE

    def write(self, path):
        with open(path, "w") as f:
            f.write(f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH + 40} {self.y + 30}' "
                    f"font-family='sans-serif'><rect width='100%' height='100%' fill='white'/>\n")
            f.write("\n".join(self.parts))
            f.write("\n</svg>\n")


def draw_ratios(page, answers):
    page.heading("Ratios: ours / theirs", "smaller is better; | the bar, : the goal; green: the bar is met")
    room = WIDTH - LABEL - RIGHT - 60
    for a in answers:
        y = page.y
        page.text(LABEL - 8, y + 14, f"{a['name']}  {a['title']}", 10, "end")
        value = a["value"]
        if value is None:
            page.text(LABEL + 4, y + 14, "not measured", 11, color=NONE)
        else:
            # The bar stands at a half of the room, whatever it is.
            scale = room / 2 / a["bar"]
            page.box(LABEL, y + 3, min(value * scale, room), 14, NONE if a["advisory"] else GOOD if a["met"] else BAD)
            page.box(LABEL + room / 2, y, 1.5, 20, "#000000")
            for dot in range(4):
                page.box(LABEL + a["goal"] * scale, y + 2 + dot * 5, 1.5, 2, "#000000")
            page.text(LABEL + min(value * scale, room) + 6, y + 14, f"{value:.4g}  (bar {a['bar']:g}, goal {a['goal']:g})", 11)
        page.y += LINE


def write(path, records, answers, commit):
    by_name = {r["name"]: r for r in records}
    page = Page()
    page.text(20, page.y, "dm-remote-copy: what a write costs, in executed instructions", 19, weight="bold")
    page.y += 18
    page.text(20, page.y, f"commit {commit}; QEMU icount: one instruction is one nanosecond of the guest", 12,
              color="#555555")

    def item(name, label, field="p50", whole="total_per_io"):
        r = by_name.get(name, {})
        return label, r.get("ours", False), r.get(field), r.get(whole) if whole else None

    def panel(title, note, items, **how):
        if any(i[2] is not None for i in items):
            page.heading(title, note)
            page.bars(items, **how)

    if any(a["value"] is not None for a in answers):
        draw_ratios(page, answers)
    panel("A durable write of 4 KiB, depth 1", "median until it is acknowledged; pale: in all", [
        item("null_blk/d1", "null_blk"), item("pmem/d1", "raw pmem"), item("dm-linear/d1", "dm-linear"),
        item("dm-mirror/d1", "dm-mirror"), item("dm-writecache/fsync", "dm-writecache + fdatasync"),
        item("drbd-alone/d1", "DRBD without a peer"), item("drbd-a/d1", "DRBD A, peer 100 ms away"),
        item("log/d1", "remote-copy, log only"), item("log/fsync", "remote-copy, log only, + fdatasync")])
    for depth in ("d1", "d16", "d64"):
        panel(f"Mirrored over TCP, both ends, depth {depth[1:]}", "time per write; pale: in all", [
            item(f"drbd-c/{depth}", "DRBD C", "per_io"),
            item(f"mirror-only/{depth}", "remote-copy, no remote", "per_io"),
            item(f"mirrored/{depth}", "remote-copy, and shipped to a remote", "per_io")])
    panel("Distance: what the host waits for, depth 1", "99th percentile, by distance of the remote (logarithmic)", [
        *(item(f"async-{rtt}/d1", f"remote-copy, asynchronous, {rtt} ms", "p99", None) for rtt in (0, 10, 50, 100)),
        *(item(f"sync-{rtt}/d1", f"remote-copy, synchronous, {rtt} ms", "p99", None) for rtt in (0, 10)),
        item("drbd-a/d1", "DRBD A, 100 ms", "p99", None)], logarithmic=True)
    panel("A burst of 48 MB, remote 100 ms away", "longest that one write took (logarithmic)", [
        item("async-100/burst", "remote-copy", "max", None), item("drbd-a/burst", "DRBD A", "max", None)],
        logarithmic=True)
    panel("Spread over 60 GB", "median, depth 1", [
        item(f"{stack}/{end}", f"{title}, {what}", "p50", None)
        for stack, title in (("log", "remote-copy, log only"), ("mirrored", "remote-copy, mirrored"),
                             ("drbd-alone", "DRBD without a peer"), ("drbd-c", "DRBD C"))
        for end, what in (("d1", "512 MB"), ("spread", "60 GB"))])
    panel("After a crash", "bytes sent again (logarithmic)", [
        item("crash/ours-idle", "remote-copy, at rest", "resent_bytes", None),
        item("crash/ours", "remote-copy, 64 writes in flight or behind", "resent_bytes", None),
        item("crash/drbd-idle", "DRBD, at rest", "resent_bytes", None),
        item("crash/drbd", "DRBD, 64 writes in flight or behind", "resent_bytes", None)], logarithmic=True)
    panel("Takeover", "milliseconds (of 10^6 instructions)", [
        item(f"takeover/{size}", f"log of {size}", "takeover_ms", None)
        for size in ("64M-empty", "4M", "16M", "64M")] + [item("takeover/drbd", "DRBD C", "takeover_ms", None)])
    panel("Drain", "writes that reach the remote each second, by distance and depth of the load (logarithmic)", [
        item(f"async-{rtt}/{depth}", f"{rtt} ms, depth {depth[1:]}", "shipped_per_s", None)
        for depth in ("d1", "d16") for rtt in (0, 10, 50, 100)], logarithmic=True)
    panel("Many sets", "median, depth 1; pale: in all", [
        item(f"sets/{n}", f"{n} sets in turn") for n in (1, 8, 64)])
    page.write(path)
