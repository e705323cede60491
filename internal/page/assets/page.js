// Adds a copy button beside the request id of an error page. Without scripts the
// id can still be selected.
for (const id of document.querySelectorAll('code.id')) {
  const labels = id.dataset;
  if (!labels.copy || !navigator.clipboard) continue;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy';
  button.textContent = labels.copy;
  button.setAttribute('aria-live', 'polite');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(id.textContent);
      button.textContent = labels.copied;
      setTimeout(() => { button.textContent = labels.copy; }, 3000);
    } catch {
      getSelection().selectAllChildren(id);
    }
  });
  id.after(button);
}
