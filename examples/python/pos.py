"""A till's client in Python: creates customers sync and async, sees "Pending sync", and watches until the
account number is there.

    python pos.py --channel 127.0.0.1:7100 --hq 127.0.0.1:7200

The stubs are made from ../../proto when the script starts, so there is nothing to generate by hand.
"""

import argparse
import importlib
import pathlib
import sys
import tempfile
import time
import uuid

import grpc
import grpc_tools
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
WELL_KNOWN = pathlib.Path(grpc_tools.__file__).parent / "_proto"


def stubs():
    """Compiles the contract into a temporary folder and imports it."""
    out = tempfile.mkdtemp(prefix="tillsync-stubs-")
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("tillsync/*/v1/*.proto"))
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", f"--python_out={out}", f"--grpc_python_out={out}", *files]) != 0:
        sys.exit("the contract does not compile")
    sys.path.insert(0, out)
    modules = ("common.v1.customer", "common.v1.exchange", "channel.v1.customer_service", "hq.v1.admin_service")
    messages = {name: importlib.import_module(f"tillsync.{name}_pb2") for name in modules}
    services = {name: importlib.import_module(f"tillsync.{name}_pb2_grpc") for name in modules[2:]}
    return messages, services


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--channel", default="127.0.0.1:7100", help="the store's address")
    arguments.add_argument("--hq", default="127.0.0.1:7200", help="headquarters' address, to switch the mode")
    arguments.add_argument("--channel-id", default="store-1", help="the store's name at headquarters")
    arguments = arguments.parse_args()

    messages, services = stubs()
    customer_pb = messages["common.v1.customer"]
    exchange_pb = messages["common.v1.exchange"]
    channel_pb = messages["channel.v1.customer_service"]
    admin_pb = messages["hq.v1.admin_service"]

    store = grpc.insecure_channel(arguments.channel)
    headquarters = grpc.insecure_channel(arguments.hq)
    for connection in (store, headquarters):
        grpc.channel_ready_future(connection).result(timeout=30)
    till = services["channel.v1.customer_service"].CustomerServiceStub(store)
    admin = services["hq.v1.admin_service"].AdminServiceStub(headquarters)

    def switch(create_async):
        profile = exchange_pb.FunctionalityProfile(create_customer_async=create_async, async_fallback=True)
        profile.rts_timeout.FromMilliseconds(2000)
        admin.UpdateProfile(admin_pb.UpdateProfileRequest(channel_id=arguments.channel_id, profile=profile), timeout=10)
        job = exchange_pb.JOB_CHANNEL_CONFIGURATION_1070
        run = admin.RunJob(admin_pb.RunJobRequest(job=job, channel_id=arguments.channel_id), timeout=30)
        assert [s.run.error for s in run.sessions] == [""], run

    def create(first, last):
        request = channel_pb.CreateCustomerRequest(
            # Minted when the form opens, so that sending it again cannot make a second customer.
            customer_id=str(uuid.uuid4()),
            customer=customer_pb.Customer(
                person=customer_pb.Person(first_name=first, last_name=last),
                contacts=[
                    customer_pb.Contact(
                        kind=customer_pb.CONTACT_KIND_EMAIL,
                        value=f"{first}.{last}@example.com".lower(),
                        primary=True,
                    )
                ],
                addresses=[customer_pb.Address(street="Main Street 1", city="Springfield", country="US")],
            ),
        )
        start = time.monotonic()
        answer = till.CreateCustomer(request, timeout=10)
        took = (time.monotonic() - start) * 1000
        path = channel_pb.CreatePath.Name(answer.path).removeprefix("CREATE_PATH_")
        print(f"{path:5}  {first} {last}: {answer.customer.account_display}  ({took:.1f} ms)")
        again = till.CreateCustomer(request, timeout=10)
        assert again.customer.customer_id == answer.customer.customer_id, "a repeat made another customer"
        return answer

    switch(create_async=False)
    real = create("Ada", "Lovelace")
    assert real.path == channel_pb.CREATE_PATH_SYNC, real
    assert real.customer.account_number == real.customer.account_display != "", real

    switch(create_async=True)
    pending = create("Grace", "Hopper")
    assert pending.path == channel_pb.CREATE_PATH_ASYNC, pending
    assert pending.customer.account_display == "Pending sync", pending

    card = channel_pb.IssueLoyaltyCardRequest(customer=pending.customer.customer_id)
    try:
        till.IssueLoyaltyCard(card, timeout=10)
        print("       loyalty card issued: the account number was back already")
    except grpc.RpcError as error:
        info = error_details_pb2.ErrorInfo()
        details = rpc_status.from_call(error).details
        assert any(detail.Unpack(info) for detail in details), error
        print(f"       no loyalty card yet: {info.reason}, missing: {info.metadata['missing']}")
        assert info.reason == "CUSTOMER_PENDING", info

    def refused(what, reason, call, request):
        """A call that has to be refused with this reason (every refusal carries one)."""
        try:
            call(request, timeout=10)
        except grpc.RpcError as error:
            info = error_details_pb2.ErrorInfo()
            assert any(detail.Unpack(info) for detail in rpc_status.from_call(error).details), error
            assert info.reason == reason, info
            print(f"       {what}: {error.code().name}, {info.reason}")
        else:
            sys.exit(f"{what} was not refused")

    somebody = customer_pb.Customer(person=customer_pb.Person(first_name="Somebody", last_name="Else"))
    taken = channel_pb.CreateCustomerRequest(customer_id=real.customer.customer_id, customer=somebody)
    refused("the same GUID for somebody else", "GUID_TAKEN", till.CreateCustomer, taken)
    nameless = channel_pb.CreateCustomerRequest(customer_id=str(uuid.uuid4()))
    refused("a customer without a name", "INVALID_FIELD", till.CreateCustomer, nameless)
    nobody = channel_pb.GetCustomerRequest(customer=str(uuid.uuid4()))
    refused("a customer nobody knows", "NOT_FOUND", till.GetCustomer, nobody)

    start = time.monotonic()
    watch = channel_pb.WatchCustomerRequest(customer=pending.customer.customer_id)
    for state in till.WatchCustomer(watch, timeout=60):
        print(f"       {state.customer.account_display}  after {time.monotonic() - start:.2f} s")
        if state.customer.account_number:
            break
    else:
        sys.exit("the watch ended without an account number")

    card = till.IssueLoyaltyCard(card, timeout=10)
    print(f"       loyalty card {card.card_number}")
    found = till.SearchCustomers(channel_pb.SearchCustomersRequest(name="hopper"), timeout=10)
    assert pending.customer.customer_id in [c.customer_id for c in found.customers], found
    print(f"       found by name: {len(found.customers)}")


if __name__ == "__main__":
    main()
