// The page that signs in inside the DingTalk client. It asks the client for a
// code, sends it to our server and goes on to where the person wanted to be:
//
//   newest call ─ fails ─► old call ─ fails, or 5 s pass ─► a message and a button
//        └──── code ───► POST /silent ─► target (with the fragment, which only the browser knows)
//
// Every text and address is in the page; here are none.
import 'dingtalk-jsapi/entry/union';
import requestAuthCodeV2 from 'dingtalk-jsapi/api/union/requestAuthCode';
import requestAuthCode from 'dingtalk-jsapi/api/runtime/permission/requestAuthCode';
import { getENV } from 'dingtalk-jsapi/lib/env';

const patience = 5000; // the client's promise never settles where the bridge is missing
const server = 12000; // ours answers sooner, whatever DingTalk does
const recently = 15000; // signed in this long ago and asked again: the session does not stay

const page = document.getElementById('silent').dataset;
let over = false;

// put writes a text where the page has a place for it, which a page of your own may not have.
function put(selector, text) {
  const place = document.querySelector(selector);
  if (place && text) place.textContent = text;
}

// fail shows one way out; told is what our server answered, and is nothing where
// the client did not. Who comes late changes nothing any more.
function fail(told = {}, passing = false) {
  if (over) return;
  over = true;
  put('#failed h1', told.title);
  put('#why', told.message);
  put('#next', told.next);
  put('#aloud', told.button);
  if (passing) {
    document.getElementById('aloud').addEventListener('click', (event) => { // once more by itself, when somebody asks
      event.preventDefault();
      location.reload();
    });
  }
  if (told.request_id) {
    put('#request-id', told.request_id);
    document.getElementById('facts').hidden = false;
  }
  document.getElementById('progress').hidden = true;
  const failed = document.getElementById('failed');
  failed.hidden = false;
  failed.focus();
}

// since reads and sets when this tab last signed in: a page that comes back at
// once would otherwise go round for ever.
function since() {
  try {
    const last = Number(sessionStorage.getItem('dinggate-silent')) || 0;
    return Date.now() - last;
  } catch {
    return Infinity; // storage is switched off
  }
}

function note() {
  try {
    sessionStorage.setItem('dinggate-silent', String(Date.now()));
  } catch {
    // without storage the server's own limits hold
  }
}

// newer says whether the client knows the call that names the app itself.
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
      // once more, the way every client knows
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
  const told = await answer.json();
  if (!answer.ok || !told.location) {
    fail(told, answer.status >= 500 || answer.status === 429);
    return;
  }
  if (over) return;
  over = true;
  note();
  const here = location.href;
  const target = new URL(told.location + (told.location.includes('#') ? '' : location.hash), here).href;
  if (target === here) location.reload();
  else location.replace(target);
}

const waiting = setTimeout(() => fail(), patience);
if (since() < recently) fail({ title: page.loopTitle, message: page.loop, next: page.loopNext });
else signIn().catch(() => fail());
