#!/usr/bin/env bash
# A till in the shell, by reflection: nothing is generated, buf curl asks the server for its contract.
#   examples/shell/pos.sh http://127.0.0.1:7100 http://127.0.0.1:7200      (store, headquarters)
# Needs buf (npm install @bufbuild/buf) and python3.
set -euo pipefail
store=${1:-http://127.0.0.1:7100} hq=${2:-http://127.0.0.1:7200} buf=${BUF:-buf}

call() { "$buf" curl --protocol grpc --http2-prior-knowledge --data "$3" "$1/tillsync.$2"; }
# A field of an answer, such as customer.accountDisplay.
field() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda o, k: o.get(k, ""), sys.argv[1].split("."), json.load(sys.stdin)))' "$1"; }
guid() { python3 -c 'import uuid; print(uuid.uuid4())'; }
# A call that has to be refused with this reason.
refused() {
  local what=$1 reason=$2 said
  shift 2
  if said=$("$@" 2>&1); then echo "$what was not refused: $said" >&2; return 1; fi
  grep -q "\"$reason\"\|$reason" <<<"$said" || { echo "$what: $said" >&2; return 1; }
  echo "       $what: $reason"
}

switch() {
  call "$hq" hq.v1.AdminService/UpdateProfile \
    "{\"channel_id\":\"store-1\",\"profile\":{\"create_customer_async\":$1,\"async_fallback\":true,\"rts_timeout\":\"2s\"}}" >/dev/null
  call "$hq" hq.v1.AdminService/RunJob '{"job":"JOB_CHANNEL_CONFIGURATION_1070","channel_id":"store-1"}' >/dev/null
}
create() {
  call "$store" channel.v1.CustomerService/CreateCustomer \
    "{\"customer_id\":\"$1\",\"customer\":{\"person\":{\"first_name\":\"$2\",\"last_name\":\"$3\"}}}"
}

switch false
sync=$(guid)
echo "SYNC   Mary Jackson: $(create "$sync" Mary Jackson | field customer.accountDisplay)"

switch true
pending=$(guid)
echo "ASYNC  Annie Easley: $(create "$pending" Annie Easley | field customer.accountDisplay)"
# The same GUID again is the same customer; for somebody else it is refused.
[ "$(create "$pending" Annie Easley | field customer.customerId)" = "$pending" ]
refused "the same GUID for somebody else" already_exists create "$sync" Somebody Else
refused "a customer without a name" invalid_argument \
  call "$store" channel.v1.CustomerService/CreateCustomer "{\"customer_id\":\"$(guid)\"}"
refused "a customer nobody knows" not_found call "$store" channel.v1.CustomerService/GetCustomer "{\"customer\":\"$(guid)\"}"

# Each state as it comes, until the account number is there.
{ timeout 60 "$buf" curl --protocol grpc --http2-prior-knowledge --data "{\"customer\":\"$pending\"}" \
    "$store/tillsync.channel.v1.CustomerService/WatchCustomer" 2>/dev/null || true; } |
  python3 -c '
import json, sys
decoder, text = json.JSONDecoder(), ""
for line in sys.stdin:
    text += line
    while text.strip():
        try:
            state, end = decoder.raw_decode(text.lstrip())
        except ValueError:
            break
        text = text.lstrip()[end:]
        print("      ", state["customer"]["accountDisplay"], flush=True)
        if state["customer"].get("accountNumber"):
            sys.exit(0)
sys.exit("the watch ended without an account number")'

found=$(call "$store" channel.v1.CustomerService/SearchCustomers '{"name":"easley"}')
grep -q "$pending" <<<"$found"
echo "       found by name"
