// dinggate.js helps single-page applications whose session has ended while the
// page was open. Load it from the application: <script src="/oauth2/assets/dinggate.js"></script>
//
//   dinggate.fetch(url, options)   like fetch; after a 401 of ours it asks onExpired, and when
//                                  the person has signed in again it repeats what may be repeated
//   dinggate.signIn(loginURL)      opens the sign-in in a popup, or in a tab where popups are
//                                  blocked; call it from a click. Resolves with the person
//   dinggate.onSignIn(callback)    called in every open tab when somebody has signed in in one
//   dinggate.onExpired = async (loginURL) => …   what to do then; the default asks in a banner
//                                  of the application's own making, or goes to loginURL
(() => {
  const here = new URL(document.currentScript.src);
  const own = here.origin + here.pathname.replace(/\/assets\/[^/]*$/, '');
  const channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel('dinggate') : null;
  const listeners = new Set();
  if (channel) channel.onmessage = (event) => { if (event.data === 'signed-in') listeners.forEach((call) => call()); };

  async function who() {
    const answer = await fetch(own + '/userinfo', { headers: { Accept: 'application/json' }, credentials: 'same-origin', cache: 'no-store' });
    return answer.ok ? answer.json() : null;
  }

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  let running = null; // one sign-in at a time, whoever asks
  function signIn(loginURL = own + '/start?rd=%2F') {
    running = running || open(loginURL).finally(() => { running = null; });
    return running;
  }

  async function open(loginURL) {
    const address = new URL(loginURL, here);
    if (address.origin !== here.origin) throw new Error('dinggate: the sign-in is not on this origin');
    address.searchParams.set('rd', new URL(own + '/userinfo').pathname); // a small page to end on
    const popup = window.open(address.href, 'dinggate', 'popup,width=480,height=720') || window.open(address.href, '_blank');
    if (!popup) throw new Error('dinggate: the browser opened no window; call signIn from a click');
    for (let i = 0; i < 600; i++) {
      await pause(1000);
      const person = await who().catch(() => null);
      if (person) {
        if (!popup.closed) popup.close();
        if (channel) channel.postMessage('signed-in');
        listeners.forEach((call) => call());
        return person;
      }
      if (popup.closed) throw new Error('dinggate: the window was closed before the sign-in was done');
    }
    throw new Error('dinggate: the sign-in took too long');
  }

  const api = {
    signIn,
    onSignIn(call) { listeners.add(call); return () => listeners.delete(call); },
    onExpired(loginURL) { location.assign(loginURL); return new Promise(() => {}); },
    async fetch(input, init) {
      const again = input instanceof Request ? input.clone() : null;
      const answer = await fetch(input, init);
      if (answer.status !== 401 || !(answer.headers.get('Content-Type') || '').startsWith('application/json')) return answer;
      const told = await answer.clone().json().catch(() => ({}));
      if (told.error !== 'unauthenticated' || !told.login_url) return answer;
      await api.onExpired(told.login_url);
      return fetch(again || input, init);
    },
  };
  window.dinggate = api;
})();
