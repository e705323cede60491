// Package signin tests sign-ins over HTTP: with DingTalk's page, silently in the DingTalk
// client, with local accounts and with passwords of API clients. The product runs in this
// process, with a simulated DingTalk. It contains tests only.
package signin
