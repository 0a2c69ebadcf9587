// A product backend on Node with an unmodified SDK, only the host changed: node node_sdks.cjs segment|rudder, orders as JSON on stdin.
// Prints for each order what the other drivers print; see tests/conformance/suite.py.

const fs = require('node:fs');
const zlib = require('node:zlib');

const TOGETHER = 50;

// Six calls about one user: with and without an account, and from a device that `alias` ties to them.
function calls(order) {
  return Array.from({ length: order.calls }, (_, number) => {
    const turn = Math.floor(number / 6);
    const account = order.first_account + (turn % order.accounts);
    const userId = `${order.name}-user-${turn % order.accounts}`;
    const device = `${order.name}-device-${turn % order.accounts}`;
    const context = { groupId: account };
    return [
      ['identify', { userId, traits: { email: `${userId}@example.com`, plan: 'pro' }, context }],
      ['group', { userId, groupId: account, traits: { name: 'Acme ünïcode', seats: 5 } }],
      ['page', { userId, name: 'Getting started', properties: { path: '/start' }, context }],
      ['screen', { anonymousId: device, name: 'Home', properties: {} }],
      ['alias', { previousId: device, userId }],
      ['track', { userId, event: 'Report Exported', properties: { rows: number, at: new Date() }, timestamp: new Date() }],
    ][number % 6];
  });
}

async function segment(order) {
  const { Analytics } = require('@segment/analytics-node');
  const sdk = new Analytics({ writeKey: order.key, host: order.host, flushInterval: 200 });
  sdk.on('error', () => {}); // each call hears of its own fate below
  const [ids, failed, errors] = [[], [], []];
  const told = calls(order).map(
    ([kind, call]) =>
      new Promise((resolve) =>
        sdk[kind](call, (error, context) => {
          ids.push(context.event.messageId);
          if (error) {
            failed.push(context.event.messageId);
            errors.push(String(error.reason ?? error));
          }
          resolve();
        }),
      ),
  );
  await sdk.flush({ timeout: 60_000 });
  await Promise.all(told);
  return { ids, failed, errors };
}

async function rudder(order) {
  const Analytics = require('@rudderstack/rudder-sdk-node');
  const [ids, failed, errors] = [new Set(), new Set(), []];
  const sdk = new Analytics(order.key, { dataPlaneUrl: order.host, flushAt: TOGETHER, flushInterval: 200, errorHandler: (error) => errors.push(String(error)), logLevel: 'none' });
  const tell = ([kind, call]) =>
    new Promise((resolve) =>
      sdk[kind](call, (error, sent) => {
        for (const { messageId } of JSON.parse(zlib.gunzipSync(sent)).batch) {
          ids.add(messageId);
          if (error) failed.add(messageId);
        }
        resolve();
      }),
    );
  const all = calls(order);
  // It weighs its whole queue at each call, so that a long queue costs more than the calls.
  for (let start = 0; start < all.length; start += TOGETHER) await Promise.all(all.slice(start, start + TOGETHER).map(tell));
  return { ids: [...ids], failed: [...failed], errors };
}

const SDKS = { segment: [segment, '@segment/analytics-node'], rudder: [rudder, '@rudderstack/rudder-sdk-node'] };

async function main(kind) {
  const [drive, name] = SDKS[kind];
  const version = JSON.parse(fs.readFileSync(`${process.env.NODE_PATH}/${name}/package.json`)).version;
  const orders = JSON.parse(fs.readFileSync(0));
  const answers = await Promise.all(orders.map(async (order) => ({ name: order.name, version, ...(await drive(order)) })));
  process.stdout.write(JSON.stringify(answers), () => process.exit(0));
}

main(process.argv[2]);
