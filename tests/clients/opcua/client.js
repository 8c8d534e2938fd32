// A client of the mirror that isn't asyncua: node-opcua, driven by tests/mirror/test_outsiders.py and handy for people.
//
//   node client.js --endpoint URL [--policy P] [--mode M] [--user U --password W] [--pki DIR] COMMAND [JSON]
//
// Commands and their JSON: endpoints; browse {node, depth}; read {nodes}; subscribe {nodes, interval, queue, count, seconds};
// call {object, method, arguments: [[type, value], ...]}; write {node, type, value}. Each prints one line of JSON:
// {"ok": ...} or {"error": {name, text}}. `talk` takes such commands as lines {"do": COMMAND, ...} on its standard input, in one
// session, after a line {"ok": "connected"}; there `subscribe` returns at once with a number for `changes {subscription, count, seconds}`.
"use strict";

console.log = console.warn = console.error; // standard output is for answers alone

const fs = require("fs");
const os = require("os");
const path = require("path");
const readline = require("readline");
const opcua = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const { AttributeIds, BrowseDirection, DataType, NodeClass, VariantArrayType } = opcua;

function options(words) {
  const found = { policy: "None", mode: null, command: null, given: {} };
  const rest = [];
  while (words.length) {
    const word = words.shift();
    if (word.startsWith("--")) found[word.slice(2)] = words.shift();
    else rest.push(word);
  }
  found.command = rest[0];
  if (rest.length > 1) found.given = JSON.parse(rest[1]);
  if (!found.endpoint || !found.command) throw new Error("give --endpoint URL and a command");
  found.mode = found.mode || (found.policy === "None" ? "None" : "SignAndEncrypt");
  return found;
}

// --- what goes over the wire, as JSON -------------------------------------------------------------------------------------------

function plain(value) {
  if (value === null || value === undefined) return null;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return value.toString("hex");
  if (ArrayBuffer.isView(value)) return Array.from(value, plain);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object") return value;
  if (value.schema) {
    return Object.fromEntries(value.schema.fields.map((field) => [field.name, plain(value[field.name])]));
  }
  if ("text" in value) return value.text; // LocalizedText
  if ("name" in value && "namespaceIndex" in value) return value.name; // QualifiedName
  return value.toString();
}

function whole(pair) {
  return Number((BigInt(pair[0] | 0) << 32n) | BigInt(pair[1] >>> 0)); // node-opcua gives 64 bits as two words
}

function content(variant) {
  if (!variant || variant.value === null || variant.value === undefined) return null;
  const wide = variant.dataType === DataType.Int64 || variant.dataType === DataType.UInt64;
  if (wide) return variant.arrayType === VariantArrayType.Scalar ? whole(variant.value) : Array.from(variant.value, whole);
  return plain(variant.value);
}

function shown(dataValue) {
  return {
    value: content(dataValue.value),
    type: dataValue.value ? DataType[dataValue.value.dataType] : null,
    status: dataValue.statusCode.name,
    source: plain(dataValue.sourceTimestamp),
    server: plain(dataValue.serverTimestamp),
  };
}

function variant([type, value]) {
  if (type === "Null") return { dataType: DataType.Null };
  if (!(type in DataType)) throw new Error(`no data type ${type}`);
  const made = type === "DateTime" && value !== null ? new Date(value) : value;
  const array = Array.isArray(value);
  return { dataType: DataType[type], value: made, arrayType: array ? VariantArrayType.Array : VariantArrayType.Scalar };
}

// --- commands -----------------------------------------------------------------------------------------------------------------

async function browse(session, { node, depth = 1 }) {
  const found = await session.browse({
    nodeId: node,
    referenceTypeId: "HierarchicalReferences",
    browseDirection: BrowseDirection.Forward,
    includeSubtypes: true,
    resultMask: 63,
  });
  if (!found.statusCode.isGood()) throw Object.assign(new Error(node), { name: found.statusCode.name });
  const children = [];
  for (const one of found.references || []) {
    const id = one.nodeId.toString();
    const child = {
      name: one.browseName.name,
      id,
      class: NodeClass[one.nodeClass],
      type: one.typeDefinition && !one.typeDefinition.isEmpty() ? one.typeDefinition.toString() : null,
    };
    if (depth > 1) child.children = await browse(session, { node: id, depth: depth - 1 });
    children.push(child);
  }
  return children;
}

async function read(session, { nodes, attribute = "Value" }) {
  const values = await session.read(nodes.map((nodeId) => ({ nodeId, attributeId: AttributeIds[attribute] })));
  return values.map(shown);
}

const subscriptions = [];

async function subscribe(session, { nodes, interval = 20, queue = 1000 }) {
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: interval,
    requestedLifetimeCount: 1000,
    requestedMaxKeepAliveCount: 10,
    maxNotificationsPerPublish: 0,
    publishingEnabled: true,
    priority: 1,
  });
  const seen = [];
  const group = opcua.ClientMonitoredItemGroup.create(
    subscription,
    nodes.map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })),
    { samplingInterval: 0, discardOldest: true, queueSize: queue },
    opcua.TimestampsToReturn.Both,
  );
  const first = new Promise((resolve, reject) => {
    group.on("initialized", resolve);
    group.on("err", (text) => reject(new Error(text)));
  });
  group.on("changed", (item, dataValue) => seen.push({ node: item.itemToMonitor.nodeId.toString(), ...shown(dataValue) }));
  await first;
  subscriptions.push({ subscription, seen });
  return subscriptions.length - 1;
}

async function changes(session, { subscription, count = 0, seconds = 20 }) {
  const { seen } = subscriptions[subscription];
  const until = Date.now() + seconds * 1000;
  while (seen.length < count && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 5));
  return seen.splice(0);
}

async function call(session, { object, method, arguments: given = [] }) {
  const result = await session.call({ objectId: object, methodId: method, inputArguments: given.map(variant) });
  return {
    status: result.statusCode.name,
    arguments: (result.inputArgumentResults || []).map((code) => code.name),
    outputs: (result.outputArguments || []).map(content),
  };
}

async function write(session, { node, type, value }) {
  const code = await session.write({ nodeId: node, attributeId: AttributeIds.Value, value: { value: variant([type, value]) } });
  return code.name;
}

const COMMANDS = { browse, read, subscribe, changes, call, write };

// --- a session, or none ---------------------------------------------------------------------------------------------------------

function tell(what) {
  fs.writeSync(1, JSON.stringify(what) + "\n");
}

function failed(error) {
  const status = /Bad[A-Z]\w+/.exec(`${error.name} ${error.message} ${error.response || ""}`);
  return { error: { name: status ? status[0] : error.name, text: error.message } };
}

async function carryOut(session, command, given) {
  try {
    if (!(command in COMMANDS)) throw new Error(`no command ${command}; there are ${Object.keys(COMMANDS).join(", ")}`);
    return { ok: await COMMANDS[command](session, given) };
  } catch (error) {
    return failed(error);
  }
}

async function main() {
  const wanted = options(process.argv.slice(2));
  const scratch = wanted.pki ? null : fs.mkdtempSync(path.join(os.tmpdir(), "opcua-client-"));
  const pki = new OPCUACertificateManager({ rootFolder: wanted.pki || scratch, automaticallyAcceptUnknownCertificate: true });
  await pki.initialize();
  const client = opcua.OPCUAClient.create({
    applicationName: "outsider",
    clientCertificateManager: pki,
    connectionStrategy: { maxRetry: 0 },
    endpointMustExist: false,
    requestedSessionTimeout: 60000,
    securityMode: opcua.MessageSecurityMode[wanted.mode],
    securityPolicy: opcua.SecurityPolicy[wanted.policy],
  });
  let session = null;
  try {
    await client.connect(wanted.endpoint);
    if (wanted.command === "endpoints") {
      const offered = await client.getEndpoints();
      tell({
        ok: offered.map((one) => ({
          url: one.endpointUrl,
          policy: one.securityPolicyUri.split("#")[1],
          mode: opcua.MessageSecurityMode[one.securityMode],
          users: one.userIdentityTokens.map((token) => opcua.UserTokenType[token.tokenType]),
        })),
      });
      return;
    }
    const user = wanted.user
      ? { type: opcua.UserTokenType.UserName, userName: wanted.user, password: wanted.password || "" }
      : { type: opcua.UserTokenType.Anonymous };
    session = await client.createSession(user);
    if (wanted.command === "talk") {
      tell({ ok: "connected" });
      for await (const line of readline.createInterface({ input: process.stdin })) {
        const { do: command, ...given } = JSON.parse(line);
        tell(await carryOut(session, command, given));
      }
    } else if (wanted.command === "subscribe") {
      const subscription = await subscribe(session, wanted.given);
      tell(await carryOut(session, "changes", { count: Infinity, ...wanted.given, subscription }));
    } else {
      tell(await carryOut(session, wanted.command, wanted.given));
    }
  } catch (error) {
    tell(failed(error));
    process.exitCode = 1;
  } finally {
    try {
      for (const { subscription } of subscriptions) await subscription.terminate();
      if (session) await session.close();
      await client.disconnect();
    } catch (error) {
      process.stderr.write(`${error.message}\n`);
    }
    await pki.dispose();
    if (scratch) fs.rmSync(scratch, { recursive: true, force: true });
  }
}

main().then(() => process.exit(process.exitCode || 0), (error) => {
  tell(failed(error));
  process.exit(1);
});
