#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A bank: the database load of the demo, and the check of what is left of it.

    bank.py run <database> [<transactions>]     moves money until it is stopped
    bank.py check <database>                    prints what is there as JSON

SQLite in WAL mode with synchronous=FULL. A transfer changes two accounts and adds a line to
the ledger, in one transaction. Once its COMMIT has returned, its number goes to the world
outside over /dev/virtio-ports/report, and only then the next one begins.
"""

import json
import os
import random
import sqlite3
import sys

ACCOUNTS = 200
START = 1000


def connect(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    # Often, so that the load has all of it: the log, the database, the log from its start again.
    db.execute("PRAGMA wal_autocheckpoint=100")
    return db


def create(db):
    db.executescript("""
        BEGIN;
        CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
        CREATE TABLE transfer (id INTEGER PRIMARY KEY, source INTEGER NOT NULL,
                               target INTEGER NOT NULL, amount INTEGER NOT NULL, memo BLOB);
        CREATE INDEX transfer_source ON transfer (source);
    """)
    db.executemany("INSERT INTO account VALUES (?, ?)", [(i, START) for i in range(ACCOUNTS)])
    db.execute("COMMIT")


def transfer(db, number):
    source, target = random.sample(range(ACCOUNTS), 2)
    amount = random.randrange(1, 100)
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, source))
    db.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, target))
    db.execute("INSERT INTO transfer VALUES (?, ?, ?, ?, ?)",
               (number, source, target, amount, random.randbytes(random.randrange(50, 3000))))
    db.execute("COMMIT")


def run(path, transactions):
    new = not os.path.exists(path)
    db = connect(path)
    if new:
        create(db)
    last, = db.execute("SELECT COALESCE(MAX(id), 0) FROM transfer").fetchone()
    report = os.open("/dev/virtio-ports/report", os.O_WRONLY)
    for number in range(last + 1, last + 1 + transactions):
        transfer(db, number)
        os.write(report, f"committed {number}\n".encode())


def check(path):
    """Numbers of the transactions there are, and everything that is wrong with the database."""
    db = sqlite3.connect(path)
    wrong = [line for line, in db.execute("PRAGMA integrity_check") if line != "ok"]
    balances = dict(db.execute("SELECT id, balance FROM account"))
    numbers = []
    due = dict.fromkeys(range(ACCOUNTS), START)
    for number, source, target, amount in db.execute("SELECT id, source, target, amount FROM transfer ORDER BY id"):
        numbers.append(number)
        due[source] -= amount
        due[target] += amount
    db.close()
    if balances != due:
        wrong.append("the balances are not what the ledger adds up to")
    if numbers != list(range(1, len(numbers) + 1)):
        wrong.append("the ledger has gaps")
    return {"transactions": len(numbers), "last": max(numbers, default=0), "wrong": wrong}


def main():
    verb, path, *rest = sys.argv[1:]
    if verb == "run":
        run(path, int(rest[0]) if rest else 1 << 40)
    else:
        print(json.dumps(check(path)))


if __name__ == "__main__":
    main()
