// A till's client in Node: creates customers sync and async, watches, searches, and handles each refusal.
//
//     npm install && node pos.js --channel 127.0.0.1:7100 --hq 127.0.0.1:7200
//
// The stubs are made from ../../proto when the script starts, so there is nothing to generate by hand.

"use strict";

const assert = require("node:assert");
const crypto = require("node:crypto");
const path = require("node:path");
const { parseArgs, promisify } = require("node:util");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const PROTO = path.resolve(__dirname, "../../proto");

const { values: options } = parseArgs({
  options: {
    channel: { type: "string", default: "127.0.0.1:7100" },
    hq: { type: "string", default: "127.0.0.1:7200" },
    "channel-id": { type: "string", default: "store-1" },
  },
});

const { tillsync } = grpc.loadPackageDefinition(
  loader.loadSync(
    ["tillsync/channel/v1/customer_service.proto", "tillsync/hq/v1/admin_service.proto"],
    { includeDirs: [PROTO], enums: String, longs: String, defaults: true, oneofs: true },
  ),
);
const { ErrorInfo, Status } = require("./details");

// Calls as promises, with a deadline: a till that waits for ever helps nobody.
function client(Service, address) {
  const stub = new Service(address, grpc.credentials.createInsecure());
  const call = (name) => (request, seconds = 10) =>
    promisify(stub[name].bind(stub))(request, new grpc.Metadata(), { deadline: Date.now() + seconds * 1000 });
  return { stub, call };
}

// The standard reason of a refusal, such as CUSTOMER_PENDING.
function reason(error) {
  const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!details) return "";
  const info = Status.decode(details).details.find(({ type_url }) => type_url.endsWith("google.rpc.ErrorInfo"));
  return info ? ErrorInfo.decode(info.value).reason : "";
}

async function refused(what, code, expected, call, mayPass = false) {
  try {
    await call;
    if (mayPass) return;
  } catch (error) {
    assert.strictEqual(error.code, code, error.message);
    assert.strictEqual(reason(error), expected, error.message);
    console.log(`       ${what}: ${grpc.status[code]}, ${expected}`);
    return;
  }
  assert.fail(`${what} was not refused`);
}

async function main() {
  const till = client(tillsync.channel.v1.CustomerService, options.channel);
  const admin = client(tillsync.hq.v1.AdminService, options.hq);
  for (const { stub } of [till, admin]) await promisify(stub.waitForReady.bind(stub))(Date.now() + 30_000);
  const create = till.call("CreateCustomer");

  const switchMode = async (createCustomerAsync) => {
    const profile = { createCustomerAsync, asyncFallback: true, rtsTimeout: { seconds: 2 } };
    await admin.call("UpdateProfile")({ channelId: options["channel-id"], profile });
    const job = { job: "JOB_CHANNEL_CONFIGURATION_1070", channelId: options["channel-id"] };
    const { sessions } = await admin.call("RunJob")(job, 30);
    assert.deepStrictEqual(sessions.map(({ run }) => run.error), [""]);
  };
  // The GUID is minted when the form opens, so that sending it again cannot make a second customer.
  const form = (firstName, lastName) => ({
    customerId: crypto.randomUUID(),
    customer: {
      person: { firstName, lastName },
      contacts: [{ kind: "CONTACT_KIND_EMAIL", value: `${firstName}.${lastName}@example.com`.toLowerCase(), primary: true }],
      addresses: [{ street: "Main Street 1", city: "Springfield", country: "US" }],
    },
  });
  const sign = async (first, last, path) => {
    const request = form(first, last);
    const answer = await create(request);
    assert.strictEqual(answer.path, path);
    const again = await create(request);
    assert.strictEqual(again.customer.customerId, answer.customer.customerId, "a repeat made another customer");
    console.log(`${path.replace("CREATE_PATH_", "").padEnd(6)} ${first} ${last}: ${answer.customer.accountDisplay}`);
    return { request, customer: answer.customer };
  };

  await switchMode(false);
  const real = await sign("Katherine", "Johnson", "CREATE_PATH_SYNC");
  assert.notStrictEqual(real.customer.accountNumber, "");

  await switchMode(true);
  const pending = await sign("Dorothy", "Vaughan", "CREATE_PATH_ASYNC");
  assert.strictEqual(pending.customer.accountDisplay, "Pending sync");

  // Unless the account number is back already.
  const card = { customer: pending.customer.customerId };
  await refused("no loyalty card yet", grpc.status.FAILED_PRECONDITION, "CUSTOMER_PENDING", till.call("IssueLoyaltyCard")(card), true);

  const taken = { ...form("Somebody", "Else"), customerId: real.request.customerId };
  await refused("the same GUID for somebody else", grpc.status.ALREADY_EXISTS, "GUID_TAKEN", create(taken));
  await refused("a customer without a name", grpc.status.INVALID_ARGUMENT, "INVALID_FIELD", create({ customerId: crypto.randomUUID() }));
  const nobody = { customer: crypto.randomUUID() };
  await refused("a customer nobody knows", grpc.status.NOT_FOUND, "NOT_FOUND", till.call("GetCustomer")(nobody));

  await new Promise((resolve, reject) => {
    const watch = till.stub.WatchCustomer({ customer: pending.customer.customerId }, { deadline: Date.now() + 60_000 });
    watch.on("data", ({ customer }) => {
      console.log(`       ${customer.accountDisplay}`);
      if (customer.accountNumber !== "") {
        watch.cancel();
        resolve();
      }
    });
    watch.on("error", (error) => (error.code === grpc.status.CANCELLED ? resolve() : reject(error)));
    watch.on("end", () => reject(new Error("the watch ended without an account number")));
  });

  const { customers } = await till.call("SearchCustomers")({ name: "vaughan" });
  assert.ok(customers.some(({ customerId }) => customerId === pending.customer.customerId));
  console.log(`       found by name: ${customers.length}`);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
