require 'omniauth_openid_connect'
require 'rack'
require_relative 'driver'

SWD.url_builder = URI::HTTP # otherwise it takes https alone
OmniAuth.config.allowed_request_methods = [:get]
OmniAuth.config.silence_get_warning = true
OmniAuth.config.logger = Logger.new($stderr)

# app is a Rack application as GitLab is one: what is signed in ends up in omniauth.auth.
def app(secret: CLIENT_SECRET, redirect: CALLBACK)
  Rack::Builder.new do
    use OmniAuth::Strategies::OpenIDConnect,
        name: :openid_connect, issuer: ISSUER, discovery: true, scope: SCOPE, callback_path: URI(CALLBACK).path,
        post_logout_redirect_uri: CALLBACK, client_auth_method: :basic,
        client_options: { identifier: CLIENT_ID, secret: secret, redirect_uri: redirect }
    run ->(env) { [200, {}, [env]] }
  end.to_app
end

def get(app, session, address)
  app.call(Rack::MockRequest.env_for(address, 'rack.session' => session))
end

def begun(app, session)
  status, headers, = get(app, session, 'http://127.0.0.1/auth/openid_connect')
  check(status == 302, status)
  headers['Location']
end

def signs_in(app, session)
  at, = comes_back(begun(app, session))
  get(app, session, at)
end

session = {}
program = app
_, _, body = signs_in(program, session)
auth = body.first['omniauth.auth']
person?(auth.extra.raw_info)
ok 'discovery', 'userinfo'
check(auth.extra.raw_info['groups'].include?('主管'), auth.extra.raw_info)
ok 'groups'

other = {}
at, = comes_back(begun(program, other))
other['omniauth.nonce'] = 'another'
_, headers, = get(program, other, at)
check(headers['Location'].to_s.include?('Nonce'), headers)
ok 'nonce'

status, headers, = get(program, session, 'http://127.0.0.1/auth/openid_connect/logout')
check(status == 302 && headers['Location'].start_with?("#{ISSUER}/oidc/end_session?"), headers)
check(visit(headers['Location'])['page'].include?('<form'), 'without a hint the page asks')
ok 'logout'

_, headers, = signs_in(app(secret: 'wrong'), {})
check(headers['Location'].to_s.include?('invalid_client'), headers)
check(visit(begun(app(redirect: "#{CALLBACK}/x"), {}))['page'].include?('oidc_redirect'), 'redirect_uri')
ok 'wrong'
