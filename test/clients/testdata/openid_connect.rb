require 'openid_connect'
require_relative 'driver'

SWD.url_builder = URI::HTTP # otherwise it takes https alone
config = OpenIDConnect::Discovery::Provider::Config.discover!(ISSUER)
check(config.issuer == ISSUER, config.issuer)
ok 'discovery'

make = lambda do |secret = CLIENT_SECRET, redirect = CALLBACK|
  OpenIDConnect::Client.new(
    identifier: CLIENT_ID, secret: secret, redirect_uri: redirect,
    authorization_endpoint: config.authorization_endpoint, token_endpoint: config.token_endpoint,
    userinfo_endpoint: config.userinfo_endpoint
  )
end
begin_with = lambda do |client|
  verifier, nonce = SecureRandom.urlsafe_base64(48), SecureRandom.hex(16)
  challenge = Base64.urlsafe_encode64(Digest::SHA256.digest(verifier), padding: false)
  address = client.authorization_uri(
    scope: SCOPE, state: 'S', nonce: nonce, code_challenge: challenge, code_challenge_method: 'S256'
  )
  [address, verifier, nonce]
end
signs_in = lambda do |client, method = :basic, another = nil|
  address, verifier, nonce = begin_with.call(client)
  _, answer = comes_back(address)
  check(answer['state'] == 'S' && answer['iss'] == ISSUER, answer)
  client.authorization_code = answer['code']
  [client.access_token!(method, code_verifier: another || verifier), nonce]
end
verify = lambda do |token, nonce|
  id = OpenIDConnect::ResponseObject::IdToken.decode(token.id_token, config.jwks)
  id.verify!(issuer: ISSUER, client_id: CLIENT_ID, nonce: nonce)
  id
end

client = make.call
token, nonce = signs_in.call(client)
signs_in.call(make.call, :post)
refuses('invalid_grant') { signs_in.call(make.call, :basic, SecureRandom.urlsafe_base64(48)) }
ok 'pkce'
id = verify.call(token, nonce)
refuses('InvalidNonce') { verify.call(token, 'another') }
ok 'nonce'

info = token.userinfo!
person?(info.raw_attributes)
person?(id.raw_attributes)
ok 'userinfo'
check(info.raw_attributes.transform_keys(&:to_s)['groups'].include?('主管'), info.raw_attributes)
ok 'groups'

client.refresh_token = token.refresh_token
again = client.access_token!
check(again.refresh_token != token.refresh_token, 'the refresh token rotates')
ok 'refresh'

out = URI(config.end_session_endpoint)
out.query = URI.encode_www_form(id_token_hint: again.id_token, post_logout_redirect_uri: CALLBACK, state: 'bye')
check(comes_back(out)[1]['state'] == 'bye', 'back from the sign-out')
client.refresh_token = again.refresh_token
refuses('invalid_grant') { client.access_token! }
refuses('Unauthorized') { again.userinfo! }
ok 'logout'

refuses('invalid_client') { signs_in.call(make.call('wrong')) }
check(visit(make.call(CLIENT_SECRET, "#{CALLBACK}/x").authorization_uri(scope: SCOPE))['page'].include?('oidc_redirect'), 'redirect_uri')
ok 'wrong'
