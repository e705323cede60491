// The page that signs in inside the DingTalk client. It requests a code from the
// client, sends it to our server and navigates to the requested page:
//
//   newest call ─ fails ─► old call ─ fails, or 5 s pass ─► a message and a button
//        └──── code ───► POST /silent ─► target (with the fragment, which only the browser knows)
//
// All texts and URLs are in the page, none is here.
import 'dingtalk-jsapi/entry/union';
import requestAuthCodeV2 from 'dingtalk-jsapi/api/union/requestAuthCode';
import requestAuthCode from 'dingtalk-jsapi/api/runtime/permission/requestAuthCode';
import { getENV } from 'dingtalk-jsapi/lib/env';

const patience = 5000; // the client's promise never settles if the bridge is missing
const server = 12000; // ours answers sooner, whatever DingTalk does
const recently = 15000; // a second sign-in within this time: the session does not stay

const page = document.getElementById('silent').dataset;
let over = false;

// put writes a text into an element, which an organisation's own page may not have.
function put(selector, text) {
  const place = document.querySelector(selector);
  if (place && text) place.textContent = text;
}

// fail shows an error and the next step; result is our server's answer, or empty if the client gave no
// code. Later calls have no effect.
function fail(result = {}, passing = false) {
  if (over) return;
  over = true;
  put('#failed h1', result.title);
  put('#why', result.message);
  put('#next', result.next);
  put('#aloud', result.button);
  if (passing) {
    document.getElementById('aloud').addEventListener('click', (event) => { // repeats the silent sign-in
      event.preventDefault();
      location.reload();
    });
  }
  if (result.request_id) {
    put('#request-id', result.request_id);
    document.getElementById('facts').hidden = false;
  }
  document.getElementById('progress').hidden = true;
  const failed = document.getElementById('failed');
  failed.hidden = false;
  failed.focus();
}

// since reads and sets when this tab last signed in: a page that returns at once
// would otherwise loop.
function since() {
  try {
    const last = Number(sessionStorage.getItem('dinggate-silent')) || 0;
    return Date.now() - last;
  } catch {
    return Infinity; // storage is disabled
  }
}

function note() {
  try {
    sessionStorage.setItem('dinggate-silent', String(Date.now()));
  } catch {
    // without storage the limits of the server apply
  }
}

// newer reports whether the client supports the call with the app's client id.
function newer() {
  const { platform, version } = getENV();
  const least = { pc: [7, 0, 50], harmony: [7, 0, 0] }[platform] || [7, 0, 45];
  const have = String(version || '').split(/[.-]/).map(Number);
  for (let i = 0; i < least.length; i++) {
    if ((have[i] || 0) !== least[i]) return (have[i] || 0) > least[i];
  }
  return true;
}

async function code() {
  if (newer()) {
    try {
      return (await requestAuthCodeV2({ corpId: page.corp, clientId: page.client })).code;
    } catch {
      // try the call that every client supports
    }
  }
  return (await requestAuthCode({ corpId: page.corp })).code;
}

async function signIn() {
  const body = new URLSearchParams({ code: String(await code()), state: page.state });
  if (over) return;
  clearTimeout(waiting);
  setTimeout(() => fail(), server);
  const answer = await fetch(page.post, { method: 'POST', body, headers: { Accept: 'application/json' }, credentials: 'same-origin', cache: 'no-store' });
  const result = await answer.json();
  if (!answer.ok || !result.location) {
    fail(result, answer.status >= 500 || answer.status === 429);
    return;
  }
  if (over) return;
  over = true;
  note();
  const here = location.href;
  const target = new URL(result.location + (result.location.includes('#') ? '' : location.hash), here).href;
  if (target === here) location.reload();
  else location.replace(target);
}

const waiting = setTimeout(() => fail(), patience);
if (since() < recently) fail({ title: page.loopTitle, message: page.loop, next: page.loopNext });
else signIn().catch(() => fail());
