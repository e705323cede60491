// dinggate.js helps single-page applications whose session has ended while the
// page was open. Load it from the application's own host:
//
//   <script src="/oauth2/assets/dinggate.js"></script>
//
//   dinggate.fetch(url, options)   like fetch; after a 401 of dinggate it calls onExpired, once for all
//                                  waiting calls, and repeats them when the person has signed in
//   dinggate.signIn(loginURL)      opens the sign-in in a popup, or in a tab where popups are
//                                  blocked; call it from a click. It ends on one of our pages, which
//                                  closes itself. Resolves with the person
//   dinggate.onSignIn(callback)    called with the person in every open tab after a sign-in in
//                                  one of them; returns a function that unsubscribes
//   dinggate.onExpired = async (loginURL) => …   shows it to the person; the default navigates to loginURL
(() => {
  const here = new URL(document.currentScript.src);
  const own = here.origin + here.pathname.replace(/\/assets\/[^/]*$/, '');
  const key = 'dinggate'; // of the channel, or of the storage if there are no channels
  const channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel(key) : null;
  const listeners = new Set();
  let expired = null; // the promise that calls with a 401 wait for

  async function who() {
    const answer = await fetch(own + '/userinfo', { headers: { Accept: 'application/json' }, credentials: 'same-origin', cache: 'no-store' });
    return answer.ok ? answer.json() : null;
  }

  function send(word) {
    if (channel) {
      channel.postMessage(word);
      return;
    }
    try {
      localStorage.setItem(key, word + ' ' + Date.now());
    } catch {
      // no other tab receives it; each checks by itself when it becomes visible
    }
  }

  const wake = (person) => { for (const call of [...listeners]) call(person); };
  const look = () => who().then((person) => { if (person) wake(person); }, () => {});
  function receive(word) {
    if (word === 'signed-in' && running) endPause();
    else if (word === 'signed-in' || word === 'here' && expired) look();
  }
  if (channel) channel.onmessage = (event) => receive(event.data);
  else addEventListener('storage', (event) => { if (event.key === key && event.newValue) receive(event.newValue.split(' ')[0]); });
  document.addEventListener('visibilitychange', () => { if (expired && !document.hidden) look(); });
  send('here'); // this tab may have loaded after a sign-in

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  let popup = null;
  let running = null; // one sign-in at a time, for all callers
  let endPause = () => {}; // ends a pause of wait
  function signIn(loginURL = own + '/start?rd=%2F') {
    const address = new URL(loginURL, here);
    if (!/^https?:$/.test(address.protocol)) return Promise.reject(new Error('dinggate: this is no address of a sign-in'));
    address.searchParams.set('rd', own + '/signed_in'); // a page that notifies this one, and closes
    if (running && popup && !popup.closed) popup.focus();
    else popup = window.open(address.href, 'dinggate', 'popup,width=480,height=720') || window.open(address.href, '_blank');
    if (!popup) return Promise.reject(new Error('dinggate: the browser opened no window; call signIn from a click'));
    running = running || wait().finally(() => { running = null; });
    return running;
  }

  // wait polls once a second, and when the popup reports a sign-in. A closed window ends it after a
  // minute only: a page on the way may sever the link to its opener, and an open window then looks
  // closed.
  async function wait() {
    let gone = 0;
    for (let i = 0; i < 600 && gone < 60; i++) {
      const notified = await Promise.race([pause(1000), new Promise((done) => { endPause = () => done(true); })]);
      const person = await who().catch(() => null);
      if (person) {
        popup.close();
        if (!notified) send('signed-in');
        wake(person);
        return person;
      }
      gone = popup.closed ? gone + 1 : 0;
    }
    throw new Error('dinggate: no sign-in');
  }

  // renewed calls onExpired, and resolves when the person has signed in, in any tab.
  function renewed(loginURL) {
    if (expired) return expired;
    let signedIn;
    const elsewhere = new Promise((done) => { signedIn = done; listeners.add(done); });
    expired = Promise.race([elsewhere, Promise.resolve(loginURL).then((url) => api.onExpired(url))])
      .finally(() => { expired = null; listeners.delete(signedIn); });
    return expired;
  }

  // ours is the login_url of a 401 of dinggate. An answer of another host must not redirect the
  // person.
  async function ours(answer) {
    if (answer.status !== 401 || new URL(answer.url, here).origin !== here.origin) return null;
    if (!(answer.headers.get('Content-Type') || '').startsWith('application/json')) return null;
    const body = await answer.clone().json().catch(() => null);
    if (!body || body.error !== 'unauthenticated' || typeof body.login_url !== 'string') return null;
    return /^https?:\/\//.test(body.login_url) ? body.login_url : null;
  }

  const api = {
    signIn,
    onSignIn(call) { listeners.add(call); return () => listeners.delete(call); },
    onExpired(loginURL) { location.assign(loginURL); return new Promise(() => {}); },
    async fetch(input, init) {
      const again = input instanceof Request ? input.clone() : input;
      const answer = await fetch(input, init);
      const loginURL = await ours(answer);
      if (!loginURL) return answer;
      await renewed(loginURL);
      return fetch(again, init);
    },
  };
  window.dinggate = api;
})();
