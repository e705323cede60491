// Ends a sign-in in a window of its own (see dinggate.js): the tabs of this host
// that wait are notified, and the window closes. One that no script has opened stays;
// its text says that it may be closed.
(() => {
  const key = 'dinggate';
  if (typeof BroadcastChannel === 'function') {
    new BroadcastChannel(key).postMessage('signed-in');
  } else {
    try {
      localStorage.setItem(key, 'signed-in ' + Date.now());
    } catch {
      // the tab that waits looks once a second
    }
  }
  setTimeout(() => window.close(), 300); // after the word has left
})();
