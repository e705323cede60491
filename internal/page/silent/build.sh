#!/usr/bin/env bash
# Bundles silent.js with DingTalk's own library into ../assets/silent.js. The
# versions are those of package-lock.json. Needs node and npm.
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-../assets/silent.js}
[ -d node_modules/dingtalk-jsapi ] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
node node_modules/esbuild/bin/esbuild silent.js --bundle --format=iife --target=es2017 --minify --legal-comments=none --log-level=warning --outfile="$out"
