#!/usr/bin/env bash
# How fast a plan is, and how fast Ciw is, on the same M/M/4 at 80 % load: in turn, on one processor each, three rounds.
#
#     pip install ciw==3.2.7 && cargo build --release -p tillsync && rts-emulator/reference/speed.sh target/release/tillsync
set -euo pipefail
tillsync=$(realpath "$1")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed 's/^workers = 1$/workers = 4/' ../profiles/mm1.toml > "$work/mm4.toml"

# Seconds that a command takes.
took() { local began; began=$(date +%s.%N); "$@" > /dev/null; echo "$(date +%s.%N) - $began" | bc; }

calls=4000000
customers=60000
for round in 1 2 3; do
  # 160 creates per second; a session holds five million of them.
  plan=$(took "$tillsync" plan --profile "$work/mm4.toml" --modes sync --rates 160 --seconds $((calls / 160)) --warmup 0 \
    --probe-rate 0 --sample 0 --sync-overhead 0 --threads 1 --out "$work/plan")
  ciw=$(took python3 - <<PYTHON
import ciw
import ciw_reference
ciw.seed(1)
simulation = ciw.Simulation(ciw.create_network(**ciw_reference.single(0.8, 4, ciw_reference.EXPONENTIAL)))
simulation.simulate_until_max_customers($customers, method="Arrive")
PYTHON
  )
  echo "round $round: plan $(echo "$calls / $plan" | bc) calls/s, Ciw $(echo "$customers / $ciw" | bc) customers/s," \
    "ratio $(echo "$calls / $plan / ($customers / $ciw)" | bc)"
done
