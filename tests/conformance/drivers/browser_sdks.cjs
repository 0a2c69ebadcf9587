// A product's page with an unmodified browser SDK in jsdom, only the host changed: node browser_sdks.cjs KIND, orders as JSON on stdin.
// KIND: segment (a request per call), segment-batching, rudder. The SDK fetches its settings document from the same host, and jsdom enforces
// CORS, preflights included, as browsers do. What the SDK believes is what the page's network panel shows as answered below 400.

const fs = require('node:fs');
const { JSDOM, VirtualConsole } = require('jsdom');

const PATIENCE_MS = 60_000;
const LOOK_MS = 50;

function page(script) {
  const { window } = new JSDOM('<!doctype html><html><head></head><body></body></html>', {
    url: 'https://app.example/start',
    runScripts: 'outside-only',
    virtualConsole: new VirtualConsole(), // what an SDK says of a bad network is not our news
  });
  Object.assign(window, { TextEncoder, TextDecoder }); // jsdom lacks them, no browser does
  window.eval(fs.readFileSync(`${process.env.NODE_PATH}/${script}`, 'utf8'));
  return window;
}

function watch(window) {
  const delivered = new Set();
  const send = window.XMLHttpRequest.prototype.send;
  window.XMLHttpRequest.prototype.send = function (body) {
    this.addEventListener('load', () => {
      if (typeof body !== 'string' || this.status >= 400) return;
      const sent = JSON.parse(body);
      for (const call of sent.batch ?? [sent]) delivered.add(call.messageId);
    });
    return send.call(this, body);
  };
  return delivered;
}

// Half of the calls name the account, the others only the user, whom a server has put into it: a browser's key could not.
function options(order, number) {
  return number % 2 ? {} : { context: { groupId: order.first_account } };
}

function call(sdk, order, number, ...more) {
  if (number === 0) return sdk.identify(`${order.name}-user`, { plan: 'pro' }, options(order, number), ...more);
  if (number % 5) return sdk.track('Report Exported', { rows: number }, options(order, number), ...more);
  return sdk.page('docs', 'Start', { rows: number }, options(order, number), ...more);
}

async function segment(order, delivery) {
  const window = page('@segment/analytics-next/dist/umd/index.js');
  const delivered = watch(window);
  const [sdk] = await window.AnalyticsNext.AnalyticsBrowser.load({ writeKey: order.key, cdnURL: order.host }, { integrations: { 'Segment.io': delivery } });
  const made = await Promise.all(Array.from({ length: order.calls }, (_, number) => call(sdk, order, number)));
  return { window, delivered, ids: made.map((context) => context.event.messageId) };
}

async function rudder(order) {
  const window = page('@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js');
  const delivered = watch(window);
  const sdk = new window.rudderanalytics.RudderAnalytics();
  // It would fetch polyfills from their network for what jsdom lacks.
  await new Promise((onLoaded) => sdk.load(order.key, order.host, { configUrl: order.host, polyfillIfRequired: false, logLevel: 'NONE', onLoaded }));
  const made = Array.from({ length: order.calls }, (_, number) => new Promise((resolve) => call(sdk, order, number, resolve)));
  return { window, delivered, ids: (await Promise.all(made)).map((sent) => sent.messageId) };
}

const BATCHES = { deliveryStrategy: { strategy: 'batching', config: { size: 20, timeout: 200 } } };
const KINDS = {
  segment: [(order) => segment(order, {}), '@segment/analytics-next'],
  'segment-batching': [(order) => segment(order, BATCHES), '@segment/analytics-next'],
  rudder: [rudder, '@rudderstack/analytics-js'],
};

async function settled({ window, delivered, ids }) {
  const deadline = Date.now() + PATIENCE_MS;
  while (Date.now() < deadline && !ids.every((id) => delivered.has(id))) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  window.close();
  return { ids, failed: ids.filter((id) => !delivered.has(id)), errors: [] };
}

async function main(kind) {
  const [drive, name] = KINDS[kind];
  const version = JSON.parse(fs.readFileSync(`${process.env.NODE_PATH}/${name}/package.json`)).version;
  const orders = JSON.parse(fs.readFileSync(0));
  const answers = await Promise.all(orders.map(async (order) => ({ name: order.name, version, ...(await settled(await drive(order))) })));
  process.stdout.write(JSON.stringify(answers), () => process.exit(0));
}

main(process.argv[2]);
