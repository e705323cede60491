# What a script and the test say to one another: a JSON object a line.
require 'json'

$stdout.sync = true
ISSUER, CLIENT_ID, CLIENT_SECRET, CALLBACK = ENV.values_at('ISSUER', 'CLIENT_ID', 'CLIENT_SECRET', 'CALLBACK')
SCOPE = %i[openid profile email groups offline_access].freeze

def ok(*features)
  features.each { |feature| puts JSON.generate(ok: feature) }
end

# The person's browser opens an address, to where it begins with stop, or to a page.
def visit(address, stop = '')
  puts JSON.generate(visit: address.to_s, stop: stop)
  JSON.parse($stdin.gets)
end

def comes_back(address)
  at = visit(address, CALLBACK)['at']
  [at, URI.decode_www_form(URI(at).query).to_h]
end

def check(truth, what)
  raise "not so: #{what}" unless truth
end

def person?(claims)
  claims = claims.transform_keys(&:to_s)
  check(claims['name'] == '张三' && claims['preferred_username'] == 'zhangsan' && claims['email'].include?('@'), claims)
end

def refuses(text)
  yield
rescue StandardError => e
  check("#{e.class} #{e.message}".include?(text), "#{text} in #{e.class} #{e.message}")
else
  raise "not refused: #{text}"
end
