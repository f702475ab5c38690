#!/usr/bin/env python3
"""Reference waits from a simulator that is not ours: Ciw (https://ciw.readthedocs.io), from PyPI.

    pip install ciw==3.2.7 && python3 ciw_reference.py > ciw_reference.csv      # about an hour on one core

Every case has services of mean 1, so waits are in mean service times. Each is simulated in REPLICATIONS independent
replications, seeds SEED, SEED + 1, ...; the first tenth of each is left out. A row is a case and a figure: the mean
over the replications, and half the width of its 99 % confidence interval (Student).

`rts-emulator check-model` compares the model with ciw_reference.csv where there is no closed formula.
"""

import math
import statistics
import sys

import ciw

SEED = 1
REPLICATIONS = 10
CUSTOMERS = 150_000
T_99_9 = 3.250  # Student's t, 9 degrees of freedom, 99 % both sides


def lognormal(cv):
    variance = math.log(1 + cv * cv)
    return ciw.dists.Lognormal(mean=-variance / 2, sd=math.sqrt(variance))


EXPONENTIAL = ciw.dists.Exponential(rate=1)


def single(load, workers, service, **more):
    return dict(
        arrival_distributions=[ciw.dists.Exponential(rate=load * workers)],
        service_distributions=[service],
        number_of_servers=[workers],
        **more,
    )


def classes(load, workers, share):
    rate = load * workers
    return dict(
        arrival_distributions={
            "first": [ciw.dists.Exponential(rate=rate * share)],
            "second": [ciw.dists.Exponential(rate=rate * (1 - share))],
        },
        service_distributions={"first": [EXPONENTIAL], "second": [EXPONENTIAL]},
        number_of_servers=[workers],
        priority_classes={"first": 0, "second": 1},
    )


CASES = {}
for load in (0.5, 0.8, 0.95):
    CASES[f"M/D/1 {load}"] = single(load, 1, ciw.dists.Deterministic(value=1))
    CASES[f"M/G/1 lognormal {load}"] = single(load, 1, lognormal(1.5))
    CASES[f"M/G/1 gamma {load}"] = single(load, 1, ciw.dists.Gamma(shape=4, scale=0.25))
    CASES[f"M/M/1 priority {load}"] = classes(load, 1, 0.3)
    CASES[f"M/M/4 priority {load}"] = classes(load, 4, 0.3)
for load in (0.5, 0.8, 0.95, 1.2):
    CASES[f"M/M/4/12 {load}"] = single(load, 4, EXPONENTIAL, queue_capacities=[8])
    CASES[f"M/M/4+D {load}"] = single(
        load, 4, EXPONENTIAL, reneging_time_distributions=[ciw.dists.Deterministic(value=1)]
    )


def replicate(network, seed):
    """The figures of one replication."""
    ciw.seed(seed)
    simulation = ciw.Simulation(ciw.create_network(**network))
    simulation.simulate_until_max_customers(CUSTOMERS, method="Arrive")
    records = [r for r in simulation.get_all_records() if r.id_number > CUSTOMERS / 10]
    figures = {}
    names = sorted({r.customer_class for r in records})
    for name in names:
        prefix = f"{name} " if len(names) > 1 else ""
        waits = sorted(
            r.waiting_time for r in records if r.record_type == "service" and r.customer_class == name
        )
        figures[f"{prefix}mean"] = statistics.fmean(waits)
        figures[f"{prefix}p95"] = waits[math.ceil(0.95 * len(waits)) - 1]
    refused = sum(r.record_type in ("rejection", "renege") for r in records)
    if refused:
        figures["refused"] = refused / len(records)
    return figures


def main():
    print(f"# Ciw {ciw.__version__}, seeds {SEED} to {SEED + REPLICATIONS - 1}, {CUSTOMERS} customers each")
    print("case,figure,mean,half_width_99")
    for name, network in CASES.items():
        runs = [replicate(network, SEED + n) for n in range(REPLICATIONS)]
        for figure in runs[0]:
            values = [run[figure] for run in runs]
            half = T_99_9 * statistics.stdev(values) / math.sqrt(len(values))
            print(f"{name},{figure},{statistics.fmean(values):.6f},{half:.6f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
