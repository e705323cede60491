// An Express application for tests. /cookies returns what Express's own parser
// reads and sets some; below /windows/ people are known by their connection.
// node app.js EXPRESS COOKIE-PARSER EXPRESS-NTLM: the packages' folders.
const [express, cookies, ntlm] = process.argv.slice(2).map((folder) => require(folder));

const app = express();
app.set('query parser', false);
app.use('/cookies', cookies(), (req, res) => {
  for (const line of JSON.parse(process.env.SET_COOKIES)) res.append('Set-Cookie', line);
  res.json(req.cookies);
});
app.use(['/windows', '/public/windows'], ntlm(), (req, res) => res.json({ user: req.ntlm.UserName }));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit()); // ends with the test
