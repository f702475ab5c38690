// A till as a page in a browser, over grpc-web: creates customers, shows "Pending sync" until the account number is
// there, searches, and says in words why something was refused.
//
// The store is named in the address: index.html?store=http://127.0.0.1:7100 (the default). It has to be started with
// --web-origin and the origin of this page.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { CreatePath, CustomerService } from "./gen/tillsync/channel/v1/customer_service_pb.js";
import { ContactKind, SyncState } from "./gen/tillsync/common/v1/customer_pb.js";

const baseUrl = new URLSearchParams(location.search).get("store") ?? "http://127.0.0.1:7100";
// A till that waits for ever helps nobody.
const till = createClient(CustomerService, createGrpcWebTransport({ baseUrl, defaultTimeoutMs: 10_000 }));

// What a cashier is told, by the standard reason of a refusal.
const WORDS = {
  INVALID_FIELD: "Something is missing or not right",
  GUID_TAKEN: "This form has made another customer already",
  CUSTOMER_PENDING: "The account number is not there yet: try again later",
  NOT_FOUND: "Nobody of that name",
  HQ_UNREACHABLE: "Headquarters does not answer",
  OVERLOADED: "Too busy: try again in a moment",
};

const form = document.getElementById("create");
const customers = document.getElementById("customers");
// Minted when the form opens, so that sending it again cannot make a second customer.
let formId = crypto.randomUUID();

// A browser opens six connections to a store that speaks HTTP/1.1, and each watch takes one: some are left for calls.
const MOST_WATCHES = 4;
const waiting = [];
let watches = 0;

function say(text, isRefused = false) {
  const says = document.getElementById("says");
  says.textContent = text;
  says.classList.toggle("refused", isRefused);
}

// Every refusal has a reason for programs and a message for people.
function refused(thrown) {
  const error = ConnectError.from(thrown);
  const [info] = error.findDetails(ErrorInfoSchema);
  const reason = info?.reason ?? Code[error.code];
  say(`${WORDS[reason] ?? error.rawMessage} (${reason})`, true);
}

function nameOf({ party }) {
  return party.case === "person" ? `${party.value.firstName} ${party.value.lastName}`.trim() : party.value?.name ?? "";
}

function cell(row, text) {
  const cell = row.insertCell();
  cell.textContent = text;
  return cell;
}

function show(customer) {
  document.getElementById(customer.customerId)?.remove();
  const row = customers.insertRow(0);
  row.id = customer.customerId;
  cell(row, nameOf(customer));
  const account = cell(row, customer.accountDisplay);
  const card = document.createElement("button");
  card.textContent = "Issue card";
  card.onclick = () => issueCard(customer);
  cell(row, "").append(card);
  if (customer.syncState === SyncState.PENDING) {
    waiting.push([customer.customerId, account]);
    watchNext();
  }
}

async function watchNext() {
  if (watches === MOST_WATCHES || waiting.length === 0) return;
  watches += 1;
  await watch(...waiting.shift());
  watches -= 1;
  watchNext();
}

// Until the account number is there. A store that was restarted ends a watch: it is asked again.
async function watch(id, account) {
  while (account.isConnected) {
    try {
      for await (const { customer } of till.watchCustomer({ customer: id }, { timeoutMs: 600_000 })) {
        account.textContent = customer.accountDisplay;
        if (customer.syncState === SyncState.SYNCED) return;
      }
    } catch (thrown) {
      refused(thrown);
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

async function issueCard({ customerId }) {
  try {
    const { cardNumber } = await till.issueLoyaltyCard({ customer: customerId });
    say(`Card ${cardNumber}`);
  } catch (thrown) {
    refused(thrown);
  }
}

form.onsubmit = async (event) => {
  event.preventDefault();
  const { first, last, email } = Object.fromEntries(new FormData(form));
  const contacts = email ? [{ kind: ContactKind.EMAIL, value: email, primary: true }] : [];
  const party = { case: "person", value: { firstName: first, lastName: last } };
  try {
    const { customer, path } = await till.createCustomer({ customerId: formId, customer: { party, contacts } });
    say(`${nameOf(customer)} is created (${CreatePath[path]})`);
    show(customer);
    form.reset();
    formId = crypto.randomUUID();
  } catch (thrown) {
    refused(thrown);
  }
};

document.getElementById("search").onsubmit = async (event) => {
  event.preventDefault();
  const name = new FormData(event.target).get("name");
  try {
    const found = await till.searchCustomers({ criterion: { case: "name", value: name } });
    customers.replaceChildren();
    found.customers.toReversed().forEach(show);
    say(`${found.customers.length} found`);
  } catch (thrown) {
    refused(thrown);
  }
};
