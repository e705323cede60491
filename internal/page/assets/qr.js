// Draws DingTalk's QR code on the sign-in page, with DingTalk's own script. The page's button stays,
// in case the script does not load or the code is not scanned.
(() => {
  const box = document.getElementById('qr');
  if (!box || typeof window.DTFrameLogin !== 'function') return;
  const d = box.dataset;
  let done = false; // DingTalk's script may call more than once, and a code is valid once
  box.hidden = false;
  window.DTFrameLogin(
    { id: 'qr', width: 300, height: 300 },
    { redirect_uri: encodeURIComponent(d.redirect), client_id: d.client, scope: 'openid', response_type: 'code', state: d.state, prompt: 'consent' },
    (result) => {
      if (done || !result || !result.authCode) return;
      done = true;
      const to = new URL(d.redirect);
      to.searchParams.set('authCode', result.authCode);
      to.searchParams.set('state', d.state);
      location.replace(to.href);
    },
    () => { box.hidden = true; },
  );
})();
