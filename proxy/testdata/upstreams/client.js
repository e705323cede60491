// Signs in with NTLM: node client.js HTTPNTLM URL NAME, the first the package's
// folder. Prints the answer to the last step.
const [folder, url, username] = process.argv.slice(2);
const ntlm = require(folder);

ntlm.get({ url, username, password: 'x', domain: 'D', workstation: 'W' }, (err, res) => {
  console.log(err ? `error: ${err.message}` : `${res.statusCode} ${res.body}`);
  process.exit();
});
