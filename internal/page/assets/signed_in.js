// Ends a sign-in in a separate window (see dinggate.js): the waiting tabs of this host are notified,
// and the window closes. A window that no script has opened stays; its text says that it can be
// closed.
(() => {
  const key = 'dinggate';
  if (typeof BroadcastChannel === 'function') {
    new BroadcastChannel(key).postMessage('signed-in');
  } else {
    try {
      localStorage.setItem(key, 'signed-in ' + Date.now());
    } catch {
      // the waiting tab polls once a second
    }
  }
  setTimeout(() => window.close(), 300); // after the message is sent
})();
