// Draws DingTalk's QR code into the sign-in page, with DingTalk's own script.
// Its button stays where the script does not come or the code is not scanned.
(() => {
  const box = document.getElementById('qr');
  if (!box || typeof window.DTFrameLogin !== 'function') return;
  const d = box.dataset;
  let done = false; // DingTalk's script may call more than once, and a code works once
  box.hidden = false;
  window.DTFrameLogin(
    { id: 'qr', width: 300, height: 300 },
    { redirect_uri: encodeURIComponent(d.redirect), client_id: d.client, scope: 'openid', response_type: 'code', state: d.state, prompt: 'consent' },
    (told) => {
      if (done || !told || !told.authCode) return;
      done = true;
      const to = new URL(d.redirect);
      to.searchParams.set('authCode', told.authCode);
      to.searchParams.set('state', d.state);
      location.replace(to.href);
    },
    () => { box.hidden = true; },
  );
})();
