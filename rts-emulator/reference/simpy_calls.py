#!/usr/bin/env python3
"""Logs of calls to headquarters that are made up by a tool that is not ours, SimPy (https://simpy.readthedocs.io), with
known workers, service times, serial share and Universal Scalability Law: what `rts-emulator calibrate` has to recover.

    pip install simpy==4.1.2 && python3 simpy_calls.py calls        # writes calls/*.csv, some seconds

Arrivals are Poisson at a rate that goes from quiet to busy and back, as in a day. Seed 1 each.
"""

import math
import pathlib
import random
import sys

import simpy

CALLS = 4_000
# Shares of the capacity, for so many calls each in turn.
LOADS = (0.1, 0.4, 0.7, 0.9, 1.05, 0.6, 0.2)
STRETCH = 120


def exponential(mean):
    return lambda chance: chance.expovariate(1 / mean)


def lognormal(mean, cv):
    variance = math.log(1 + cv * cv)
    return lambda chance: chance.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance))


def gamma(mean, cv):
    return lambda chance: chance.gammavariate(cv**-2, mean * cv * cv)


def constant(mean):
    return lambda chance: mean


class Headquarters:
    """Workers; calls that are being served slow each other down; the last share of each goes through one at a time."""

    def __init__(self, env, workers, share=0.0, contention=0.0, coherency=0.0):
        self.env, self.share = env, share
        self.workers = simpy.Resource(env, capacity=workers)
        self.section = simpy.Resource(env, capacity=1)
        self.contention, self.coherency = contention, coherency
        self.busy, self.changed = 0, env.event()

    def set_busy(self, busy):
        self.busy = busy
        self.changed.succeed()
        self.changed = self.env.event()

    def slowness(self):
        n = self.busy
        return 1 + self.contention * (n - 1) + self.coherency * n * (n - 1)

    def work(self, amount):
        while amount > 1e-9:
            slowness, began = self.slowness(), self.env.now
            yield self.env.timeout(amount * slowness) | self.changed
            amount -= (self.env.now - began) / slowness

    def serve(self, service):
        with self.workers.request() as worker:
            yield worker
            self.set_busy(self.busy + 1)
            yield from self.work(service * (1 - self.share))
            if self.share:
                with self.section.request() as section:
                    yield section
                    yield from self.work(service * self.share)
            self.set_busy(self.busy - 1)


def log(capacity, service, **headquarters):
    """Rows of start and duration, in seconds, by start."""
    env, chance, rows = simpy.Environment(), random.Random(1), []
    hq = Headquarters(env, **headquarters)

    def call():
        start, amount = env.now, service(chance)
        yield from hq.serve(amount)
        rows.append((start, env.now - start))

    def arrive():
        for number in range(CALLS):
            load = LOADS[number // STRETCH % len(LOADS)]
            yield env.timeout(chance.expovariate(capacity * load))
            env.process(call())

    env.process(arrive())
    env.run()
    return sorted(rows)


def usl(workers, mean, contention, coherency):
    return workers / (1 + contention * (workers - 1) + coherency * workers * (workers - 1)) / mean


CASES = {
    "one-worker": lambda: log(1 / 0.03, gamma(0.03, 0.4), workers=1),
    "four-exponential": lambda: log(4 / 0.02, exponential(0.02), workers=4),
    "eight-lognormal": lambda: log(8 / 0.04, lognormal(0.04, 0.5), workers=8),
    "four-constant": lambda: log(4 / 0.025, constant(0.025), workers=4),
    "serial": lambda: log(1 / (0.4 * 0.04), lognormal(0.04, 0.5), workers=6, share=0.4),
    "slowing": lambda: log(
        usl(8, 0.04, 0.05, 0.01), lognormal(0.04, 0.5), workers=8, contention=0.05, coherency=0.01
    ),
    # What no fit can tell: never two at once, and never idle.
    "never-busy": lambda: log(0.02 / 0.04, lognormal(0.04, 0.5), workers=4)[:1_500],
    "never-idle": lambda: log(40 / 0.04, lognormal(0.04, 0.5), workers=4)[1_000:],
}


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    for name, case in CASES.items():
        with (folder / f"{name}.csv").open("w") as file:
            file.write(f"# SimPy {simpy.__version__}, seed 1: see simpy_calls.py\n")
            file.write("start_ms,duration_ms,status\n")
            for start, duration in case():
                file.write(f"{start * 1000:.3f},{duration * 1000:.3f},OK\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
