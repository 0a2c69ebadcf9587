// Keeps the page fresh by replacing only what changed, and sends what a person does.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
let revision = Number(document.body.dataset.revision);

function openDialogs() {
  for (const dialog of document.querySelectorAll("#views dialog")) if (!dialog.open) dialog.showModal();
}

/** Make the children of `old` those of `fresh`, touching only those whose revision differs. */
function merge(old, fresh) {
  const known = new Map([...old.children].map((child) => [child.dataset.id, child]));
  for (const [place, child] of [...fresh.children].entries()) {
    const before = known.get(child.dataset.id);
    known.delete(child.dataset.id);
    const same = before && before.dataset.rev === child.dataset.rev;
    const chosen = same ? before : child;
    if (before && !same) before.replaceWith(chosen);
    // Moving a node would close its menus and lose the focus.
    if (old.children[place] !== chosen) old.insertBefore(chosen, old.children[place] ?? null);
  }
  for (const gone of known.values()) gone.remove();
}

function localTimes() {
  for (const time of document.querySelectorAll("time[datetime]:not([title])")) {
    const when = new Date(time.dateTime);
    time.title = when.toLocaleString();
    time.textContent = time.textContent.replace(/\d\d:\d\d/, when.toTimeString().slice(0, 5));
  }
}

async function refresh() {
  const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const list = $("#list");
  if (!list || !$("#list", fresh)) return location.reload();
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  $("#side").replaceWith($("#side", fresh));
  if (list.classList.contains("mail")) mergeMail(list, $("#list", fresh));
  else merge(list, $("#list", fresh));
  merge($("#views"), $("#views", fresh));
  if (atEnd && list.classList.contains("chat")) list.scrollTop = list.scrollHeight;
  localTimes();
  openDialogs();
}

/** Moving an open letter would load its frame again, so letters only come in at the top and go. */
function mergeMail(old, fresh) {
  const kept = new Set([...fresh.children].map((child) => child.dataset.id));
  for (const child of [...old.children]) if (!kept.has(child.dataset.id)) child.remove();
  const known = new Set([...old.children].map((child) => child.dataset.id));
  for (const child of [...fresh.children].reverse()) {
    if (known.has(child.dataset.id)) continue;
    child.open = false;
    old.prepend(child);
  }
}

async function poll() {
  try {
    if (document.visibilityState === "visible") {
      const now = (await (await fetch("/api/revision")).json()).revision;
      if (now !== revision) {
        revision = now;
        await refresh();
      }
    }
  } catch {
    // The inbox is restarting; the next turn tells.
  }
  setTimeout(poll, 1000);
}

function toast(message) {
  if (!message) return;
  const place = $("#toast");
  place.textContent = message;
  place.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (place.hidden = true), 6000);
}

async function send(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) toast(told.message);
  return { ok: answer.ok, told };
}

async function act(element, chosen) {
  const message = element.closest("[data-message]");
  if (!message || element.closest(".before")) return;
  if (element.dataset.confirm && !confirm(element.dataset.confirm)) return;
  element.disabled = true;
  try {
    const as = $("#as");
    await send("/act/click", { message: Number(message.dataset.message), block_id: element.dataset.block, action_id: element.dataset.action, user: as ? as.value : "", chosen });
  } finally {
    element.disabled = false;
  }
}

document.addEventListener("click", (event) => {
  const tab = event.target.closest("[data-tab]");
  if (tab) {
    const sheet = tab.closest(".sheet");
    for (const other of sheet.querySelectorAll("[data-tab]")) other.setAttribute("aria-selected", String(other === tab));
    for (const pane of sheet.querySelectorAll("[data-pane]")) pane.hidden = pane.dataset.pane !== tab.dataset.tab;
    return;
  }
  const used = event.target.closest("button[data-action], a[data-action]");
  if (used) act(used, null);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-message] select, [data-message] input")) act(event.target, event.target.value);
});

function valuesOf(form) {
  const values = {};
  for (const field of form.querySelectorAll("[name]")) {
    const [block, action] = field.name.split("|");
    values[block] ??= {};
    if (field.type === "checkbox") values[block][action] = [...(values[block][action] ?? []), ...(field.checked ? [field.value] : [])];
    else if (field.type === "radio") values[block][action] = field.checked ? field.value : values[block][action] ?? null;
    else if (field.type === "datetime-local") values[block][action] = field.value ? Math.floor(new Date(field.value).getTime() / 1000) : null;
    else values[block][action] = field.value || null;
  }
  return values;
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-view]");
  if (!form) return;
  event.preventDefault();
  const view = form.dataset.view;
  if (event.submitter.value === "close") {
    form.closest("dialog").close();
    await send("/act/close", { view });
    return;
  }
  const { ok, told } = await send("/act/submit", { view, values: valuesOf(form) });
  for (const place of form.querySelectorAll(".error")) place.textContent = told.errors?.[place.dataset.for] ?? "";
  if (ok && told.response_action !== "errors") form.closest("dialog").remove();
});

document.addEventListener("cancel", (event) => {
  if (event.target.matches("dialog[data-id]")) send("/act/close", { view: event.target.dataset.id });
}, true);

const chat = $("#list.chat");
if (chat && !location.hash) chat.scrollTop = chat.scrollHeight;
localTimes();
openDialogs();
poll();
